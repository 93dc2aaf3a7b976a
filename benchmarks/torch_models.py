"""convolite's networks written in PyTorch: the same modules in the same order, torchvision's names.

For comparisons only; torchvision itself is not needed. The residual networks and MobileNetV2 have
torchvision's ``state_dict`` keys, the sample network those of a plain sequence.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


def sample_cnn(batch_norm: bool = False) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels_in, channels_out in [(1, 32), (32, 64)]:
        layers.append(nn.Conv2d(channels_in, channels_out, 3))
        layers += [nn.BatchNorm2d(channels_out)] if batch_norm else []
        layers += [nn.ReLU(), nn.MaxPool2d(2)]
    tail = [nn.Linear(1600, 128), nn.ReLU(), nn.Linear(128, 10)]
    return nn.Sequential(*layers, nn.Flatten(), *tail)


class BasicBlock(nn.Module):
    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = None
        if stride != 1 or in_channels != channels:
            projection = nn.Conv2d(in_channels, channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(channels))

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        shortcut = input if self.downsample is None else self.downsample(input)
        output = self.relu(self.bn1(self.conv1(input)))
        output = self.bn2(self.conv2(output))
        output += shortcut
        return self.relu(output)


class ResNet(nn.Module):
    def __init__(
        self, conv1: nn.Conv2d, maxpool: nn.Module, channels: tuple[int, ...], blocks: int
    ) -> None:
        super().__init__()
        self.conv1 = conv1
        self.bn1 = nn.BatchNorm2d(conv1.out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = maxpool
        self.stages = len(channels)
        entering = conv1.out_channels
        for i, leaving in enumerate(channels):
            layers = [BasicBlock(entering, leaving, 2 if i else 1)]
            layers += [BasicBlock(leaving, leaving, 1) for _ in range(blocks - 1)]
            setattr(self, f"layer{i + 1}", nn.Sequential(*layers))
            entering = leaving
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        output = self.maxpool(self.relu(self.bn1(self.conv1(input))))
        for i in range(self.stages):
            output = getattr(self, f"layer{i + 1}")(output)
        return self.fc(torch.flatten(self.avgpool(output), 1))


def resnet20() -> ResNet:
    conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
    model = ResNet(conv1, nn.Identity(), (16, 32, 64), 3)
    model.fc = nn.Linear(64, 10)
    return model


def resnet18() -> ResNet:
    conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
    model = ResNet(conv1, nn.MaxPool2d(3, 2, 1), (64, 128, 256, 512), 2)
    model.fc = nn.Linear(512, 1000)
    return model


def conv_norm_relu6(
    in_channels: int, channels: int, kernel_size: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    padding = (kernel_size - 1) // 2
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, kernel_size, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU6(inplace=True),
    )


class InvertedResidual(nn.Module):
    def __init__(self, in_channels: int, channels: int, stride: int, expand_ratio: int) -> None:
        super().__init__()
        self.adds = stride == 1 and in_channels == channels
        hidden = in_channels * expand_ratio
        layers: list[nn.Module] = []
        if expand_ratio != 1:
            layers.append(conv_norm_relu6(in_channels, hidden, 1))
        layers.append(conv_norm_relu6(hidden, hidden, 3, stride, hidden))
        layers += [nn.Conv2d(hidden, channels, 1, bias=False), nn.BatchNorm2d(channels)]
        self.conv = nn.Sequential(*layers)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return input + self.conv(input) if self.adds else self.conv(input)


class MobileNetV2(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        settings = [
            (1, 16, 1, 1),
            (6, 24, 2, 2),
            (6, 32, 3, 2),
            (6, 64, 4, 2),
            (6, 96, 3, 1),
            (6, 160, 3, 2),
            (6, 320, 1, 1),
        ]
        features: list[nn.Module] = [conv_norm_relu6(3, 32, 3, 2)]
        channels = 32
        for expand_ratio, leaving, repeats, stride in settings:
            for i in range(repeats):
                step = 1 if i else stride
                features.append(InvertedResidual(channels, leaving, step, expand_ratio))
                channels = leaving
        features.append(conv_norm_relu6(channels, 1280, 1))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, 1000))

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        means = functional.adaptive_avg_pool2d(self.features(input), (1, 1))
        return self.classifier(torch.flatten(means, 1))


def mobilenet_v2() -> MobileNetV2:
    return MobileNetV2()
