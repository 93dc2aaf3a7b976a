"""Batch normalisation: the core for every instruction set and thread count, and `functional`."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convolite import _core, functional, reference, tensor
from support.arrays import awkward_layouts, integers, normals
from support.cases import case_parameters
from support.compare import assert_close, assert_exact, assert_same_bits
from support.gradcheck import assert_gradients

DTYPES = [np.float32, np.float64]
ACTIVATIONS = ["none", "relu", "relu6"]
EPS = 1e-3
# Counts are powers of two, so that a mean of integers has no rounding.
DYADIC_SHAPES = [
    (8, 5),
    (64, 33),
    (128, 3, 1),
    (2, 3, 2),
    (4, 7, 2, 4),
    (8, 17, 4, 4),
    (32, 5, 8, 2),
    (4, 3, 32),
    (2, 2, 64, 64),
]


def make_problem(make, rng, shape, dtype, offset: float = 0.0) -> SimpleNamespace:
    channels = shape[1]
    return SimpleNamespace(
        input=make(rng, shape, dtype) + dtype(offset),
        weight=make(rng, (channels,), dtype),
        bias=make(rng, (channels,), dtype),
        grad_output=make(rng, shape, dtype),
        channels=channels,
    )


def case_problem(make, rng, case, dtype, largest_batch: int = 20) -> SimpleNamespace:
    return make_problem(make, rng, (min(case.n, largest_batch), case.c, case.h, case.w), dtype)


def along_channels(values, ndim: int):
    """(c,) values, shaped so that they broadcast over (n, c, ...)."""
    return np.asarray(values, np.float64).reshape(1, -1, *[1] * (ndim - 2))


def train(problem, activation="none", running=(None, None), momentum=0.1, eps=EPS):
    return _core.batch_norm_forward_training(
        problem.input, problem.weight, problem.bias, *running, momentum, eps, activation
    )


def backward(problem, mean, inv_std, training=True, activation="none"):
    return _core.batch_norm_backward(
        problem.grad_output,
        problem.input,
        problem.weight,
        mean,
        inv_std,
        training,
        problem.bias,
        activation,
    )[:3]


def balanced_problem(rng, shape, dtype) -> SimpleNamespace:
    """Each channel is m +- s with as many of either sign: mean m, variance s^2 (a power of 4)."""
    problem = make_problem(integers, rng, shape, dtype)
    problem.mean = integers(rng, (shape[1],), dtype)
    problem.deviation = rng.choice([0.5, 1.0, 2.0], shape[1]).astype(dtype)
    for channel in range(shape[1]):
        values = problem.input[:, channel]
        signs = rng.permutation(np.repeat([1.0, -1.0], values.size // 2)).reshape(values.shape)
        problem.input[:, channel] = problem.mean[channel] + problem.deviation[channel] * signs
    return problem


@pytest.mark.smoke
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", DYADIC_SHAPES, ids=str)
def test_balanced_integers_give_exactly_the_reference(shape, dtype, activation, isa, rng) -> None:
    problem = balanced_problem(rng, shape, dtype)
    running = integers(rng, (shape[1],), dtype), integers(rng, (shape[1],), dtype)
    before = [array.copy() for array in running]
    output, mean, inv_std = train(problem, activation, running, momentum=0.5, eps=0.0)
    assert output.dtype == mean.dtype == inv_std.dtype == dtype
    assert_exact(mean, problem.mean)
    assert_exact(inv_std, 1 / problem.deviation)
    arguments = (problem.input, problem.weight, problem.bias)
    assert_exact(output, reference.batch_norm_training(*arguments, 0.0, activation)[0])
    assert_exact(running[0], reference.running_statistics(problem.input, *before, 0.5)[0])
    plain = train(problem, eps=0.0)[0].astype(np.float64)
    passed = reference.activation_backward(activation, problem.grad_output, plain)
    for training in (True, False):
        results = backward(problem, mean, inv_std, training, activation)
        expected = reference.batch_norm_backward(
            passed, problem.input, problem.weight, mean, inv_std, training
        )
        for result, wanted in zip(results, expected, strict=True):
            assert_exact(result, wanted)


@pytest.mark.smoke
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", case_parameters("norm"))
def test_inference_on_integers_is_exactly_the_reference(case, dtype, activation, isa, rng) -> None:
    problem = case_problem(integers, rng, case, dtype, largest_batch=5)
    mean = integers(rng, (case.c,), dtype)
    variance = rng.choice([0.25, 1.0, 4.0], case.c).astype(dtype)
    for weight, bias in [(problem.weight, problem.bias), (None, None)]:
        arguments = (problem.input, weight, bias, mean, variance, 0.0, activation)
        output = _core.batch_norm_forward_inference(*arguments)
        assert_exact(output, reference.batch_norm_inference(*arguments))


def assert_training_is_close(problem, activation: str) -> None:
    """Rounding of the terms: x - mean carries that of x and of the mean, as large as they are."""
    dtype, ndim = problem.input.dtype, problem.input.ndim
    channels = problem.input.shape[1]
    running = np.full(channels, 2.0, dtype), np.full(channels, 3.0, dtype)
    before = [array.copy() for array in running]
    output, mean, inv_std = train(problem, activation, running, momentum=0.25)
    arguments = (problem.input, problem.weight, problem.bias)
    expected, exact_mean, exact_inv_std = reference.batch_norm_training(*arguments, EPS, activation)
    wide = problem.input.astype(np.float64)
    axes = tuple(axis for axis in range(ndim) if axis != 1)
    mean_size = np.abs(wide).mean(axis=axes)
    assert_close(mean, exact_mean, mean_size)
    assert_close(inv_std, exact_inv_std, exact_inv_std)
    moved = reference.running_statistics(problem.input, *before, 0.25)
    assert_close(running[0], moved[0], 2.0 + mean_size)
    assert_close(running[1], moved[1], 3.0 + moved[1])
    normalised = (np.abs(wide) + along_channels(mean_size, ndim)) * along_channels(inv_std, ndim)
    weight, bias = (along_channels(np.abs(a), ndim) for a in (problem.weight, problem.bias))
    assert_close(output, expected, normalised * weight + bias)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", case_parameters("norm"))
def test_training_errs_by_rounding_only(case, dtype, activation, isa: str, rng) -> None:
    assert_training_is_close(case_problem(normals, rng, case, dtype), activation)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(40, 3), (70, 2, 5), (33, 3, 26, 26), (2, 2, 120, 100)], ids=str)
@pytest.mark.parametrize("offset", [1e4, -3e5])
def test_a_large_mean_leaves_the_variance_right(shape, dtype, offset, isa: str, rng) -> None:
    assert_training_is_close(make_problem(normals, rng, shape, dtype, offset), "none")


@pytest.mark.parametrize("dtype", DTYPES)
def test_images_far_from_each_other_leave_the_variance_right(dtype, isa: str, rng) -> None:
    problem = make_problem(normals, rng, (40, 3, 9, 7), dtype)
    problem.input += (1000 * np.arange(40, dtype=dtype) ** 2).reshape(-1, 1, 1, 1)
    assert_training_is_close(problem, "none")
    problem.input[0], problem.input[1:] = 1e6, normals(rng, (39, 3, 9, 7), dtype)
    assert_training_is_close(problem, "none")


def scales_of_backward(problem, mean, inv_std, training: bool):
    """The reference's formula with every term positive."""
    ndim = problem.input.ndim
    axes = tuple(axis for axis in range(ndim) if axis != 1)
    grad = np.abs(problem.grad_output.astype(np.float64))
    centre, deviation = (along_channels(np.abs(a), ndim) for a in (mean, inv_std))
    normalised = (np.abs(problem.input.astype(np.float64)) + centre) * deviation
    sums = grad.sum(axis=axes, keepdims=True), (grad * normalised).sum(axis=axes, keepdims=True)
    count = max(1, problem.input.size // problem.channels)
    through = (sums[0] + normalised * sums[1]) / count if training else 0.0
    grad_input = along_channels(np.abs(problem.weight), ndim) * deviation * (grad + through)
    return grad_input, sums[1].reshape(-1), sums[0].reshape(-1)


@pytest.mark.parametrize("training", [True, False], ids=["training", "inference"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", case_parameters("norm"))
def test_gradients_err_by_rounding_only(case, dtype, training: bool, isa: str, rng) -> None:
    problem = case_problem(normals, rng, case, dtype)
    _, mean, inv_std = train(problem)
    results = backward(problem, mean, inv_std, training)
    arguments = (problem.grad_output, problem.input, problem.weight, mean, inv_std, training)
    expected = reference.batch_norm_backward(*arguments)
    scales = scales_of_backward(problem, mean, inv_std, training)
    for result, wanted, scale in zip(results, expected, scales, strict=True):
        assert_close(result, wanted, scale)


@pytest.mark.parametrize("case", case_parameters("norm", use="bench"))
def test_inference_gradient_is_adjoint_at_full_size(case, isa: str, rng) -> None:
    problem = case_problem(integers, rng, case, np.float32)
    mean, inv_std = np.zeros(case.c, np.float32), np.full(case.c, 2, np.float32)
    output = _core.batch_norm_forward_inference(
        problem.input, problem.weight, None, mean, inv_std / 8, 0.0, "none"
    )
    grad_input, grad_weight, grad_bias = backward(problem, mean, inv_std, training=False)
    wide = problem.grad_output.astype(np.float64)
    total = np.vdot(output.astype(np.float64), wide)
    assert np.vdot(problem.input.astype(np.float64), grad_input) == total
    assert np.vdot(problem.weight.astype(np.float64), grad_weight) == total
    assert_exact(grad_bias, wide.sum(axis=(0, 2, 3)))


@pytest.mark.parametrize("training", [True, False], ids=["training", "inference"])
@pytest.mark.parametrize("shape", [(5, 3), (2, 2, 9), (3, 4, 3, 3), (2, 3, 5, 7)], ids=str)
def test_gradients_equal_differences(shape, training: bool, isa: str, rng) -> None:
    problem = make_problem(normals, rng, shape, np.float64)
    mean, variance = normals(rng, (shape[1],), np.float64), 0.5 + rng.random(shape[1])

    def forward(input, weight, bias):
        if training:
            return _core.batch_norm_forward_training(
                input, weight, bias, None, None, 0.1, EPS, "none"
            )[0]
        return _core.batch_norm_forward_inference(input, weight, bias, mean, variance, EPS, "none")

    if training:
        _, mean, inv_std = train(problem)
    else:
        inv_std = 1 / np.sqrt(variance + EPS)
    gradients = backward(problem, mean, inv_std, training)
    inputs = [problem.input, problem.weight, problem.bias]
    assert_gradients(forward, inputs, gradients, problem.grad_output, rng)


@pytest.mark.parametrize("activation", ["relu", "relu6"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", case_parameters("norm"))
def test_a_fused_activation_gives_the_bits_of_a_separate_one(
    case, dtype, activation: str, isa: str, rng
) -> None:
    problem = case_problem(normals, rng, case, dtype)
    problem.weight, problem.bias = problem.weight * 3, problem.bias + dtype(1)
    plain, mean, inv_std = train(problem)
    fused, _, _ = train(problem, activation)
    assert_same_bits(fused, _core.activation_forward(activation, plain, 0.0))
    for training in (True, False):
        results = backward(problem, mean, inv_std, training, activation)
        passed = _core.activation_backward(activation, problem.grad_output, fused, 0.0)
        separate = SimpleNamespace(**{**vars(problem), "grad_output": passed})
        for result, wanted in zip(
            results, backward(separate, mean, inv_std, training), strict=True
        ):
            assert_exact(result, wanted)


shapes = st.tuples(
    st.integers(0, 70), st.integers(1, 20), st.integers(0, 7), st.integers(1, 7), st.integers(2, 4)
)


@given(sizes=shapes, dtype=st.sampled_from(DTYPES), seed=st.integers(0, 2**32 - 1))
def test_any_shape_errs_by_rounding_only(isa: str, sizes, dtype, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = sizes[: sizes[4]]
    problem = make_problem(normals, rng, shape, dtype)
    mean, inv_std = normals(rng, (shape[1],), dtype), np.ones(shape[1], dtype)
    values = problem.input.size // shape[1]
    if values > 1:
        assert_training_is_close(problem, "relu")
        _, mean, inv_std = train(problem)
    for training in (True, False):
        if training and values == 1:
            continue
        results = backward(problem, mean, inv_std, training)
        arguments = (problem.grad_output, problem.input, problem.weight, mean, inv_std)
        scales = scales_of_backward(problem, mean, inv_std, training)
        if values:
            expected = reference.batch_norm_backward(*arguments, training)
        else:
            expected = (np.zeros(shape), np.zeros(shape[1]), np.zeros(shape[1]))
        for result, wanted, scale in zip(results, expected, scales, strict=True):
            assert_close(result, wanted, scale)


@pytest.mark.parametrize("shape", [(0, 3), (0, 3, 4), (0, 3, 5, 6), (4, 3, 0), (2, 3, 0, 6)])
def test_an_empty_batch_teaches_nothing(shape, isa: str) -> None:
    problem = make_problem(lambda _, shape, dtype: np.ones(shape, dtype), None, shape, np.float32)
    running = np.full(3, 2.0, np.float32), np.full(3, 5.0, np.float32)
    output, mean, inv_std = train(problem, running=running)
    assert output.shape == shape
    assert_exact(running, [[2.0] * 3, [5.0] * 3])
    assert np.isfinite(mean).all()
    assert np.isfinite(inv_std).all()
    grad_input, grad_weight, grad_bias = backward(problem, mean, inv_std)
    assert grad_input.shape == shape
    assert_exact([grad_weight, grad_bias], np.zeros((2, 3)))


@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 5, 4), (40, 3, 9)], ids=str)
def test_special_values_stay_in_their_channel(shape, isa: str, rng) -> None:
    problem = make_problem(normals, rng, shape, np.float32)
    clean = train(problem)
    problem.input[-1, 1], problem.input[0, 2] = np.nan, np.inf
    with np.errstate(invalid="ignore"):
        expected = reference.batch_norm_training(problem.input, None, None, EPS)
    output, mean, inv_std = train(problem)
    assert_same_bits(output[:, 0], clean[0][:, 0])
    assert np.isnan(output[:, 1]).all()
    assert np.isnan(output[:, 2]).all()
    np.testing.assert_array_equal(np.isnan(mean), np.isnan(expected[1]))
    assert mean[2] == np.inf
    grad_input, grad_weight, _ = backward(problem, mean, inv_std)
    assert np.isfinite(grad_input[:, 0]).all()
    assert np.isnan(grad_input[:, 1:]).all()
    assert np.isnan(grad_weight[1:]).all()
    fixed = np.zeros(3, np.float32), np.ones(3, np.float32)
    assert np.isfinite(backward(problem, *fixed, training=False)[0]).all()


@pytest.mark.parametrize("activation", ["relu", "relu6"])
def test_a_fused_activation_keeps_nan(activation: str, isa: str) -> None:
    input = np.array([[np.nan, -1, 2], [3, np.inf, -np.inf]], np.float32).reshape(2, 3, 1, 1)
    fixed = np.zeros(3, np.float32), np.ones(3, np.float32)
    arguments = (input, None, None, *fixed, 0.0, activation)
    expected = reference.batch_norm_inference(*arguments)
    assert_exact(_core.batch_norm_forward_inference(*arguments), expected)
    grad = np.ones_like(input)
    passed = _core.batch_norm_backward(grad, input, None, *fixed, False, None, activation)[0]
    assert_exact(passed, reference.activation_backward(activation, grad, input))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", DYADIC_SHAPES, ids=str)
def test_a_residual_is_added_before_the_activation(shape, dtype, activation, isa, rng) -> None:
    problem = balanced_problem(rng, shape, dtype)
    residual = integers(rng, shape, dtype)
    arguments = (problem.input, problem.weight, problem.bias)
    output, mean, inv_std = _core.batch_norm_forward_training(
        *arguments, None, None, 0.1, 0.0, activation, residual
    )
    summed = reference.batch_norm_training(*arguments, 0.0, "none")[0] + residual
    assert_exact(output, reference.activation(activation, summed))
    fixed = problem.mean, problem.deviation**2
    inferred = _core.batch_norm_forward_inference(*arguments, *fixed, 0.0, activation, residual)
    assert_exact(inferred, output)
    passed = reference.activation_backward(activation, problem.grad_output, summed)
    for training in (True, False):
        statistics = (mean, inv_std, training, problem.bias, activation)
        results = _core.batch_norm_backward(
            problem.grad_output,
            problem.input,
            problem.weight,
            *statistics,
            None if activation == "none" else output,
        )
        expected = reference.batch_norm_backward(
            passed, problem.input, problem.weight, mean, inv_std, training
        )
        for result, wanted in zip(results[:3], expected, strict=True):
            assert_exact(result, wanted)
        if activation == "none":
            assert results[3] is None
        else:
            assert_exact(results[3], passed)


@pytest.mark.parametrize("threads", [1, 3], indirect=True)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("activation", [None, "relu", "relu6"])
@pytest.mark.parametrize("shape", [(7, 5), (0, 4, 3), (4, 3, 17), (3, 9, 13, 11), (40, 3, 5, 5)])
def test_a_residual_changes_no_bit(shape, activation, training, threads, isa, rng) -> None:
    channels = shape[1]
    arrays = [normals(rng, each) for each in (shape, (channels,), (channels,), shape)]
    statistics = normals(rng, (channels,)), normals(rng, (channels,)) ** 2 + 1
    grad_output = normals(rng, shape)

    def run(merged: bool) -> list:
        tensors = [tensor(array, requires_grad=True) for array in arrays]
        input, weight, bias, residual = tensors
        running = [array.copy() for array in statistics]
        if merged:
            output = functional.batch_norm(
                input, *running, weight, bias, training, activation=activation, residual=residual
            )
        else:
            output = functional.batch_norm(input, *running, weight, bias, training) + residual
            output = getattr(functional, activation)(output) if activation else output
        output.backward(grad_output)
        return [output.numpy(), *running, *(each.grad.numpy() for each in tensors)]

    for merged, apart in zip(run(True), run(False), strict=True):
        assert_same_bits(merged, apart)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(9, 6), (5, 6, 7, 5)], ids=str)
def test_awkward_layouts_change_nothing(shape, dtype, isa: str, rng) -> None:
    problem = make_problem(normals, rng, shape, dtype)
    names = ("input", "weight", "bias", "grad_output")
    expected = train(problem)
    mean, inv_std = expected[1:]
    gradients = backward(problem, mean, inv_std)
    layouts = {name: dict(awkward_layouts(getattr(problem, name))) for name in names}
    for layout in layouts["input"]:
        awkward = SimpleNamespace(**{name: layouts[name][layout] for name in names})
        results = (*train(awkward), *backward(awkward, mean, inv_std))
        for result, wanted in zip(results, (*expected, *gradients), strict=True):
            assert_same_bits(result, wanted)


@pytest.mark.parametrize("threads", [3], indirect=True)
@pytest.mark.parametrize("case", case_parameters("norm", use="bench"))
def test_bits_do_not_depend_on_threads_or_run(case, threads: int, isa: str, rng) -> None:
    problem = case_problem(normals, rng, case, np.float32, largest_batch=64 if case.h < 20 else 9)

    def run():
        output, mean, inv_std = train(problem, "relu")
        fixed = (problem.input, None, None, mean, np.abs(inv_std), EPS, "none")
        inferred = _core.batch_norm_forward_inference(*fixed)
        return output, mean, inv_std, inferred, *backward(problem, mean, inv_std, True, "relu")

    expected = run()
    for count in (threads, 2, 1):
        _core.set_num_threads(count)
        for result, former in zip(run(), expected, strict=True):
            assert_same_bits(result, former)


@pytest.mark.parametrize("activation", [None, "relu", "relu6"])
@pytest.mark.parametrize("training", [True, False], ids=["training", "inference"])
@pytest.mark.parametrize("shape", [(5, 3), (4, 3, 6), (4, 3, 5, 4)], ids=str)
def test_functional_follows_its_arguments(shape, training: bool, activation, rng) -> None:
    problem = make_problem(normals, rng, shape, np.float64)
    leaves = [
        tensor(array, requires_grad=True) for array in (problem.input, problem.weight, problem.bias)
    ]
    input, weight, bias = leaves
    running = normals(rng, (3,), np.float64), 0.5 + rng.random(3)
    before = [array.copy() for array in running]
    output = functional.batch_norm(
        input, *running, weight, bias, training, momentum=0.3, eps=EPS, activation=activation
    )
    name = activation or "none"
    arrays = (problem.input, problem.weight, problem.bias)
    if training:
        expected, mean, inv_std = reference.batch_norm_training(*arrays, EPS, name)
        moved = reference.running_statistics(problem.input, *before, 0.3)
    else:
        expected = reference.batch_norm_inference(*arrays, *before, EPS, name)
        mean, inv_std = before[0], 1 / np.sqrt(before[1] + EPS)
        moved = before
    assert_close(output.numpy(), expected, 10.0)
    for result, wanted in zip(running, moved, strict=True):
        assert_close(result, wanted, 10.0)
    for array in running:
        array[...] = 77.0  # a later step: backward uses what forward used
    output.backward(problem.grad_output)
    passed = reference.activation_backward(name, problem.grad_output, expected)
    gradients = reference.batch_norm_backward(
        passed, problem.input, problem.weight, mean, inv_std, training
    )
    for leaf, wanted in zip(leaves, gradients, strict=True):
        assert_close(leaf.grad.numpy(), wanted, 100.0)


def test_functional_updates_tensors_in_place_and_takes_no_statistics_in_training(rng) -> None:
    image = normals(rng, (4, 3, 5, 4))
    running = tensor(np.zeros(3, np.float32)), tensor(np.ones(3, np.float32))
    with_statistics = functional.batch_norm(image, *running, training=True)
    assert_same_bits(
        functional.batch_norm(image, None, None, training=True).numpy(), with_statistics.numpy()
    )
    moved = reference.running_statistics(image, np.zeros(3), np.ones(3))
    for result, wanted in zip(running, moved, strict=True):
        assert_close(result.numpy(), wanted, 1.0)
