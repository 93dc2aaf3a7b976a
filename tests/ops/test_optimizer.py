"""The optimizer updates of the core, in place, for every instruction set."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convolite import _core, reference
from support.arrays import awkward_layouts, integers, normals
from support.compare import assert_close, assert_exact, assert_same_bits

DTYPES = [np.float32, np.float64]
# Scalars, nothing, partial vectors, and more than one block.
SHAPES = [(), (0,), (7,), (10, 33), (40_001,), (2, 3, 5, 5)]
SGD = {
    "plain": {},
    "decay": {"weight_decay": 0.125},
    "momentum": {"momentum": 0.5},
    "dampening": {"momentum": 0.5, "dampening": 0.25, "weight_decay": 0.125},
    "nesterov": {"momentum": 0.5, "nesterov": True, "weight_decay": 0.125},
}
SGD_DEFAULTS = {"momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False}
ADAM = {
    "plain": {},
    "decay": {"weight_decay": 0.1},
    "decoupled": {"weight_decay": 0.1, "decoupled": True},
    "odd": {"beta1": 0.5, "beta2": 0.75, "eps": 1e-3, "weight_decay": 0.01},
}
ADAM_DEFAULTS = {
    "beta1": 0.9,
    "beta2": 0.999,
    "eps": 1e-8,
    "weight_decay": 0.0,
    "decoupled": False,
}

RMSPROP = {
    "plain": {},
    "decay": {"weight_decay": 0.1},
    "momentum": {"momentum": 0.9},
    "centered": {"centered": True, "alpha": 0.9},
    "all": {"alpha": 0.5, "eps": 1e-3, "weight_decay": 0.1, "momentum": 0.9, "centered": True},
}
RMSPROP_DEFAULTS = {
    "alpha": 0.99,
    "eps": 1e-8,
    "weight_decay": 0.0,
    "momentum": 0.0,
    "centered": False,
}


def make_list(make, rng, dtype, shapes=SHAPES):
    return [make(rng, shape, dtype) for shape in shapes]


def zeros_like(arrays):
    return [np.zeros_like(array) for array in arrays]


def copies_of(arrays):
    return [array.copy() for array in arrays]


def sgd_step(parameters, gradients, buffers, first: bool, lr: float, rule) -> None:
    options = {**SGD_DEFAULTS, **rule}
    _core.sgd_step(parameters, gradients, buffers, first, lr, **options)


def adam_step(parameters, gradients, means, squares, step: int, lr: float, rule) -> None:
    _core.adam_step(parameters, gradients, means, squares, step, lr, **{**ADAM_DEFAULTS, **rule})


def rmsprop_step(parameters, gradients, squares, means, buffers, lr: float, rule) -> None:
    options = {**RMSPROP_DEFAULTS, **rule}
    _core.rmsprop_step(parameters, gradients, squares, means, buffers, lr, **options)


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", SGD.values(), ids=SGD)
def test_sgd_of_integers_gives_exactly_the_reference(rule, dtype, isa: str, rng) -> None:
    parameters, gradients = make_list(integers, rng, dtype), make_list(integers, rng, dtype)
    buffers = [np.full_like(array, np.nan) for array in parameters]
    state = [(array.astype(np.float64), None) for array in parameters]
    for step in range(2):  # powers of 2 keep two steps exact
        state = [
            reference.sgd_step(parameter, gradient, buffer, 0.25, **{**SGD_DEFAULTS, **rule})
            for (parameter, buffer), gradient in zip(state, gradients, strict=True)
        ]
        sgd_step(
            parameters, gradients, buffers if "momentum" in rule else [], step == 0, 0.25, rule
        )
        for parameter, buffer, expected in zip(parameters, buffers, state, strict=True):
            assert_exact(parameter, expected[0])
            if "momentum" in rule:
                assert_exact(buffer, expected[1])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", SGD.values(), ids=SGD)
def test_sgd_of_normal_numbers_errs_by_rounding_only(rule, dtype, isa: str, rng) -> None:
    parameters, gradients = make_list(normals, rng, dtype), make_list(normals, rng, dtype)
    buffers = make_list(normals, rng, dtype)
    lr = 0.1
    expected = [
        reference.sgd_step(*arrays, lr, **{**SGD_DEFAULTS, **rule})
        for arrays in zip(parameters, gradients, buffers, strict=True)
    ]
    sizes = [1 + sum(map(np.abs, a)) for a in zip(parameters, gradients, buffers, strict=True)]
    sgd_step(parameters, gradients, buffers, False, lr, rule)
    for i, size in enumerate(sizes):
        assert_close(parameters[i], expected[i][0], size)
        if "momentum" in rule:
            assert_close(buffers[i], expected[i][1], size)


def adam_scales(parameter, gradient, mean, square, step: int, lr: float, rule):
    """Sizes of the terms that make up the new parameter, the new mean and the new square."""
    options = {**ADAM_DEFAULTS, **rule}
    gradient = np.abs(gradient) + options["weight_decay"] * np.abs(parameter)
    mean = np.abs(mean) + (1 - options["beta1"]) * gradient
    square = square + (1 - options["beta2"]) * gradient**2
    divisor = np.sqrt(square / (1 - options["beta2"] ** step)) + options["eps"]
    update = lr * mean / (1 - options["beta1"] ** step) / divisor
    return np.abs(parameter) + update, mean, square


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", ADAM.values(), ids=ADAM)
def test_adam_errs_by_rounding_only_at_every_step(rule, dtype, isa: str, rng) -> None:
    parameters = make_list(normals, rng, dtype)
    means, squares = zeros_like(parameters), zeros_like(parameters)
    for step in (1, 2, 3, 1000):
        gradients = make_list(normals, rng, dtype)
        problems = [
            [array.astype(np.float64) for array in arrays]
            for arrays in zip(parameters, gradients, means, squares, strict=True)
        ]
        adam_step(parameters, gradients, means, squares, step, 0.01, rule)
        results = zip(parameters, means, squares, strict=True)
        for problem, arrays in zip(problems, results, strict=True):
            expected = reference.adam_step(*problem, step, 0.01, **{**ADAM_DEFAULTS, **rule})
            scales = adam_scales(*problem, step, 0.01, rule)
            for array, right, scale in zip(arrays, expected, scales, strict=True):
                assert_close(array, right, scale)


def test_adam_first_step_moves_by_the_learning_rate(isa: str, rng) -> None:
    gradient = normals(rng, (100,), np.float64) + 10
    parameter = np.zeros(100)
    adam_step([parameter], [gradient], [np.zeros(100)], [np.zeros(100)], 1, 0.01, {"eps": 0.0})
    assert_close(parameter, np.full(100, -0.01), 0.01)


def rmsprop_scales(parameter, gradient, square, mean, buffer, lr: float, rule):
    """Sizes of the terms that make up the new parameter, square, mean and buffer."""
    options = {**RMSPROP_DEFAULTS, **rule}
    expected = reference.rmsprop_step(parameter, gradient, square, mean, buffer, lr, **options)
    variance = expected[1] - expected[2] ** 2 if options["centered"] else expected[1]
    gradient = np.abs(gradient) + options["weight_decay"] * np.abs(parameter)
    square = options["alpha"] * square + (1 - options["alpha"]) * gradient**2
    mean = np.abs(mean) + (1 - options["alpha"]) * gradient
    scaled = gradient / (np.sqrt(variance) + options["eps"])
    # What rounding does to the variance counts by how much smaller it is than its terms.
    scaled *= (square + mean**2) / variance if options["centered"] else 1.0
    buffer = options["momentum"] * np.abs(buffer) + scaled
    return expected, (np.abs(parameter) + lr * buffer, square, mean, buffer)


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", RMSPROP.values(), ids=RMSPROP)
def test_rmsprop_errs_by_rounding_only_at_every_step(rule, dtype, isa: str, rng) -> None:
    parameters = make_list(normals, rng, dtype)
    squares, means, buffers = (zeros_like(parameters) for _ in range(3))
    for _ in range(3):
        gradients = make_list(normals, rng, dtype)
        problems = [
            [array.astype(np.float64) for array in arrays]
            for arrays in zip(parameters, gradients, squares, means, buffers, strict=True)
        ]
        kept_means = means if rule.get("centered") else []
        kept_buffers = buffers if "momentum" in rule else []
        rmsprop_step(parameters, gradients, squares, kept_means, kept_buffers, 0.01, rule)
        results = zip(parameters, squares, means, buffers, strict=True)
        used = [True, True, bool(kept_means), bool(kept_buffers)]
        for problem, arrays in zip(problems, results, strict=True):
            pairs = zip(*rmsprop_scales(*problem, 0.01, rule), strict=True)
            for array, (right, scale), kept in zip(arrays, pairs, used, strict=True):
                assert_close(array, right if kept else 0.0 * right, scale)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_may_come_in_any_layout_and_stay_unchanged(dtype, isa: str, rng) -> None:
    parameter, gradient = normals(rng, (6, 10), dtype), normals(rng, (6, 10), dtype)
    expected = parameter.copy()
    sgd_step([expected], [gradient], [], True, 0.1, {})
    for _, awkward in awkward_layouts(gradient):
        updated = parameter.copy()
        sgd_step([updated], [awkward], [], True, 0.1, {})
        assert_same_bits(updated, expected)
        assert_exact(awkward, gradient)


@given(
    sizes=st.lists(st.integers(0, 70), max_size=5),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_list_of_sizes_is_updated_within_its_bounds(isa: str, sizes, dtype, seed) -> None:
    rng = np.random.default_rng(seed)
    memory = integers(rng, (sum(sizes) + 2 * len(sizes),), dtype)
    before = memory.copy()
    begins = np.cumsum([0, *(size + 2 for size in sizes)])[:-1]
    views = [memory[i + 1 : i + 1 + size] for i, size in zip(begins, sizes, strict=True)]
    gradients = [integers(rng, (size,), dtype) for size in sizes]
    expected = before.copy()
    for i, gradient in zip(begins, gradients, strict=True):
        expected[i + 1 : i + 1 + gradient.size] -= 0.5 * gradient
    sgd_step(views, gradients, [], True, 0.5, {})
    assert_exact(memory, expected)


@pytest.mark.parametrize("rule", ["momentum", "nesterov"])
def test_sgd_bits_do_not_depend_on_threads(rule: str, threads: int, isa: str, rng) -> None:
    shapes = [(70_001,), (3,), (40_000,)]
    arrays = [make_list(normals, rng, np.float32, shapes) for _ in range(3)]
    results = [copies_of(group) for group in arrays]
    sgd_step(*results, False, 0.1, SGD[rule])
    _core.set_num_threads(1)
    sgd_step(*arrays, False, 0.1, SGD[rule])
    for group, expected in zip(results, arrays, strict=True):
        for array, single in zip(group, expected, strict=True):
            assert_same_bits(array, single)


def test_adam_bits_do_not_depend_on_threads(threads: int, isa: str, rng) -> None:
    shapes = [(70_001,), (3,), (40_000,)]
    arrays = [make_list(normals, rng, np.float32, shapes) for _ in range(4)]
    arrays[3] = [np.abs(array) for array in arrays[3]]
    results = [copies_of(group) for group in arrays]
    adam_step(*results, 3, 0.1, ADAM["decoupled"])
    _core.set_num_threads(1)
    adam_step(*arrays, 3, 0.1, ADAM["decoupled"])
    for group, expected in zip(results, arrays, strict=True):
        for array, single in zip(group, expected, strict=True):
            assert_same_bits(array, single)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rmsprop_bits_do_not_depend_on_threads(dtype, threads: int, isa: str, rng) -> None:
    shapes = [(70_001,), (3,), (40_000,)]
    arrays = [make_list(normals, rng, dtype, shapes) for _ in range(5)]
    arrays[2] = [array**2 + mean**2 for array, mean in zip(*arrays[2:4], strict=True)]
    results = [copies_of(group) for group in arrays]
    rmsprop_step(*results, 0.1, RMSPROP["all"])
    _core.set_num_threads(1)
    rmsprop_step(*arrays, 0.1, RMSPROP["all"])
    for group, expected in zip(results, arrays, strict=True):
        for array, single in zip(group, expected, strict=True):
            assert_same_bits(array, single)


def read_only():
    array = np.zeros(4)
    array.flags.writeable = False
    return array


FOUR = np.zeros(4)


@pytest.mark.parametrize(
    ("parameters", "gradients", "buffers", "error", "text"),
    [
        (
            [FOUR, read_only()],
            [FOUR, FOUR],
            [FOUR, FOUR],
            ValueError,
            r"parameters\[1\] is updated in place but is read-only",
        ),
        (
            [np.zeros(8)[::2]],
            [FOUR],
            [FOUR],
            ValueError,
            r"parameters\[0\] is updated in place but is not C-contiguous and aligned",
        ),
        (
            [np.zeros(33, np.uint8)[1:].view(np.float64)],
            [FOUR],
            [FOUR],
            ValueError,
            r"parameters\[0\] is updated in place but is not C-contiguous and aligned",
        ),
        (
            [FOUR.astype(">f8")],
            [FOUR],
            [FOUR],
            TypeError,
            r"parameters\[0\] must be float64 like parameters\[0\] and in native byte order",
        ),
        (
            [FOUR, FOUR.astype("f4")],
            [FOUR, FOUR],
            [FOUR, FOUR],
            TypeError,
            r"parameters\[1\] must be float64 like parameters\[0\] .*, got float32",
        ),
        (
            [FOUR.astype(int)],
            [FOUR],
            [FOUR],
            TypeError,
            r"parameters\[0\] must be float32 or float64, got int64",
        ),
        (
            [FOUR],
            [FOUR.astype("f4")],
            [FOUR],
            TypeError,
            r"gradients\[0\] must be float64 like parameters\[0\], got float32",
        ),
        (
            [FOUR],
            [FOUR.reshape(2, 2)],
            [FOUR],
            ValueError,
            r"gradients\[0\] must have shape \(4,\) like its parameter, got \(2, 2\)",
        ),
        (
            [FOUR, FOUR],
            [FOUR],
            [FOUR, FOUR],
            ValueError,
            r"gradients must have 2 arrays like parameters, got 1",
        ),
        (
            [FOUR],
            [FOUR],
            [read_only()],
            ValueError,
            r"momentum_buffers\[0\] is updated in place but is read-only",
        ),
        (
            [FOUR],
            [FOUR],
            [np.zeros(3)],
            ValueError,
            r"momentum_buffers\[0\] must have shape \(4,\) like its parameter, got \(3,\)",
        ),
        (
            [FOUR],
            [FOUR],
            [],
            ValueError,
            r"momentum_buffers must have 1 arrays like parameters, got 0",
        ),
    ],
)
def test_wrong_arrays_are_named_before_any_work(
    parameters, gradients, buffers, error, text
) -> None:
    ones = [np.ones_like(array) for array in gradients]
    with pytest.raises(error, match=f"^sgd_step: {text}"):
        sgd_step(parameters, ones, buffers, False, 0.1, SGD["momentum"])
    for array in parameters:
        assert_exact(array, np.zeros(array.shape))


def test_wrong_adam_state_is_named() -> None:
    with pytest.raises(
        ValueError, match=r"^adam_step: exp_avgs must have 1 arrays like parameters"
    ):
        adam_step([FOUR], [FOUR], [], [FOUR], 1, 0.1, {})
    with pytest.raises(ValueError, match=r"^adam_step: exp_avg_sqs\[0\] is updated in place but"):
        adam_step([FOUR], [FOUR], [FOUR.copy()], [read_only()], 1, 0.1, {})
    with pytest.raises(ValueError, match=r"^adam_step: step must be at least 1, got 0"):
        adam_step([FOUR], [FOUR], [FOUR.copy()], [FOUR.copy()], 0, 0.1, {})
    with pytest.raises(TypeError, match=r"^adam_step: exp_avgs\[0\] must be float64"):
        adam_step([FOUR], [FOUR], [FOUR.astype("f4")], [FOUR.copy()], 1, 0.1, {})


def test_wrong_rmsprop_state_is_named() -> None:
    state = [np.ones(4) for _ in range(3)]
    rule = RMSPROP["all"]
    for i, name in enumerate(["square_avgs", "grad_avgs", "momentum_buffers"]):
        lists = [[array] for array in state]
        lists[i] = []
        with pytest.raises(
            ValueError, match=f"^rmsprop_step: {name} must have 1 arrays like parameters, got 0"
        ):
            rmsprop_step([FOUR], [FOUR], *lists, 0.1, rule)
        lists[i] = [read_only()]
        with pytest.raises(ValueError, match=rf"^rmsprop_step: {name}\[0\] is updated in place"):
            rmsprop_step([FOUR], [FOUR], *lists, 0.1, rule)
        lists[i] = [np.ones(4, np.float32)]
        with pytest.raises(TypeError, match=rf"^rmsprop_step: {name}\[0\] must be float64"):
            rmsprop_step([FOUR], [FOUR], *lists, 0.1, rule)
    assert_exact(np.stack([FOUR, *state]), np.repeat([[0.0], [1], [1], [1]], 4, axis=1))
