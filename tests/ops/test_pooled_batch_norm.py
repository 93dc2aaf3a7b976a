"""Batch norm, max pooling and activation in one pass: the definition, and the parts one by one."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import convolite
from convolite import _core, functional, nn, reference
from convolite.functional.norm import pooled_batch_norm
from convolite.functional.pool import MaxPool2d
from support.arrays import integers, normals
from support.cases import case_parameters
from support.compare import assert_close, assert_exact, assert_same_bits
from support.gradcheck import assert_gradients

DTYPES = [np.float32, np.float64]
ACTIVATIONS = ["none", "relu", "relu6"]
MOMENTUM, EPS = 0.25, 1e-3


def make_problem(make, rng, case, dtype) -> SimpleNamespace:
    shape = (min(case.n, 3), case.c, case.h, case.w)
    padding = (case.pad_top, case.pad_bottom, case.pad_left, case.pad_right)
    kernel, stride = (case.kh, case.kw), (case.stride_h, case.stride_w)
    return SimpleNamespace(
        input=make(rng, shape, dtype),
        weight=make(rng, (case.c,), dtype),
        bias=make(rng, (case.c,), dtype),
        mean=integers(rng, (case.c,), dtype),
        variance=rng.choice([0.25, 1.0, 4.0], case.c).astype(dtype),
        window=(kernel, stride, padding, (case.dil_h, case.dil_w), bool(case.ceil_mode)),
    )


def activated(activation, values):
    return {
        "none": lambda: values,
        "relu": lambda: np.maximum(values, 0),
        "relu6": lambda: np.clip(values, 0, 6),
    }[activation]()


@pytest.mark.smoke
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", case_parameters("pool2d"))
def test_inference_on_integers_is_exactly_the_reference(case, dtype, activation, isa, rng) -> None:
    p = make_problem(integers, rng, case, dtype)
    affine = (p.input, p.weight, p.bias)
    output, offsets = _core.pooled_batch_norm_forward_inference(
        *affine, p.mean, p.variance, 0.0, activation, *p.window
    )
    normalised = reference.batch_norm_inference(*affine, p.mean, p.variance, 0.0, "none")
    expected, taps = reference.max_pool2d(normalised, *p.window)
    assert output.dtype == dtype
    assert_exact(output, activated(activation, expected))
    np.testing.assert_array_equal(offsets, taps)


def in_one(p, activation, running):
    return pooled_batch_norm(
        p.input, *running, p.weight, p.bias, True, MOMENTUM, EPS, activation, p.window
    )


def one_by_one(p, activation, running):
    normalised = functional.batch_norm(p.input, *running, p.weight, p.bias, True, MOMENTUM, EPS)
    pooled = MaxPool2d.apply(normalised, p.window, "none", None)
    return pooled if activation is None else getattr(functional, activation)(pooled)


def results(run, p, activation, running) -> list[np.ndarray]:
    """The output, the gradients of fresh leaves, and the moved statistics."""
    leaves = SimpleNamespace(
        input=convolite.tensor(p.input, requires_grad=True),
        weight=convolite.tensor(p.weight, requires_grad=True),
        bias=convolite.tensor(p.bias, requires_grad=True),
        window=p.window,
    )
    running = [None if each is None else each.copy() for each in running]
    output = run(leaves, activation, running)
    output.backward(np.sin(np.arange(output.size, dtype=output.dtype)).reshape(output.shape))
    grads = [each.grad.numpy() for each in (leaves.input, leaves.weight, leaves.bias)]
    return [output.numpy(), *grads, *(each for each in running if each is not None)]


def trainable(case) -> bool:
    return min(case.n, 3) * case.h * case.w > 1 and case.c > 0


@pytest.mark.parametrize("activation", [None, "relu", "relu6"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "case", [each for each in case_parameters("pool2d") if trainable(each.values[0])]
)
def test_training_gives_the_bits_of_the_parts(case, dtype, activation, isa, rng) -> None:
    p = make_problem(normals, rng, case, dtype)
    runs = [results(run, p, activation, (p.mean, p.variance)) for run in (in_one, one_by_one)]
    for together, apart in zip(*runs, strict=True):
        assert_same_bits(together, apart)


@pytest.mark.smoke
@pytest.mark.parametrize("side", [3, 9, 26])
def test_any_number_of_threads_gives_the_same_bits(side, isa, rng) -> None:
    p = SimpleNamespace(input=normals(rng, (37, 5, side, side), np.float32))
    p.weight, p.bias = normals(rng, (5,), np.float32), normals(rng, (5,), np.float32)
    p.window = ((3, 2), (2, 1), (1, 1, 0, 0), (1, 1), False)
    before = _core.get_num_threads()
    runs = []
    try:
        for threads in (1, 2, 3):
            _core.set_num_threads(threads)
            runs.append(results(in_one, p, "relu", (None, None)))
    finally:
        _core.set_num_threads(before)
    for other in runs[1:]:
        for first, second in zip(runs[0], other, strict=True):
            assert_same_bits(second, first)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("activation", [None, "relu"])
def test_gradients_are_those_of_differences(activation, training, rng) -> None:
    arrays = [normals(rng, shape, np.float64) for shape in [(4, 3, 5, 6), (3,), (3,)]]
    statistics = (None, None) if training else (rng.standard_normal(3), rng.uniform(1, 2, 3))
    window = ((2, 2), (2, 2), (0, 0, 0, 0), (1, 1), False)

    def function(input, weight, bias):
        return pooled_batch_norm(
            input, *statistics, weight, bias, training, 0.1, EPS, activation, window
        )

    inputs = [convolite.tensor(array, requires_grad=True) for array in arrays]
    output = function(*inputs)
    grad_output = rng.standard_normal(output.shape)
    output.backward(grad_output)
    assert_gradients(
        lambda *values: function(*map(convolite.tensor, values)).numpy(),
        arrays,
        [each.grad.numpy() for each in inputs],
        grad_output,
        rng,
    )


@pytest.mark.smoke
@pytest.mark.parametrize("activation", [nn.ReLU, nn.ReLU6, None])
@pytest.mark.parametrize("first", ["activation", "pool"])
@pytest.mark.parametrize("training", [True, False])
def test_layers_in_a_row_run_in_one_pass(training, first, activation, rng, monkeypatch) -> None:
    pool = nn.MaxPool2d(3, 2, padding=1)
    behind = [pool] if activation is None else [activation(), pool]
    model = nn.Sequential(nn.BatchNorm2d(4), *(behind if first == "activation" else behind[::-1]))
    model.train(training)
    images = normals(rng, (3, 4, 9, 8), np.float32)
    expected = images
    for layer in model:
        expected = layer(expected)
    calls = []
    monkeypatch.setattr(
        functional.norm.PooledBatchNorm,
        "apply",
        lambda *arguments, apply=functional.norm.PooledBatchNorm.apply: (
            calls.append(1) or apply(*arguments)
        ),
    )
    assert_same_bits(model(images).numpy(), expected.numpy())
    assert len(calls) == 1


def test_counts_batches_and_moves_statistics_as_apart(rng) -> None:
    images = normals(rng, (3, 4, 9, 8), np.float32)
    states = []
    for fused in (True, False):
        convolite.set_fusion(fused)
        try:
            model = nn.Sequential(nn.BatchNorm2d(4, momentum=None), nn.MaxPool2d(2))
            for scale in (1.0, 2.0):
                model(scale * images)
        finally:
            convolite.set_fusion(True)
        states.append(model.state_dict())
    for name, value in states[0].items():
        assert_same_bits(value, states[1][name])
    assert states[0]["0.num_batches_tracked"] == 2


def test_close_to_the_reference_in_training(rng) -> None:
    images = normals(rng, (8, 3, 10, 11), np.float32)
    weight, bias = normals(rng, (3,), np.float32), normals(rng, (3,), np.float32)
    window = ((2, 2), (2, 2), (0, 0, 0, 0), (1, 1), False)
    output = _core.pooled_batch_norm_forward_training(
        images, weight, bias, None, None, 0.1, EPS, "relu", *window
    )[0]
    normalised = reference.batch_norm_training(images, weight, bias, EPS, "none")[0]
    expected = np.maximum(reference.max_pool2d(normalised, *window)[0], 0)
    assert_close(output, expected, np.full(expected.shape, np.abs(normalised).max()))
