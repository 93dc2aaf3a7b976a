"""The document's network: two convolutions with max pooling, then two linear layers."""

from __future__ import annotations

from convolite import nn
from convolite._args import count, flag


def sample_cnn(
    num_classes: int = 10, batch_norm: bool = False, in_channels: int = 1
) -> nn.Sequential:
    """Return the document's network for 28x28 images.

    Convolution to 32 channels (3x3), ReLU, max pooling; convolution to 64 channels (3x3), ReLU,
    max pooling; a fully connected layer of 128 with ReLU; the output. The output is logits:
    the loss takes them as they are, prediction applies softmax.

    Parameters
    ----------
    num_classes : int
    batch_norm : bool
        Whether each convolution is followed by batch normalization.
    in_channels : int

    Returns
    -------
    Sequential, (N, in_channels, 28, 28) -> (N, num_classes)

    Raises
    ------
    TypeError, ValueError
        For numbers that are no positive ints, and a `batch_norm` that is no bool.
    """
    count("sample_cnn", "num_classes", num_classes)
    count("sample_cnn", "in_channels", in_channels)
    normalised = flag("sample_cnn", "batch_norm", batch_norm)
    layers: dict[str, nn.Module] = {}
    for i, (channels_in, channels_out) in enumerate([(in_channels, 32), (32, 64)], start=1):
        layers[f"conv{i}"] = nn.Conv2d(channels_in, channels_out, 3)
        if normalised:
            layers[f"norm{i}"] = nn.BatchNorm2d(channels_out)
        layers[f"relu{i}"] = nn.ReLU()
        layers[f"pool{i}"] = nn.MaxPool2d(2)
    layers["flatten"] = nn.Flatten()
    layers["linear1"] = nn.Linear(64 * 5 * 5, 128)
    layers["relu3"] = nn.ReLU()
    layers["linear2"] = nn.Linear(128, num_classes)
    return nn.Sequential(layers)
