"""What ``convolite train`` does when nothing else is asked for, and how its parts are made.

One recipe for every data set: stochastic gradient descent with momentum, one cycle of the learning
rate, and small random shifts of the images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import inf
from typing import Any

from convolite import models
from convolite._args import excerpt
from convolite._rules import is_finite, is_positive
from convolite.errors import FormatError

DATA_SETS = ("digits", "mnist")
OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop")

_EPOCHS = {"digits": 15, "mnist": 3}
_BATCH_SIZE = 64
_LEARNING_RATES = {
    "sgd": 0.05,
    "adam": 2e-3,
    "adamw": 2e-3,
    "rmsprop": 5e-4,
}  # highest of the cycle
_MOMENTUM = 0.9
_WEIGHT_DECAY = {"sgd": 5e-4, "adam": 0.0, "adamw": 1e-2, "rmsprop": 0.0}
_SHIFT = 2  # pixels, at most, in each direction
_SIDE = 28  # pixels of an image
LARGEST_COUNT = 10**9  # of epochs, or of images in a batch
CLASSES = [str(digit) for digit in range(10)]  # of every data set


@dataclass(frozen=True)
class Settings:
    """All that decides the result of a training; a run folder keeps it as config.json."""

    model: str
    data: str
    epochs: int
    batch_size: int
    optimizer: str
    lr: float
    momentum: float | None  # None for optimizers that have none
    weight_decay: float
    shift: int
    seed: int
    target_accuracy: float | None  # None: every epoch is trained

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON can hold them."""
        return asdict(self)


def choose_settings(given: dict[str, Any]) -> Settings:
    """Complete what was given on the command line (None: not given) with the defaults.

    Raises
    ------
    ValueError
        If a momentum is given to an optimizer without one.
    """
    chosen = {name: value for name, value in given.items() if value is not None}
    optimizer = chosen.get("optimizer", "sgd")
    data = chosen.get("data", "digits")
    if optimizer != "sgd" and "momentum" in chosen:
        raise ValueError(f"--momentum belongs to the optimizer sgd, but --optimizer is {optimizer}")
    defaults = {
        "model": "sample_cnn",
        "data": data,
        "epochs": _EPOCHS[data],
        "batch_size": _BATCH_SIZE,
        "optimizer": optimizer,
        "lr": _LEARNING_RATES[optimizer],
        "momentum": _MOMENTUM if optimizer == "sgd" else None,
        "weight_decay": _WEIGHT_DECAY[optimizer],
        "shift": _SHIFT,
        "seed": 0,
        "target_accuracy": None,
    }
    return Settings(**{**defaults, **chosen})


def settings_from_dict(values: Any) -> Settings:
    """Read settings back.

    Raises
    ------
    FormatError
        If something is missing, of another type or out of range; with the file and the name.
    """
    if not isinstance(values, dict):
        raise FormatError(f"config.json: settings must be an object, got {excerpt(values)}")
    values = {"target_accuracy": None, **values}  # which older runs do not have
    for name in Settings.__annotations__:
        if name not in values:
            raise FormatError(f"config.json: setting {name!r} is missing")
        rule, holds = _RULES[name]
        if not holds(values[name]):
            raise FormatError(f"config.json: {name} must be {rule}, got {excerpt(values[name])}")
    settings = Settings(**{name: values[name] for name in Settings.__annotations__})
    if settings.momentum is not None and settings.optimizer != "sgd":
        raise FormatError(
            f"config.json: momentum must be null for the optimizer {settings.optimizer}, "
            f"got {settings.momentum}"
        )
    return settings


def _one_of(names: Sequence[str]) -> tuple[str, Callable[[Any], bool]]:
    return f"one of {', '.join(names)}", lambda value: isinstance(value, str) and value in names


def _count_from(least: int, most: float = inf) -> tuple[str, Callable[[Any], bool]]:
    rule = f"an int from {least}" if most == inf else f"an int from {least} to {most}"
    return rule, lambda value: type(value) is int and least <= value <= most


_RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "model": _one_of(models.names()),
    "data": _one_of(DATA_SETS),
    "epochs": _count_from(0, LARGEST_COUNT),
    "batch_size": _count_from(1, LARGEST_COUNT),
    "optimizer": _one_of(OPTIMIZERS),
    "lr": ("a positive number", is_positive),
    "momentum": (
        "null or a number from 0 to 1",
        lambda value: value is None or (is_finite(value) and 0 <= value <= 1),
    ),
    "weight_decay": ("a number from 0", lambda value: is_finite(value) and value >= 0),
    "shift": _count_from(0, _SIDE),
    "seed": _count_from(0),
    "target_accuracy": (
        "null or a number above 0, at most 1",
        lambda value: value is None or (is_positive(value) and value <= 1),
    ),
}


def make_model(name: str, classes: int) -> Any:
    """Return a new model for images (1, 28, 28)."""
    return models.create(name, num_classes=classes, in_channels=1)


def make_optimizer(settings: Settings, model: Any) -> Any:
    """Return the optimizer over all parameters of the model."""
    from convolite import optim

    makers: dict[str, Callable[..., Any]] = {
        "sgd": optim.SGD,
        "adam": optim.Adam,
        "adamw": optim.AdamW,
        "rmsprop": optim.RMSprop,
    }
    options = {} if settings.momentum is None else {"momentum": settings.momentum}
    return makers[settings.optimizer](
        model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay, **options
    )


def make_schedule(settings: Settings, optimizer: Any, batches_per_epoch: int) -> Any:
    """Return one cycle of the learning rate over the whole training."""
    from convolite.optim.lr_scheduler import OneCycleLR

    return OneCycleLR(
        optimizer,
        max_lr=settings.lr,
        total_steps=max(1, settings.epochs * batches_per_epoch),
        cycle_momentum=False,
    )
