"""LeNet-5: LeCun, Bottou, Bengio and Haffner 1998, with plain average pooling and full tables."""

from __future__ import annotations

from convolite import nn
from convolite._args import count


def lenet5(num_classes: int = 10, in_channels: int = 1) -> nn.Sequential:
    """Return LeNet-5 for 28x28 images, padded to the 32x32 of the paper.

    Parameters
    ----------
    num_classes, in_channels : int

    Returns
    -------
    Sequential, (N, in_channels, 28, 28) -> (N, num_classes)

    Raises
    ------
    TypeError, ValueError
        For numbers that are no positive ints.
    """
    count("lenet5", "num_classes", num_classes)
    count("lenet5", "in_channels", in_channels)
    return nn.Sequential(
        {
            "conv1": nn.Conv2d(in_channels, 6, 5, padding=2),
            "tanh1": nn.Tanh(),
            "pool1": nn.AvgPool2d(2),
            "conv2": nn.Conv2d(6, 16, 5),
            "tanh2": nn.Tanh(),
            "pool2": nn.AvgPool2d(2),
            "flatten": nn.Flatten(),
            "linear1": nn.Linear(16 * 5 * 5, 120),
            "tanh3": nn.Tanh(),
            "linear2": nn.Linear(120, 84),
            "tanh4": nn.Tanh(),
            "linear3": nn.Linear(84, num_classes),
        }
    )
