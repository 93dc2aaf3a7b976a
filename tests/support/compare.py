"""The comparisons of the test suite, and the only place where a tolerance is written.

Exact comparison is for integer data, whose float sums carry no rounding; the close one bounds the
rounding of a sum by the sum of absolute values.  No test brings an `atol` of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Errors are bounded by this many units of rounding.  A plain float32 chain of 10 to 10^6 terms was
#: measured to err by at most 0.6 of a unit.
UNITS = 4.0


def assert_exact(actual: ArrayLike, expected: ArrayLike) -> None:
    """Every element of `actual` equals `expected`; NaN equals NaN.

    The data should be small integers: a float type must be able to hold the expected values.
    """
    actual, expected = np.asarray(actual), np.asarray(expected)
    _assert_same_shape(actual, expected)
    if actual.dtype.kind == "f":
        _assert_representable(actual.dtype, expected)
    wrong = ~((actual == expected) | (_isnan(actual) & _isnan(expected)))
    if wrong.any():
        index = _first(wrong)
        raise AssertionError(
            f"{wrong.sum()} of {wrong.size} elements differ, the first at {index}: "
            f"{actual[index]!r} instead of {expected[index]!r} (shape = {actual.shape})"
        )


def assert_rms(actual: ArrayLike, expected: ArrayLike, bound: float) -> None:
    """The root mean square of the errors is at most `bound` times that of `expected`.

    For methods whose rounding no sum of absolute values bounds closely (Winograd).  No error may
    exceed twenty times the mean, which a value at a wrong place would.
    """
    actual, expected = np.asarray(actual), np.asarray(expected, dtype=np.float64)
    _assert_same_shape(actual, expected)
    if not expected.size:
        return
    error = np.abs(actual - expected)
    size = float(np.sqrt(np.mean(expected**2)))
    mean = float(np.sqrt(np.mean(error**2)))
    if not (mean <= bound * size and error.max() <= 20 * bound * size):
        raise AssertionError(
            f"rms error {mean / size:.2e} and largest error {error.max() / size:.2e} of the rms of "
            f"what was expected (bound {bound:.0e}, shape = {actual.shape})"
        )


def assert_close(
    actual: ArrayLike, expected: ArrayLike, scale: ArrayLike, units: float = UNITS
) -> None:
    """Every element satisfies |actual - expected| <= units * eps * scale + tiny.

    `eps` and `tiny` belong to the dtype of `actual`.  `scale` broadcasts against `expected`; for a
    sum it is the reference computed on absolute values, i.e. the size of the terms rather than of
    their (perhaps cancelled) sum.  NaN and infinities must stand in the same places.
    """
    actual, expected = np.asarray(actual), np.asarray(expected)
    _assert_same_shape(actual, expected)
    if actual.dtype.kind != "f":
        raise AssertionError(f"a floating-point result was expected, got {actual.dtype}")
    limits = np.finfo(actual.dtype)
    scale = np.broadcast_to(np.asarray(scale, dtype=np.float64), expected.shape)
    bound = units * float(limits.eps) * scale + float(limits.tiny)
    finite = np.isfinite(expected)
    error = np.full(expected.shape, 0.0)
    np.subtract(actual, expected, out=error, where=finite, dtype=np.float64)
    same_special = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
    good = np.where(finite, np.abs(error) <= bound, same_special)
    if not good.all():
        index = _worst(np.where(good, -1.0, np.nan_to_num(np.abs(error) / bound, nan=np.inf)))
        raise AssertionError(
            f"{(~good).sum()} of {good.size} elements are too far off, the worst at {index}: "
            f"{actual[index]!r} instead of {expected[index]!r}, "
            f"error {abs(error[index]):.3g} > bound {bound[index]:.3g} (shape = {actual.shape})"
        )


def assert_units(actual: ArrayLike, expected: ArrayLike, units: float) -> None:
    """Every element is within `units` units in the last place of `expected`, which is wider.

    The unit is the distance between neighbours in the dtype of `actual`, also where they are
    denormal.  NaN, and infinities that `expected` holds after rounding, must stand in place.
    """
    actual, expected = np.asarray(actual), np.asarray(expected, dtype=np.float64)
    _assert_same_shape(actual, expected)
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = expected.astype(actual.dtype)
        error = np.abs(actual.astype(np.float64) - expected) / np.spacing(np.abs(rounded))
    same_special = (actual == rounded) | (np.isnan(actual) & np.isnan(rounded))
    good = np.where(np.isfinite(rounded) & np.isfinite(actual), error <= units, same_special)
    if not good.all():
        index = _worst(np.where(good, -1.0, np.nan_to_num(error, nan=np.inf)))
        raise AssertionError(
            f"{(~good).sum()} of {good.size} elements are off by more than {units} units, "
            f"the worst at {index}: {actual[index]!r} instead of {expected[index]!r}"
        )


def assert_same_bits(actual: ArrayLike, expected: ArrayLike) -> None:
    """Both arrays have one dtype, one shape and the same bytes: for repeatability tests."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    _assert_same_shape(actual, expected)
    if actual.dtype != expected.dtype:
        raise AssertionError(f"dtype is {actual.dtype} instead of {expected.dtype}")
    if actual.tobytes() != expected.tobytes():
        wrong = ~((actual == expected) | (_isnan(actual) & _isnan(expected)))
        where = f"the first at {_first(wrong)}" if wrong.any() else "in signs of zero or NaN bits"
        raise AssertionError(f"bits differ in {wrong.sum()} of {wrong.size} elements, {where}")


def _assert_same_shape(actual: NDArray[Any], expected: NDArray[Any]) -> None:
    if actual.shape != expected.shape:
        raise AssertionError(f"shape is {actual.shape} instead of {expected.shape}")


def _assert_representable(dtype: np.dtype[Any], expected: NDArray[Any]) -> None:
    limit = 2.0 ** (np.finfo(dtype).nmant + 1)
    finite = expected[np.isfinite(expected)]
    if finite.size and np.abs(finite).max() > limit:
        raise AssertionError(f"exact comparison needs values below {limit:.0f}: use smaller inputs")


def _isnan(array: NDArray[Any]) -> NDArray[np.bool_]:
    return np.isnan(array) if array.dtype.kind == "f" else np.zeros(array.shape, dtype=np.bool_)


def _first(wrong: NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(wrong.argmax()), wrong.shape))


def _worst(excess: NDArray[np.float64]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(excess.argmax()), excess.shape))
