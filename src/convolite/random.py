"""The one random generator behind initialisation and dropout.

Data loading has generators of its own, so that batches do not depend on the model.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from convolite._args import at_least, excerpt

_generator: np.random.Generator | None = None


def manual_seed(seed: int) -> None:
    """Restart the generator behind initialisation and dropout from a seed.

    Parameters
    ----------
    seed : int
        Not negative. Equal seeds give equal weights and equal dropout masks.
    """
    global _generator
    value = at_least("manual_seed", "seed", seed, 0)
    _generator = np.random.Generator(np.random.PCG64(value))


def generator() -> np.random.Generator:
    """Return the generator; without `manual_seed` it starts from the system's entropy."""
    global _generator
    if _generator is None:
        _generator = np.random.Generator(np.random.PCG64())
    return _generator


def get_state() -> dict[str, Any]:
    """Return the generator's state as plain values that JSON can hold."""
    return dict(generator().bit_generator.state)


def set_state(state: dict[str, Any]) -> None:
    """Continue from a state that `get_state` returned.

    Raises
    ------
    ValueError
        If it is not such a state.
    """
    if not is_state(state):
        raise ValueError(f"set_state: state is not one of PCG64, got {excerpt(state)}")
    bits: Any = generator().bit_generator
    bits.state = state


def is_state(value: Any) -> bool:
    """Return whether `set_state` takes a value."""
    if not isinstance(value, dict) or not isinstance(value.get("state"), dict):
        return False
    bits: Any = np.random.PCG64()
    try:
        bits.state = value
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
        return False
    return True
