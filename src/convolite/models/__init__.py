"""Ready-made networks, and `create`, which makes one by name.

Each family has a file of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from convolite._args import choice
from convolite.models.lenet import lenet5
from convolite.models.mobilenet import mobilenet_v2
from convolite.models.resnet import resnet18, resnet20
from convolite.models.sample_cnn import sample_cnn
from convolite.nn import Module

__all__ = ["create", "lenet5", "mobilenet_v2", "names", "resnet18", "resnet20", "sample_cnn"]

_MODELS: dict[str, Callable[..., Module]] = {
    "lenet5": lenet5,
    "mobilenet_v2": mobilenet_v2,
    "resnet18": resnet18,
    "resnet20": resnet20,
    "sample_cnn": sample_cnn,
}


def names() -> list[str]:
    """Return the names that `create` knows."""
    return sorted(_MODELS)


def create(name: str, **options: Any) -> Module:
    """Return a new network by name.

    Parameters
    ----------
    name : str
        One of `names`.
    **options
        Arguments of the function of that name, such as ``num_classes``.

    Raises
    ------
    ValueError
        If there is no network of that name.
    """
    return _MODELS[choice("create", "name", name, names())](**options)
