"""Initial weights that several families of networks share, as torchvision draws them."""

from __future__ import annotations

from convolite import nn
from convolite.nn import init


def kaiming_convolutions_(model: nn.Module) -> None:
    """Draw all filters normally with deviation sqrt(2 / fan_out), He et al. 2015.

    Batch norms and linear layers are left alone.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
