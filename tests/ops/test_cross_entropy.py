"""Cross-entropy of the core and the class losses of `functional`, for every instruction set."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convolite import _core, functional, reference, tensor
from support.arrays import awkward_layouts, normals
from support.compare import assert_close, assert_exact, assert_same_bits
from support.gradcheck import assert_gradients

DTYPES = [np.float32, np.float64]
REDUCTIONS = ["none", "mean", "sum"]
SHAPES = [(64, 10), (3, 1), (700, 16), (5, 1500), (4, 7, 9), (2, 21, 17, 31), (1, 5, 2, 3, 2)]


def make_problem(rng, shape, dtype, weighted: bool, smoothing: float) -> SimpleNamespace:
    """Logits, targets of which some are ignored, and options."""
    classes = shape[1]
    target = rng.integers(0, classes, (shape[0], *shape[2:]))
    target.flat[1::5] = -100
    return SimpleNamespace(
        input=3 * normals(rng, shape, dtype),
        target=target,
        weight=rng.uniform(0.25, 2, classes).astype(dtype) if weighted else None,
        smoothing=smoothing,
    )


def forward(p: SimpleNamespace, reduction: str, ignore_index: int = -100):
    return _core.cross_entropy_forward(
        p.input, p.target, p.weight, p.smoothing, ignore_index, reduction
    )


def backward(p: SimpleNamespace, reduction: str, grad_loss, results, ignore_index: int = -100):
    _, log_probabilities, total_weight = results
    return _core.cross_entropy_backward(
        grad_loss,
        log_probabilities,
        p.target,
        p.weight,
        p.smoothing,
        ignore_index,
        reduction,
        total_weight,
    )


def options_of(p: SimpleNamespace, reduction: str, ignore_index: int = -100):
    return p.target, p.weight, p.smoothing, ignore_index, reduction


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_normal_logits_err_by_rounding_only(shape, smoothing, weighted, dtype, isa, rng) -> None:
    p = make_problem(rng, shape, dtype, weighted, smoothing)
    terms = 16 + np.abs(p.input).max()  # log-probabilities are about so large
    share = 2.0 if weighted else 1.0
    counted = (p.target != -100).sum()
    for reduction in REDUCTIONS:
        results = forward(p, reduction)
        loss, log_probabilities, _ = results
        assert loss.dtype == log_probabilities.dtype == dtype
        assert_close(log_probabilities, reference.log_softmax(p.input, 1), terms)
        expected = reference.cross_entropy(p.input, *options_of(p, reduction))
        count = counted if reduction == "sum" else 1
        assert_close(loss, expected, terms * share * count)
        grad_loss = normals(rng, loss.shape, dtype)
        expected = reference.cross_entropy_backward(grad_loss, p.input, *options_of(p, reduction))
        each = np.abs(grad_loss).max() * share * (1 / counted if reduction == "mean" else 1)
        assert_close(backward(p, reduction, grad_loss, results), expected, terms * each)


def test_a_known_loss_by_hand(isa: str) -> None:
    p = SimpleNamespace(weight=None, smoothing=0.0)
    p.input = np.log(np.array([[1.0, 3.0], [1.0, 1.0]]))
    p.target = np.array([1, 0])
    assert_close(forward(p, "none")[0], [np.log(4 / 3), np.log(2)], 1.0, units=1)
    results = forward(p, "mean")
    gradient = backward(p, "mean", np.array(1.0), results)
    assert_close(gradient, [[0.125, -0.125], [-0.25, 0.25]], 1.0, units=1)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("shape", [(6, 5), (2, 4, 3, 3)], ids=str)
def test_gradient_equals_differences(shape, smoothing, weighted, reduction, isa, rng) -> None:
    p = make_problem(rng, shape, np.float64, weighted, smoothing)
    results = forward(p, reduction)
    grad_loss = normals(rng, results[0].shape, np.float64)

    def loss(logits):
        return forward(SimpleNamespace(**{**vars(p), "input": logits}), reduction)[0]

    grad_input = backward(p, reduction, grad_loss, results)
    assert_gradients(loss, [p.input], [grad_input], grad_loss, rng)


@pytest.mark.parametrize("shape", [(6, 4), (2, 4, 5)], ids=str)
def test_ignored_samples_count_for_nothing(shape, isa: str, rng) -> None:
    p = make_problem(rng, shape, np.float32, True, 0.1)
    ignored = p.target == -100
    p.input[np.broadcast_to(np.expand_dims(ignored, 1), shape)] = np.nan
    for reduction in REDUCTIONS:
        results = forward(p, reduction)
        assert np.isfinite(results[0]).all()
        grad_input = np.moveaxis(backward(p, reduction, results[0], results), 1, -1)
        assert_exact(grad_input[ignored], np.zeros(grad_input[ignored].shape))
        assert (grad_input[~ignored] != 0).all()


def test_any_class_may_be_the_ignored_one(isa: str, rng) -> None:
    p = make_problem(rng, (20, 4), np.float64, False, 0.0)
    p.target = rng.integers(0, 4, 20)
    expected = reference.cross_entropy(p.input, *options_of(p, "mean", 2))
    results = forward(p, "mean", 2)
    assert_close(results[0], expected, 16.0)
    grad_input = backward(p, "mean", np.array(1.0), results, 2)
    assert_exact(grad_input[p.target == 2], np.zeros(((p.target == 2).sum(), 4)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 4), (2, 4, 5)], ids=str)
def test_mean_of_nothing_is_nan_and_its_gradient_zero(shape, dtype, isa: str, rng) -> None:
    p = make_problem(rng, shape, dtype, False, 0.0)
    p.target[...] = -100
    results = forward(p, "mean")
    assert np.isnan(results[0])
    assert results[2] == 0
    assert_exact(backward(p, "mean", np.ones((), dtype), results), np.zeros(shape))
    assert_exact(forward(p, "sum")[0], np.zeros(()))


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_an_empty_batch_has_no_loss(reduction: str, isa: str) -> None:
    p = SimpleNamespace(weight=None, smoothing=0.0)
    p.input, p.target = np.zeros((0, 10), np.float32), np.zeros(0, np.int64)
    results = forward(p, reduction)
    expected = {"none": np.zeros(0), "mean": np.array(np.nan), "sum": np.zeros(())}
    assert_exact(results[0], expected[reduction])
    assert backward(p, reduction, results[0], results).shape == (0, 10)


def test_a_class_of_weight_zero_silences_its_infinite_loss(isa: str) -> None:
    p = SimpleNamespace(smoothing=0.0, weight=np.array([0.0, 1.0, 1.0]))
    p.input = np.array([[-np.inf, 0.0, 0.0], [0.0, 0.0, 0.0]])
    p.target = np.array([0, 1])
    assert_close(forward(p, "sum")[0], np.log(3.0), 2.0)
    p.weight = None
    assert forward(p, "sum")[0] == np.inf


@given(
    shape=st.lists(st.integers(1, 9), min_size=2, max_size=4),
    smoothing=st.sampled_from([0.0, 0.5]),
    weighted=st.booleans(),
    reduction=st.sampled_from(REDUCTIONS),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_shape_gives_the_reference(isa, shape, smoothing, weighted, reduction, seed) -> None:
    rng = np.random.default_rng(seed)
    p = make_problem(rng, tuple(shape), np.float64, weighted, smoothing)
    loss, *_ = forward(p, reduction)
    expected = reference.cross_entropy(p.input, *options_of(p, reduction))
    assert_close(loss, expected, 64.0 * p.target.size)


@pytest.mark.parametrize("dtype", DTYPES)
def test_awkward_layouts_change_nothing(dtype, isa: str, rng) -> None:
    p = make_problem(rng, (6, 10), dtype, True, 0.1)
    results = forward(p, "mean")
    gradient = backward(p, "mean", results[0], results)
    targets, weights = dict(awkward_layouts(p.target)), dict(awkward_layouts(p.weight))
    for layout, input in awkward_layouts(p.input):
        awkward = SimpleNamespace(input=input, target=targets[layout], weight=weights[layout])
        awkward.smoothing = p.smoothing
        loss, log_probabilities, total_weight = forward(awkward, "mean")
        assert_same_bits(loss, results[0])
        assert_same_bits(log_probabilities, results[1])
        assert total_weight == results[2]
        assert_same_bits(backward(awkward, "mean", results[0], results), gradient)


@pytest.mark.parametrize("shape", [(9000, 16), (3, 21, 999)], ids=str)
def test_bits_do_not_depend_on_threads_or_run(shape, threads: int, isa: str, rng) -> None:
    p = make_problem(rng, shape, np.float32, True, 0.1)

    def everything():
        results = forward(p, "mean")
        return results[0], results[1], backward(p, "mean", results[0], results)

    runs = [everything(), everything()]
    _core.set_num_threads(1)
    expected = everything()
    for run in runs:
        for result, single in zip(run, expected, strict=True):
            assert_same_bits(result, single)


@pytest.mark.smoke
@pytest.mark.parametrize("labels", [np.int64, np.int32, np.uint8])
@pytest.mark.parametrize("shape", [(6, 5), (2, 4, 3, 3)], ids=str)
def test_functional_differentiates_what_the_core_computes(shape, labels, rng) -> None:
    p = make_problem(rng, shape, np.float32, True, 0.1)
    p.target = np.abs(p.target) % shape[1]
    input = tensor(p.input, requires_grad=True)
    target = p.target.astype(labels)
    loss = functional.cross_entropy(input, tensor(target), p.weight, label_smoothing=0.1)
    (loss * 2).backward()
    results = forward(p, "mean")
    assert_same_bits(loss.numpy(), results[0])
    expected = backward(p, "mean", np.array(2, np.float32), results)
    assert_same_bits(input.grad.numpy(), expected)


@pytest.mark.parametrize("loss", [functional.cross_entropy, functional.nll_loss])
def test_without_any_target_the_mean_is_nan_and_its_gradient_zero(loss) -> None:
    input = tensor(np.zeros((2, 3)), requires_grad=True)
    mean = loss(input, np.array([-100, -100]))
    mean.backward()
    assert np.isnan(mean.item())
    assert_exact(input.grad.numpy(), np.zeros((2, 3)))


@pytest.mark.parametrize("loss", [functional.cross_entropy, functional.nll_loss])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_one_sample_needs_no_batch_axis(loss, reduction: str, rng) -> None:
    logits, target = normals(rng, (5,), np.float64), np.array(3)
    inputs = [tensor(logits, requires_grad=True), tensor(logits[None], requires_grad=True)]
    single = loss(inputs[0], target, reduction=reduction)
    batch = loss(inputs[1], target[None], reduction=reduction)
    assert single.shape == ()
    assert_same_bits(single.numpy(), batch.numpy().reshape(()))
    single.backward()
    batch.backward(np.ones(batch.shape))
    assert_same_bits(inputs[0].grad.numpy(), inputs[1].grad.numpy()[0])


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("shape", [(6, 5), (2, 4, 3, 3)], ids=str)
def test_nll_loss_is_cross_entropy_after_log_softmax(shape, weighted, reduction, rng) -> None:
    p = make_problem(rng, shape, np.float64, weighted, 0.0)
    inputs = [tensor(p.input, requires_grad=True) for _ in range(2)]
    options = {"weight": p.weight, "reduction": reduction}
    losses = [
        functional.nll_loss(functional.log_softmax(inputs[0], 1), p.target, **options),
        functional.cross_entropy(inputs[1], p.target, **options),
    ]
    assert_close(losses[0].numpy(), losses[1].numpy(), 32.0)
    for loss in losses:
        loss.backward(np.ones(loss.shape))
    assert_close(inputs[0].grad.numpy(), inputs[1].grad.numpy(), 16.0)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("shape", [(5,), (6, 5), (2, 4, 3, 3)], ids=str)
def test_probabilities_of_one_class_equal_its_label(shape, weighted, reduction, rng) -> None:
    axis = min(1, len(shape) - 1)
    classes = shape[axis]
    labels = rng.integers(0, classes, shape[:axis] + shape[axis + 1 :])
    probabilities = np.moveaxis(np.eye(classes)[labels], -1, axis)
    options = {"reduction": reduction, "label_smoothing": 0.2}
    if weighted:
        options["weight"] = rng.uniform(0.5, 2, classes)
    losses, gradients = [], []
    for target in (labels, probabilities):
        logits = tensor(np.linspace(-2, 2, int(np.prod(shape))).reshape(shape), requires_grad=True)
        loss = functional.cross_entropy(logits, target, **options)
        loss.backward(np.ones(loss.shape))
        losses.append(loss.numpy())
        gradients.append(logits.grad.numpy())
    if reduction == "mean" and weighted:  # labels divide by their weights, probabilities by count
        factor = options["weight"][labels].mean()
        losses[0], gradients[0] = losses[0] * factor, gradients[0] * factor
    assert_close(losses[1], losses[0], 16.0)
    assert_close(gradients[1], gradients[0], 4.0)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_mean_squared_error_and_its_gradient(reduction: str, rng) -> None:
    input = tensor(normals(rng, (3, 4), np.float64), requires_grad=True)
    target = normals(rng, (3, 4), np.float64)
    loss = functional.mse_loss(input, target, reduction=reduction)
    squares = (input.numpy() - target) ** 2
    expected = {"none": squares, "mean": squares.mean(), "sum": squares.sum()}[reduction]
    assert_close(loss.numpy(), np.asarray(expected), 64.0)
    loss.backward(np.ones(loss.shape))
    share = 1 / 12 if reduction == "mean" else 1
    assert_close(input.grad.numpy(), 2 * share * (input.numpy() - target), 8.0)


LOGITS = np.zeros((64, 10), np.float32)
MAPS = np.zeros((2, 4, 5, 6), np.float32)


def targets_with(value: int, shape, place):
    target = np.zeros(shape, np.int64)
    target[place] = value
    return target


@pytest.mark.parametrize("op", ["cross_entropy", "nll_loss"])
@pytest.mark.parametrize(
    ("input", "target", "text"),
    [
        (
            LOGITS,
            targets_with(12, 64, 3),
            r"target 12 at row 3 is outside \[0, 10\) \(input.shape = \(64, 10\)\)",
        ),
        (LOGITS, targets_with(-1, 64, 0), r"target -1 at row 0 is outside \[0, 10\)"),
        (LOGITS, targets_with(10, 64, 63), r"target 10 at row 63 is outside \[0, 10\)"),
        (
            MAPS,
            targets_with(4, (2, 5, 6), (1, 2, 3)),
            r"target 4 at \(1, 2, 3\) is outside \[0, 4\) \(input.shape = \(2, 4, 5, 6\)\)",
        ),
        (
            LOGITS,
            np.zeros(63, int),
            r"target must have shape \(64,\), got \(63,\) \(input.shape = \(64, 10\)\)",
        ),
        (
            MAPS,
            np.zeros(2, int),
            r"target must have shape \(2, 5, 6\), got \(2,\) \(input.shape = \(2, 4, 5, 6\)\)",
        ),
        (np.zeros((2, 0)), np.zeros(2, int), r"input must have at least one class, got .*\(2, 0\)"),
        (
            np.zeros(3),
            np.zeros(3, int),
            r"input must have axes \(N, C\) or \(N, C, ...\), got input.shape = \(3,\)",
        ),
    ],
)
def test_wrong_targets_are_named(op: str, input, target, text: str) -> None:
    with pytest.raises(ValueError, match=f"^{op}: {text}"):
        getattr(functional, op)(input, target)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda: functional.cross_entropy(LOGITS, np.zeros(64, int), weight=np.ones(9)),
            ValueError,
            r"cross_entropy: weight must have one value for each of 10 classes, got 9 "
            r"\(input.shape = \(64, 10\)\)",
        ),
        (
            lambda: functional.cross_entropy(LOGITS, np.zeros(64, int), weight=np.ones((2, 5))),
            ValueError,
            r"cross_entropy: weight must have 1 axes \(classes\), got weight.shape = \(2, 5\)",
        ),
        (
            lambda: functional.nll_loss(LOGITS, np.zeros(64, int), weight=np.ones(9)),
            ValueError,
            r"nll_loss: weight must have one value for each of 10 classes, "
            r"got weight.shape = \(9,\)",
        ),
        (
            lambda: functional.cross_entropy(LOGITS, np.zeros(64, int), label_smoothing=1.5),
            ValueError,
            r"cross_entropy: label_smoothing must be from 0 to 1, got 1.5",
        ),
        (
            lambda: functional.cross_entropy(LOGITS, np.zeros(64, int), label_smoothing=np.nan),
            ValueError,
            r"cross_entropy: label_smoothing must be from 0 to 1, got nan",
        ),
        (
            lambda: functional.cross_entropy(LOGITS, LOGITS, label_smoothing=-0.5),
            ValueError,
            r"cross_entropy: label_smoothing must be from 0 to 1, got -0.5",
        ),
        (
            lambda: functional.cross_entropy(LOGITS, np.zeros(64)),
            ValueError,
            r"cross_entropy: target must be integers \(classes\) or floats in the shape of input, "
            r"got float64 of shape \(64,\) \(input.shape = \(64, 10\)\)",
        ),
        (
            lambda: functional.cross_entropy(LOGITS, LOGITS, weight=np.ones(9)),
            ValueError,
            r"cross_entropy: weight must have one value for each of 10 classes, "
            r"got weight.shape = \(9,\)",
        ),
        (
            lambda: functional.cross_entropy(LOGITS, np.zeros(64, bool)),
            TypeError,
            r"cross_entropy: target must hold integers, got bool",
        ),
        (
            lambda: functional.cross_entropy(LOGITS, np.full(64, 2**64 - 100, np.uint64)),
            ValueError,
            r"cross_entropy: target 18446744073709551516 does not fit int64",
        ),
        (
            lambda: functional.nll_loss(LOGITS, np.zeros(64)),
            TypeError,
            r"nll_loss: target must hold integers, got float64",
        ),
        (
            lambda: functional.cross_entropy(LOGITS, np.zeros(64, int), reduction="max"),
            ValueError,
            r"cross_entropy: reduction must be one of 'none', 'mean', 'sum', got 'max'",
        ),
        (
            lambda: functional.cross_entropy(LOGITS, np.zeros(64, int), ignore_index=0.5),
            TypeError,
            r"cross_entropy: ignore_index must be an int, got 0.5",
        ),
        (
            lambda: functional.cross_entropy(LOGITS.astype(int), np.zeros(64, int)),
            TypeError,
            r"cross_entropy: input must be float32 or float64, got int64",
        ),
        (
            lambda: functional.mse_loss(np.zeros(3), np.zeros(4)),
            ValueError,
            r"mse_loss: target must have the shape of input, got \(4,\) \(input.shape = \(3,\)\)",
        ),
        (
            lambda: _core.cross_entropy_forward(LOGITS, np.zeros(64, int), None, 0, 0, "max"),
            ValueError,
            r"cross_entropy: reduction must be one of none, mean, sum, got max",
        ),
        (
            lambda: _core.cross_entropy_backward(
                LOGITS[0], LOGITS, np.zeros(64, int), None, 0, -100, "none", 64
            ),
            ValueError,
            r"cross_entropy_backward: grad_loss must have shape \(64,\), got \(10,\)",
        ),
    ],
)
def test_wrong_arguments_are_named(call, error, text: str) -> None:
    with pytest.raises(error, match=f"^{text}"):
        call()
