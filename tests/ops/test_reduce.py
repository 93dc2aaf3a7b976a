"""Reductions of the core over any axes; numpy in float64 is the reference."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convolite import _core
from support.arrays import awkward_layouts, integers, normals
from support.compare import assert_close, assert_exact, assert_same_bits

DTYPES = [np.float32, np.float64]
OPS = ["sum", "mean", "max", "min"]
# More than one run, row block, column block and task along each kind of axis.
SHAPES = [
    (),
    (1,),
    (7,),
    (70_001,),
    (3, 40_000),
    (40_000, 3),
    (2_500, 40),
    (10, 2_100),
    (4, 5, 6),
    (20, 3, 700),
    (3, 130, 5, 9),
    (2, 1, 3, 1, 4),
]


def expected_of(op: str, a, axes, keepdims: bool):
    wide = a.astype(np.float64)
    return np.asarray(getattr(np, op)(wide, axis=axes, keepdims=keepdims))


def axes_of(ndim: int):
    return [
        axes for count in range(ndim + 1) for axes in itertools.combinations(range(ndim), count)
    ]


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_integers_give_exactly_the_reference_over_any_axes(shape, dtype, isa: str, rng) -> None:
    a = integers(rng, shape, dtype, largest=9)
    for axes in axes_of(len(shape)):
        for op in ("sum", "max", "min"):
            result = _core.reduce(op, a, axes, False)
            assert result.dtype == dtype
            assert_exact(result, expected_of(op, a, axes, False))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_normal_numbers_err_by_rounding_only(shape, dtype, isa: str, rng) -> None:
    a = normals(rng, shape, dtype)
    for axes in axes_of(len(shape)):
        for op in ("sum", "mean"):
            scale = expected_of(op, np.abs(a), axes, False)
            result = _core.reduce(op, a, axes, False)
            assert_close(result, expected_of(op, a, axes, False), scale)


@pytest.mark.parametrize("axes", [(0,), (0, 1)])
def test_a_long_sum_of_ones_does_not_stall(axes, isa: str) -> None:
    count = 2**24 + 2**12  # adding 1 to 2^24 in float32 changes nothing
    ones = np.broadcast_to(np.float32(1), (count, 1)) if axes == (0,) else np.ones((2, count // 2))
    assert_exact(_core.reduce("sum", ones.astype(np.float32), axes, True).ravel() - 2**24, [2**12])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", OPS)
def test_axes_may_be_negative_unordered_none_or_kept(op: str, dtype, isa: str, rng) -> None:
    a = integers(rng, (2, 4, 8), dtype)
    for axes, same in [((-1,), (2,)), ((2, 0), (0, 2)), ((-3, 1), (0, 1)), (None, (0, 1, 2))]:
        for keepdims in (False, True):
            result = _core.reduce(op, a, axes, keepdims)
            assert_exact(result, expected_of(op, a, same, keepdims))
    assert_exact(_core.reduce(op, a, (), True), a)


@pytest.mark.parametrize("shape", [(5,), (40,), (3, 20_000), (70, 33)], ids=str)
def test_nan_and_infinities_come_out_as_in_numpy(shape, isa: str, rng) -> None:
    for special in (np.nan, np.inf, -np.inf):
        a = normals(rng, shape, np.float32)
        a[..., shape[-1] // 2] = special
        a[..., -1] = -abs(special)
        for axes in axes_of(len(shape))[1:]:
            for op in OPS:
                with np.errstate(invalid="ignore"):
                    expected = expected_of(op, a, axes, False)
                result = _core.reduce(op, a, axes, False)
                finite = np.isfinite(expected)
                assert_exact(result[~finite], expected[~finite])
                assert np.isfinite(result[finite]).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 4)], ids=str)
def test_nothing_sums_to_zero_and_its_mean_is_nan(shape, dtype, isa: str) -> None:
    a = np.zeros(shape, dtype)
    for axes in axes_of(len(shape)):
        assert_exact(_core.reduce("sum", a, axes, False), a.sum(axis=axes))
        mean = _core.reduce("mean", a, axes, False)
        assert mean.shape == a.sum(axis=axes).shape
        assert np.isnan(mean).all()


@given(
    shape=st.lists(st.integers(0, 9), max_size=5),
    mask=st.integers(0, 31),
    op=st.sampled_from(OPS),
    keepdims=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_shape_and_axes_give_the_reference(isa, shape, mask, op, keepdims, seed) -> None:
    axes = tuple(i for i in range(len(shape)) if mask >> i & 1)
    if 0 in shape and op != "sum":
        shape = [size + 1 for size in shape]
    a = integers(np.random.default_rng(seed), tuple(shape), np.float64)
    expected = expected_of(op, a, axes, keepdims)
    assert_close(_core.reduce(op, a, axes, keepdims), expected, np.abs(expected), units=1.0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_awkward_layouts_change_nothing(dtype, isa: str, rng) -> None:
    a = normals(rng, (6, 10), dtype)
    for op in OPS:
        expected = _core.reduce(op, a, (0,), False)
        for _, awkward in awkward_layouts(a):
            assert_same_bits(_core.reduce(op, awkward, (0,), False), expected)


@pytest.mark.parametrize("shape", [(70_001,), (3, 40_000), (40_000, 3), (20, 3, 700)], ids=str)
def test_bits_do_not_depend_on_threads_or_run(shape, threads: int, isa: str, rng) -> None:
    a = normals(rng, shape, np.float32)
    calls = [(op, axes) for op in OPS for axes in axes_of(len(shape))]
    parallel = [[_core.reduce(op, a, axes, False) for _ in range(2)] for op, axes in calls]
    _core.set_num_threads(1)
    for results, (op, axes) in zip(parallel, calls, strict=True):
        expected = _core.reduce(op, a, axes, False)
        for result in results:
            assert_same_bits(result, expected)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (
            ("sum", np.zeros((2, 3)), (2,), False),
            ValueError,
            r"sum: axis 2 is out of range for 2 axes \(a.shape = \(2, 3\)\)",
        ),
        (
            ("mean", np.zeros((2, 3)), (-3,), False),
            ValueError,
            r"mean: axis -3 is out of range for 2 axes",
        ),
        (
            ("max", np.zeros((2, 3)), (1, -1), False),
            ValueError,
            r"max: axes must differ, got \(1, -1\)",
        ),
        (
            ("max", np.zeros((2, 0)), (1,), False),
            ValueError,
            r"max: a must have elements along the axes, got a.shape = \(2, 0\), axes = \(1,\)",
        ),
        (
            ("min", np.zeros(0), None, False),
            ValueError,
            r"min: a must have elements along the axes, got a.shape = \(0,\), axes = \(0,\)",
        ),
        (
            ("median", np.zeros(3), None, False),
            ValueError,
            r"reduce: op must be one of sum, mean, max, min, got median",
        ),
        (
            ("sum", np.zeros(3, np.int32), None, False),
            TypeError,
            r"sum: a must be float32 or float64, got int32",
        ),
    ],
)
def test_wrong_arguments_are_named(arguments, error, text: str) -> None:
    with pytest.raises(error, match=f"^{text}"):
        _core.reduce(*arguments)


@pytest.mark.parametrize("axes", [(), (0,), (1,), (2,), (0, 2), (0, 1, 2)], ids=str)
@pytest.mark.parametrize("kind", ["sum", "mean"])
def test_every_summand_gets_its_share_of_the_gradient(kind, axes, rng, threads) -> None:
    shape = (30, 7, 41)
    kept = [1 if i in axes else size for i, size in enumerate(shape)]
    grad_output = integers(rng, kept, np.float64)
    count = np.prod([shape[axis] for axis in axes]) if kind == "mean" else 1.0
    expected = np.broadcast_to(grad_output / count, shape)
    dropped = grad_output.squeeze(axes)
    for upstream in (grad_output, dropped, dropped[()]):
        assert_exact(_core.reduce_backward(kind, upstream, shape, axes), expected)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: _core.reduce_backward("max", np.zeros(2), (2, 3), (1,)),
            "reduce_backward: op must be sum or mean, got max",
        ),
        (
            lambda: _core.reduce_backward("sum", np.zeros(3), (2, 3), (1,)),
            r"reduce_backward: grad_output must have 2 elements, got grad_output.shape = (3,)",
        ),
        (
            lambda: _core.reduce_backward("sum", np.zeros(2), (2, 3), (2,)),
            "reduce_backward: axis 2 is out of range for 2 axes (a.shape = (2, 3))",
        ),
    ],
)
def test_wrong_gradients_are_named(call, text) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(text)):
        call()
