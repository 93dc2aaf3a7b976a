"""The comparisons of `support` must be able to fail: each is shown a wrong answer here."""

from __future__ import annotations

import numpy as np
import pytest

from support.arrays import awkward_layouts, distinct, integers
from support.compare import assert_close, assert_exact, assert_same_bits, assert_units
from support.gradcheck import assert_gradients


def test_exact_comparison_accepts_equal_values_of_another_dtype() -> None:
    assert_exact(np.array([1, 2, np.nan], np.float32), np.array([1, 2, np.nan], np.float64))


@pytest.mark.parametrize("wrong", [1.0000001, np.nan, -1.0])
def test_exact_comparison_refuses_any_difference(wrong: float) -> None:
    with pytest.raises(AssertionError, match=r"1 of 2 elements differ, the first at \(1,\)"):
        assert_exact(np.array([1.0, wrong]), np.array([1.0, 1.0]))


def test_exact_comparison_refuses_numbers_that_float32_cannot_hold() -> None:
    with pytest.raises(AssertionError, match="smaller inputs"):
        assert_exact(np.array([2.0**25], np.float32), np.array([2.0**25]))


def test_comparisons_refuse_another_shape() -> None:
    for compare in (assert_exact, assert_same_bits, lambda a, e: assert_close(a, e, 1.0)):
        with pytest.raises(AssertionError, match=r"shape is \(1, 2\) instead of \(2,\)"):
            compare(np.zeros((1, 2)), np.zeros(2))


def test_close_comparison_allows_four_units_of_the_scale() -> None:
    eps = float(np.finfo(np.float32).eps)
    expected = np.array([0.0])
    assert_close(np.array([3.9 * eps * 10], np.float32), expected, scale=10.0)
    with pytest.raises(AssertionError, match="too far off"):
        assert_close(np.array([4.1 * eps * 10], np.float32), expected, scale=10.0)


@pytest.mark.parametrize(("actual", "expected"), [(np.nan, 1.0), (1.0, np.nan), (np.inf, -np.inf)])
def test_close_comparison_refuses_misplaced_special_values(actual: float, expected: float) -> None:
    with pytest.raises(AssertionError, match="too far off"):
        assert_close(np.array([actual]), np.array([expected]), scale=1e9)


def test_close_comparison_accepts_special_values_in_place() -> None:
    special = np.array([np.nan, np.inf, -np.inf])
    assert_close(special, special, scale=1.0)


@pytest.mark.parametrize("expected", [1.0, 1e-40, -3e38])
def test_units_are_distances_between_neighbours(expected: float) -> None:
    expected = float(np.float32(expected))
    neighbour = np.nextafter(np.float32(expected), np.float32(0))
    assert_units(np.array([neighbour]), np.array([expected]), units=1.0)
    with pytest.raises(AssertionError, match=r"off by more than 0\.4 units"):
        assert_units(np.array([neighbour]), np.array([expected]), units=0.4)


@pytest.mark.parametrize("wrong", [np.nan, -np.inf, 3e38])
def test_units_refuse_misplaced_special_values(wrong: float) -> None:
    assert_units(np.array([np.inf], np.float32), np.array([1e39]), units=1.0)
    with pytest.raises(AssertionError, match="the worst at"):
        assert_units(np.array([wrong], np.float32), np.array([1e39]), units=1e9)


def test_same_bits_sees_the_sign_of_zero() -> None:
    with pytest.raises(AssertionError, match="signs of zero"):
        assert_same_bits(np.array([0.0]), np.array([-0.0]))


def test_gradient_check_accepts_the_right_gradient_only(rng: np.random.Generator) -> None:
    point, grad_output = distinct(rng, (3, 4)), rng.standard_normal((3, 4))
    right = grad_output * 3 * point**2
    assert_gradients(lambda x: x**3, [point], [right], grad_output, rng)
    wrong = right.copy()
    wrong[1, 2] += 1e-4 * np.abs(right).max()
    with pytest.raises(AssertionError, match="gradient of input 0"):
        assert_gradients(lambda x: x**3, [point], [wrong], grad_output, rng)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("shape", [(2, 3, 5), (1,), (0, 3)])
def test_awkward_layouts_keep_the_values(shape: tuple[int, ...], dtype: type) -> None:
    array = integers(np.random.default_rng(0), shape, dtype)
    layouts = dict(awkward_layouts(array))
    for copy in layouts.values():
        assert_exact(copy, array)
    assert not layouts["read-only"].flags.writeable
    assert not layouts["unaligned"].flags.aligned or array.size == 0
    assert not layouts["byte-swapped"].dtype.isnative
