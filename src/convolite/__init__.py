"""convolite: convolutional networks on CPUs, trained and run from a small C++ core.

Only names live here. The submodules (`nn`, `optim`, `data`, `train`, `models`, `reference`, ...)
and what needs them are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from convolite import _load
from convolite.autograd import enable_grad, is_grad_enabled, no_grad
from convolite.config import (
    get_fast_math,
    get_fusion,
    get_num_threads,
    memory_stats,
    release_memory,
    set_fast_math,
    set_fusion,
    set_num_threads,
    show_config,
)
from convolite.document import batch_normalization, conv2d, max_pooling
from convolite.errors import FormatError
from convolite.random import manual_seed
from convolite.tensor import Tensor, from_dlpack, tensor

if TYPE_CHECKING:
    from convolite import data as data
    from convolite import functional as functional
    from convolite import models as models
    from convolite import nn as nn
    from convolite import optim as optim
    from convolite import reference as reference
    from convolite import train as train
    from convolite.explanation import explain
    from convolite.io import load, save

    __version__: str

__all__ = [
    "FormatError",
    "Tensor",
    "__version__",
    "batch_normalization",
    "conv2d",
    "enable_grad",
    "explain",
    "from_dlpack",
    "get_fast_math",
    "get_fusion",
    "get_num_threads",
    "is_grad_enabled",
    "load",
    "manual_seed",
    "max_pooling",
    "memory_stats",
    "no_grad",
    "release_memory",
    "save",
    "set_fast_math",
    "set_fusion",
    "set_num_threads",
    "show_config",
    "tensor",
]

_SUBMODULES = frozenset(
    ["cli", "data", "functional", "models", "nn", "optim", "reference", "train"]
)
_HOMES = {"explain": "explanation", "load": "io", "save": "io"}  # functions loaded on first use


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"convolite.{_HOMES[name]}"), name)
    if name in _SUBMODULES:
        return import_module(f"convolite.{name}")
    if name == "__version__":  # on first use, which reads CONVOLITE_ISA and may refuse it
        globals()[name] = _load.core.config()["version"]
        return globals()[name]
    raise AttributeError(f"module 'convolite' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBMODULES})
