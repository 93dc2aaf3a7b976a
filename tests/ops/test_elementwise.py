"""Arithmetic of the core, one and two operands; numpy in float64 is the reference."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convolite import _core
from support.arrays import awkward_layouts, floats_of_every_size, integers, normals
from support.compare import assert_close, assert_exact, assert_same_bits, assert_units
from support.errors import assert_error

DTYPES = [np.float32, np.float64]
LARGE = 50_021  # several tasks, the last one with a partial vector
EXACT_UNARY = {"negative": np.negative, "abs": np.abs, "sign": np.sign}
# Bounds in units in the last place, for float32: what csrc/src/kernels/math.inl states.
ROUNDED_UNARY = {
    "exp": (np.exp, 1.0),
    "log": (np.log, 1.0),
    "sqrt": (np.sqrt, 0.5),
    "reciprocal": (np.reciprocal, 0.5),
}
BINARY = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "maximum": np.maximum,
    "minimum": np.minimum,
}
ALL_BINARY = [*BINARY, "divide", "power"]
SHAPES = [
    ((), ()),
    ((1,), (1,)),
    ((37,), ()),
    ((), (LARGE,)),
    ((LARGE,), (LARGE,)),
    ((64, 10), (10,)),
    ((8, 5, 7, 9), (5, 1, 1)),
    ((3, 1, 50_021), (1, 2, 1)),
    ((600, 70), (600, 1)),
    ((4, 1, 6), (1, 5, 1)),
    ((7, 1), (1, 7)),
    ((2, 1, 3, 1, 4), (5, 1, 6, 1)),
    ((1, 1, 1), (2, 1)),
    ((0, 3), (3,)),
    ((3, 0), (1, 1)),
]


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", EXACT_UNARY)
@pytest.mark.parametrize("shape", [(), (0,), (5,), (3, 17), (LARGE,)])
def test_unary_integers_give_exactly_the_reference(op, shape, dtype, isa, rng) -> None:
    a = integers(rng, shape, dtype)
    result = _core.unary(op, a)
    assert result.dtype == dtype
    assert_exact(result, EXACT_UNARY[op](a))


@pytest.mark.parametrize("op", [*EXACT_UNARY, *ROUNDED_UNARY])
def test_every_kind_of_float_is_right_to_the_stated_bound(op: str, isa: str) -> None:
    formula, units = ROUNDED_UNARY.get(op, (EXACT_UNARY.get(op), 0.0))
    a = floats_of_every_size()
    with np.errstate(all="ignore"):
        expected = formula(a.astype(np.float64))
    assert_units(_core.unary(op, a), expected, units)


@pytest.mark.parametrize("op", ROUNDED_UNARY)
def test_unary_float64_errs_by_rounding_only(op: str, isa: str, rng) -> None:
    a = np.concatenate([normals(rng, (1001,), np.float64), [0.0, -0.0, np.inf, -np.inf, np.nan]])
    with np.errstate(all="ignore"):
        expected = ROUNDED_UNARY[op][0](a)
    assert_close(_core.unary(op, a), expected, np.abs(expected))


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_integers_of_any_two_shapes_give_exactly_the_reference(shapes, dtype, isa, rng) -> None:
    a, b = (integers(rng, shape, dtype) for shape in shapes)
    for op, formula in BINARY.items():
        assert_exact(_core.binary(op, a, b), formula(a, b))
        assert_exact(_core.binary(op, b, a), formula(b, a))
    divisor = 2.0 ** integers(rng, shapes[1], dtype)
    assert_exact(_core.binary("divide", a, divisor.astype(dtype)), a / divisor)
    exponent = np.abs(b)
    assert_exact(_core.binary("power", a, exponent), np.power(a.astype(np.float64), exponent))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (3, 5, 7), (LARGE,)])
def test_adding_in_place_gives_exactly_the_sum(shape, dtype, isa, rng) -> None:
    total, addend = (np.array(integers(rng, shape, dtype)) for _ in range(2))
    expected = total + addend
    for _, awkward in awkward_layouts(addend):
        changed = total.copy()
        _core.add_in_place(changed, awkward.reshape(shape))  # numpy gives () some layouts as (1,)
        assert_exact(changed, expected)


def test_adding_in_place_refuses_what_cannot_be_changed() -> None:
    total, frozen = np.zeros((2, 3), np.float32), np.zeros(2, np.float32)
    frozen.flags.writeable = False
    op = "add_in_place"
    for total_, addend, kind, text in [
        (total, total[0], ValueError, "addend must have shape (2, 3) like total, got (3,)"),
        (total, np.zeros((2, 3)), TypeError, "addend must be float32 like total, got float64"),
        (
            total.T,
            total.T,
            ValueError,
            "total is updated in place but is not C-contiguous and aligned",
        ),
        (frozen, frozen, ValueError, "total is updated in place but is read-only"),
    ]:
        assert_error(partial(_core.add_in_place, total_, addend), kind, f"{op}: {text}")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", ALL_BINARY)
def test_normal_numbers_err_by_rounding_only(op: str, dtype, isa: str, rng) -> None:
    a, b = normals(rng, (9, 4, 33), dtype), normals(rng, (4, 1), dtype)
    if op == "power":
        a = np.abs(a)
    expected = getattr(np, op)(a.astype(np.float64), b.astype(np.float64))
    assert_close(_core.binary(op, a, b), expected, np.abs(expected), units=1.0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", ALL_BINARY)
def test_special_values_come_out_as_in_numpy(op: str, dtype, isa: str) -> None:
    # In double, then rounded: numpy's own float32 power errs by more than half a unit on some CPUs.
    special = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -2.0, 3.5])
    with np.errstate(all="ignore"):
        expected = getattr(np, op)(special[:, None], special[None, :]).astype(dtype)
    special = special.astype(dtype)
    assert_exact(_core.binary(op, special[:, None], special[None, :]), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("exponent", [2.0, 0.5, -1.0, 3.0, 0.0, 1.0])
def test_a_power_with_one_exponent_is_numpys(exponent: float, dtype, isa: str, rng) -> None:
    a = np.abs(normals(rng, (LARGE,), dtype))
    expected = a.astype(np.float64) ** exponent
    for b in (np.array(exponent, dtype), np.full((1,), exponent, dtype)):
        assert_close(_core.binary("power", a, b), expected, expected, units=1.0)
    assert_exact(_core.binary("power", np.full((), 4, dtype), np.full((3,), 2, dtype)), [16.0] * 3)


@given(data=st.data(), dtype=st.sampled_from(DTYPES), seed=st.integers(0, 2**32 - 1))
def test_any_shapes_broadcast_as_in_numpy(isa: str, data, dtype, seed: int) -> None:
    whole = data.draw(st.lists(st.integers(0, 7), max_size=5), label="shape")
    shapes = []
    for _ in range(2):
        shape = [data.draw(st.sampled_from([size, 1]), label="axis") for size in whole]
        shapes.append(tuple(shape[data.draw(st.integers(0, len(shape)), label="first") :]))
    rng = np.random.default_rng(seed)
    a, b = (integers(rng, shape, dtype) for shape in shapes)
    for op, formula in BINARY.items():
        assert_exact(_core.binary(op, a, b), formula(a, b))


@pytest.mark.parametrize("dtype", DTYPES)
def test_awkward_layouts_change_nothing(dtype, isa: str, rng) -> None:
    a, b = integers(rng, (6, 10), dtype), integers(rng, (10,), dtype)
    sum_, negative = _core.binary("add", a, b), _core.unary("negative", a)
    copies = dict(awkward_layouts(b))
    for layout, awkward in awkward_layouts(a):
        assert_same_bits(_core.binary("add", awkward, copies[layout]), sum_)
        assert_same_bits(_core.unary("negative", awkward), negative)
        assert_exact(awkward, a)


def test_numpy_scalars_count_as_arrays_without_axes() -> None:
    assert_exact(_core.binary("add", np.float32(2), np.float32(3)), np.array(5.0))
    assert_exact(_core.unary("negative", np.float32(2)), np.array(-2.0))


@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_do_not_depend_on_threads_or_run(dtype, threads: int, isa: str, rng) -> None:
    a, row = normals(rng, (300, 167), dtype), normals(rng, (167,), dtype)
    column = normals(rng, (300, 1), dtype)
    calls = [
        lambda: _core.unary("exp", a),
        lambda: _core.binary("divide", a, a + 3),
        lambda: _core.binary("multiply", a, row),
        lambda: _core.binary("subtract", column, a),
    ]
    parallel = [call() for call in calls for _ in range(2)]
    _core.set_num_threads(1)
    for i, call in enumerate(calls):
        expected = call()
        assert_same_bits(parallel[2 * i], expected)
        assert_same_bits(parallel[2 * i + 1], expected)


def test_results_do_not_depend_on_where_the_vectors_begin(isa: str, rng) -> None:
    a = normals(rng, (100,), np.float32)
    for op in ROUNDED_UNARY:
        whole = _core.unary(op, a)
        for begin in range(0, 100, 7):
            assert_same_bits(_core.unary(op, a[begin:]), whole[begin:])


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda: _core.binary("add", np.zeros((2, 3)), np.zeros(4)),
            ValueError,
            r"add: shapes do not broadcast, axis -1 is 3 in a but 4 in b "
            r"\(a.shape = \(2, 3\), b.shape = \(4,\)\)",
        ),
        (
            lambda: _core.binary("divide", np.zeros((2, 3)), np.zeros((0, 3))),
            ValueError,
            r"divide: shapes do not broadcast, axis -2 is 2 in a but 0 in b",
        ),
        (
            lambda: _core.binary("add", np.zeros(3, np.float32), np.zeros(3)),
            TypeError,
            r"add: b must be float32 like a, got float64",
        ),
        (
            lambda: _core.binary("add", np.zeros(3, int), np.zeros(3)),
            TypeError,
            r"add: a must be float32 or float64, got int64",
        ),
        (
            lambda: _core.binary("modulo", np.zeros(3), np.zeros(3)),
            ValueError,
            r"binary: op must be one of add, subtract, .*, minimum, got modulo",
        ),
        (
            lambda: _core.unary("cube", np.zeros(3)),
            ValueError,
            r"unary: op must be one of negative, exp, .*, reciprocal, got cube",
        ),
        (
            lambda: _core.unary("exp", np.zeros(3, np.float16)),
            TypeError,
            r"exp: a must be float32 or float64, got float16",
        ),
    ],
)
def test_wrong_arguments_are_named(call, error, text: str) -> None:
    with pytest.raises(error, match=f"^{text}"):
        call()
