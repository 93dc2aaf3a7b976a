"""MobileNetV2: Sandler et al. 2018 (arXiv 1801.04381), names as in torchvision."""

from __future__ import annotations

from typing import Any

from convolite import functional, nn
from convolite._args import count
from convolite.models.initial import kaiming_convolutions_
from convolite.nn import init
from convolite.nn.container import add_shortcut, is_plain, run
from convolite.tensor import Tensor

# Expansion, channels, blocks and stride of each stage: table 2 of the paper.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_STEM_CHANNELS, _LAST_CHANNELS = 32, 1280


def _conv_norm_relu6(
    in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """A convolution that keeps the image's size up to the stride, batch norm and ReLU6."""
    padding = kernel_size // 2
    return nn.Sequential(
        nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=False
        ),
        nn.BatchNorm2d(out_channels),
        nn.ReLU6(),
    )


class InvertedResidual(nn.Module):
    """Expansion by 1x1, a depthwise 3x3, projection by 1x1 without an activation.

    The input is added to the result where both have the same shape.

    Parameters
    ----------
    in_channels, channels : int
        Of the input and of the output.
    stride : int
        Of the depthwise convolution.
    expansion : int
        Channels in between, as a multiple of those of the input; 1 leaves out the expansion.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        self.use_res_connect = stride == 1 and in_channels == channels
        hidden = expansion * in_channels
        expanding = [_conv_norm_relu6(in_channels, hidden, 1)] if expansion != 1 else []
        self.conv = nn.Sequential(
            *expanding,
            _conv_norm_relu6(hidden, hidden, 3, stride, groups=hidden),
            nn.Conv2d(hidden, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, input: Any) -> Tensor:
        """(N, in_channels, H, W) -> (N, channels, ceil(H / stride), ceil(W / stride))."""
        plain = is_plain(self.conv, [nn.Sequential])
        if not (self.use_res_connect and plain and len(self.conv) > 1):
            output: Tensor = self.conv(input)
            return input + output if self.use_res_connect else output
        *layers, last, norm = self.conv
        ended: Tensor = add_shortcut(last, norm, run(layers, input), input, None)
        return ended


class MobileNetV2(nn.Module):
    """``features``, the mean of each channel, and ``classifier``; see `mobilenet_v2`."""

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [_conv_norm_relu6(in_channels, _STEM_CHANNELS, 3, stride=2)]
        entering = _STEM_CHANNELS
        for expansion, channels, blocks, stride in _STAGES:
            for i in range(blocks):
                step = stride if i == 0 else 1
                layers.append(InvertedResidual(entering, channels, step, expansion))
                entering = channels
        layers.append(_conv_norm_relu6(entering, _LAST_CHANNELS, 1))
        self.features = nn.Sequential(*layers)
        linear = nn.Linear(_LAST_CHANNELS, num_classes)
        self.classifier = nn.Sequential(nn.Dropout(0.2), linear)
        kaiming_convolutions_(self)
        init.normal_(linear.weight, std=0.01)
        if linear.bias is not None:
            init.zeros_(linear.bias)

    def forward(self, input: Any) -> Tensor:
        """Return logits (N, num_classes) of images (N, C, H, W)."""
        means = functional.adaptive_avg_pool2d(self.features(input), 1)
        output: Tensor = self.classifier(means.flatten(1))
        return output


def mobilenet_v2(num_classes: int = 1000, in_channels: int = 3) -> MobileNetV2:
    """Return MobileNetV2 of width 1 for large images, such as ImageNet's of 224x224.

    Seventeen blocks of depthwise convolutions between two plain ones; dropout of 0.2 before the
    fully connected layer. With the default arguments it has 3,504,872 parameters, and
    torchvision's ``state_dict`` loads.

    Parameters
    ----------
    num_classes, in_channels : int

    Returns
    -------
    MobileNetV2, (N, in_channels, H, W) -> (N, num_classes)

    Raises
    ------
    TypeError, ValueError
        For numbers that are no positive ints.
    """
    count("mobilenet_v2", "num_classes", num_classes)
    count("mobilenet_v2", "in_channels", in_channels)
    return MobileNetV2(num_classes, in_channels)
