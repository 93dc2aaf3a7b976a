"""Residual networks: He, Zhang, Ren and Sun 2016 (arXiv 1512.03385), names as in torchvision.

Stages of basic blocks behind a stem, then the mean of each channel and a fully connected layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convolite import nn
from convolite._args import count
from convolite.models.initial import kaiming_convolutions_
from convolite.nn.container import add_shortcut, run
from convolite.tensor import Tensor


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut: ``relu(bn2(conv2(relu(bn1(conv1(x))))) + x)``.

    Where the shape changes, ``downsample`` brings the shortcut to the new one: a 1x1 convolution
    of the same stride and a batch norm.

    Parameters
    ----------
    in_channels, channels : int
        Of the input and of the output.
    stride : int
        Of the first convolution.
    """

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, input: Any) -> Tensor:
        """(N, in_channels, H, W) -> (N, channels, ceil(H / stride), ceil(W / stride))."""
        first, _ = self._chains()
        output = run(first, input)
        shortcut = input if self.downsample is None else self.downsample(input)
        ended: Tensor = add_shortcut(self.conv2, self.bn2, output, shortcut, self.relu)
        return ended

    def _chains(self) -> Sequence[Sequence[nn.Module]]:
        return (self.conv1, self.bn1, self.relu), (self.conv2, self.bn2)


class ResNet(nn.Module):
    """Stem, stages ``layer1``, ``layer2``, ... of basic blocks, mean of each channel, ``fc``.

    Parameters
    ----------
    conv1 : Conv2d
        The stem's convolution; batch norm and ReLU follow it.
    maxpool : Module or None
        The stem's pooling; small images have none.
    channels : sequence of int
        Of each stage. All but the first halve the sides of the image.
    blocks : int
        In each stage.
    num_classes : int
    """

    def __init__(
        self,
        conv1: nn.Conv2d,
        maxpool: nn.Module | None,
        channels: Sequence[int],
        blocks: int,
        num_classes: int,
    ) -> None:
        super().__init__()
        self.conv1 = conv1
        self.bn1 = nn.BatchNorm2d(conv1.out_channels)
        self.relu = nn.ReLU()
        self.maxpool = maxpool
        self._stages = [f"layer{i}" for i in range(1, len(channels) + 1)]
        entering = conv1.out_channels
        for name, leaving in zip(self._stages, channels, strict=True):
            stride = 1 if name == "layer1" else 2
            others = [BasicBlock(leaving, leaving) for _ in range(blocks - 1)]
            setattr(self, name, nn.Sequential(BasicBlock(entering, leaving, stride), *others))
            entering = leaving
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(entering, num_classes)
        kaiming_convolutions_(self)

    def forward(self, input: Any) -> Tensor:
        """Return logits (N, num_classes) of images (N, C, H, W)."""
        [layers] = self._chains()
        output: Tensor = run(layers, input)
        return self.fc(output.flatten(1))

    def _chains(self) -> Sequence[Sequence[nn.Module]]:
        stem = (self.conv1, self.bn1, self.relu)
        pooling = () if self.maxpool is None else (self.maxpool,)
        stages = [getattr(self, name) for name in self._stages]
        return [(*stem, *pooling, *stages, self.avgpool)]


def resnet20(num_classes: int = 10, in_channels: int = 3) -> ResNet:
    """Return the ResNet of 20 layers for small images, such as CIFAR's of 32x32.

    Three stages of 16, 32 and 64 channels with three basic blocks each. Shortcuts are 1x1
    convolutions where the shape changes (the paper's option B). With three input channels and ten
    classes it has 272,474 parameters.

    Parameters
    ----------
    num_classes, in_channels : int

    Returns
    -------
    ResNet, (N, in_channels, H, W) -> (N, num_classes)

    Raises
    ------
    TypeError, ValueError
        For numbers that are no positive ints.
    """
    count("resnet20", "num_classes", num_classes)
    count("resnet20", "in_channels", in_channels)
    conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
    return ResNet(conv1, None, (16, 32, 64), 3, num_classes)


def resnet18(num_classes: int = 1000, in_channels: int = 3) -> ResNet:
    """Return the ResNet of 18 layers for large images, such as ImageNet's of 224x224.

    The stem is a 7x7 convolution and max pooling, both of stride 2; four stages of 64, 128, 256
    and 512 channels with two basic blocks each follow. With the default arguments it has
    11,689,512 parameters, and torchvision's ``state_dict`` loads.

    Parameters
    ----------
    num_classes, in_channels : int

    Returns
    -------
    ResNet, (N, in_channels, H, W) -> (N, num_classes)

    Raises
    ------
    TypeError, ValueError
        For numbers that are no positive ints.
    """
    count("resnet18", "num_classes", num_classes)
    count("resnet18", "in_channels", in_channels)
    conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
    maxpool = nn.MaxPool2d(3, stride=2, padding=1)
    return ResNet(conv1, maxpool, (64, 128, 256, 512), 2, num_classes)
