"""What counts as a number or a count in what a file or another object says.

Rules only answer yes or no; errors are raised by those who ask and know the name.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

NUMBERS = (int, float, np.integer, np.floating)
_LARGEST = sys.float_info.max


def is_number(value: Any) -> bool:
    """Return whether it is a real number that fits a float; NaN and the infinities do."""
    if not isinstance(value, NUMBERS) or isinstance(value, bool):
        return False
    return isinstance(value, (float, np.floating)) or bool(-_LARGEST <= value <= _LARGEST)


def is_finite(value: Any) -> bool:
    """Return whether it is a number, but neither NaN nor infinite."""
    return is_number(value) and bool(-_LARGEST <= value <= _LARGEST)


def is_positive(value: Any) -> bool:
    """Return whether it is a finite number above 0."""
    return is_finite(value) and bool(value > 0)


def is_count(value: Any) -> bool:
    """Return whether it is an int from 0 that fits 64 bits."""
    return type(value) is int and 0 <= value < 2**63
