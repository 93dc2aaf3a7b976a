"""What passes a fused activation on the way back, and the bias's gradient: one reading for both."""

from __future__ import annotations

import numpy as np
import pytest

import convolite
from convolite import _core, nn
from convolite import functional as F
from support.arrays import awkward_layouts, integers, normals
from support.compare import assert_exact, assert_same_bits
from support.gradcheck import assert_gradients

DTYPES = [np.float32, np.float64]
CONV, LINEAR = "conv2d", "linear"
# Planes and rows shorter than a vector, longer than one, longer than a block; several tasks.
SHAPES = [
    (CONV, (2, 3, 1, 1)),
    (CONV, (3, 5, 7, 9)),
    (CONV, (2, 2, 67, 129)),
    (CONV, (9, 40, 26, 26)),
    (CONV, (0, 3, 4, 4)),
    (CONV, (2, 0, 4, 4)),
    (CONV, (2, 3, 0, 4)),
    (LINEAR, (1, 1)),
    (LINEAR, (37, 10)),
    (LINEAR, (64, 300)),
    (LINEAR, (700, 257)),
    (LINEAR, (0, 3)),
    (LINEAR, (3, 0)),
]
ACTIVATIONS = ["relu", "relu6"]
BIAS = {CONV: _core.conv2d_backward_bias, LINEAR: _core.linear_backward_bias}
EPILOGUE = {CONV: _core.conv2d_backward_epilogue, LINEAR: _core.linear_backward_epilogue}


def outputs(rng, shape, dtype, activation):
    """What an activation gives, both its bounds among them."""
    return np.clip(integers(rng, shape, dtype, 9), 0, 6 if activation == "relu6" else None)


def expected_passed(activation, grad_output, output):
    inside = output > 0
    return np.where(inside & (output < 6) if activation == "relu6" else inside, grad_output, 0)


@pytest.mark.smoke
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("op", "shape"), SHAPES)
def test_integers_pass_and_sum_exactly(op, shape, dtype, activation, isa, rng):
    grad_output = integers(rng, shape, dtype)
    output = outputs(rng, shape, dtype, activation)
    passed, grad_bias = EPILOGUE[op](activation, grad_output, output, True, True, False)
    expected = expected_passed(activation, grad_output, output)
    assert passed.dtype == grad_bias.dtype == dtype
    assert_exact(passed, expected)
    assert_exact(grad_bias, expected.sum(axis=(0, *range(2, len(shape)))))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("op", "shape"), SHAPES)
def test_the_bits_are_those_of_the_parts(op, shape, dtype, activation, isa, threads, rng):
    grad_output = normals(rng, shape, dtype)
    grad_output[:1] = np.nan
    output = outputs(rng, shape, dtype, activation)
    expected = _core.activation_backward(activation, grad_output, output, 0.0)
    for wanted in ((True, True), (True, False), (False, True), (False, False)):
        for in_place in (False, True):
            given = grad_output.copy()
            passed, grad_bias = EPILOGUE[op](activation, given, output, *wanted, in_place)
            assert (passed is not None, grad_bias is not None) == wanted
            if wanted[0]:
                assert_same_bits(passed, expected)
            if wanted[1]:
                assert_same_bits(grad_bias, BIAS[op](expected))
            assert (passed is given) == (wanted[0] and in_place)
            assert_same_bits(given, expected if passed is given else grad_output)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("op", "shape"), SHAPES)
def test_every_instruction_set_and_thread_count_sums_to_the_same_bits(op, shape, dtype, rng):
    grad_output = normals(rng, shape, dtype)
    output = outputs(rng, shape, dtype, "relu")
    level, count = _core.config()["isa"], convolite.get_num_threads()
    found = []
    try:
        for isa in _core.config()["supported_isas"]:
            for threads in (1, 2, 3):
                _core.set_isa(isa)
                convolite.set_num_threads(threads)
                found.append(EPILOGUE[op]("relu", grad_output, output, True, True, False)[1])
    finally:
        _core.set_isa(level)
        convolite.set_num_threads(count)
    for other in found[1:]:
        assert_same_bits(other, found[0])


@pytest.mark.parametrize(("op", "shape"), [(CONV, (3, 5, 7, 9)), (LINEAR, (37, 10))])
@pytest.mark.parametrize("which", ["grad_output", "output"])
def test_awkward_layouts_give_the_same_and_stay_as_they_are(op, shape, which, rng):
    arrays = {"grad_output": normals(rng, shape), "output": outputs(rng, shape, np.float32, "relu")}
    expected = EPILOGUE[op]("relu", *arrays.values(), True, True, False)
    for name, awkward in awkward_layouts(arrays[which]):
        given = {**arrays, which: awkward}
        found = EPILOGUE[op]("relu", *given.values(), True, True, which == "grad_output")
        for one, other in zip(found, expected, strict=True):
            assert_same_bits(one, other)
        np.testing.assert_array_equal(awkward, arrays[which], err_msg=name)


@pytest.mark.parametrize("op", [CONV, LINEAR])
def test_what_does_not_fit_is_refused(op):
    name, axes = EPILOGUE[op].__name__, 4 if op == CONV else 2
    good = np.zeros((2,) * axes, np.float32)

    def refused(error, message, *arguments):
        with pytest.raises(error, match=f"^{name}: {message}"):
            EPILOGUE[op](*arguments, True, True, True)

    refused(ValueError, "activation must be relu or relu6, got none$", "none", good, good)
    refused(ValueError, "activation must be one of none, relu, relu6, got elu", "elu", good, good)
    refused(ValueError, "grad_output must have shape ", "relu", good[:1], good)
    refused(ValueError, f"output must have {axes} axes ", "relu", good[0], good[0])
    refused(TypeError, "output must be float32 like grad_output", "relu", good, good.astype("f8"))
    refused(TypeError, "grad_output must be float32 or float64", "relu", good.astype("i4"), good)


def layers(op):
    """A layer with all of its arguments, and their shapes: (input, weight, bias)."""
    if op == CONV:
        return F.conv2d, [(2, 3, 7, 6), (4, 3, 3, 3), (4,)]
    return F.linear, [(5, 6), (4, 6), (4,)]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("op", [CONV, LINEAR])
@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 2)])
def test_only_wanted_gradients_are_computed(op, wanted, activation, rng, monkeypatch):
    layer, shapes = layers(op)
    arrays = [normals(rng, shape) for shape in shapes]
    calls = []
    for name in (f"{op}_backward_input", f"{op}_backward_weight", f"{op}_backward_bias"):
        original = getattr(_core, name)
        monkeypatch.setattr(
            _core, name, lambda *a, name=name, run=original: calls.append(name) or run(*a)
        )
    asked = []
    monkeypatch.setattr(
        _core,
        f"{op}_backward_epilogue",
        lambda *a, run=EPILOGUE[op]: asked.append(a[3:5]) or run(*a),
    )
    gradients = []
    for chosen in (wanted, (0, 1, 2)):
        leaves = [convolite.tensor(a, requires_grad=i in chosen) for i, a in enumerate(arrays)]
        output = layer(*leaves, activation=activation)
        output.backward(np.ones(output.shape, np.float32))
        gradients.append([leaf.grad for leaf in leaves])
        if chosen is wanted:
            names = (f"{op}_backward_input", f"{op}_backward_weight")
            assert calls == [names[i] for i in wanted if i < 2]
            assert asked == [(0 in wanted or 1 in wanted, 2 in wanted)]
    for i in range(3):
        assert (gradients[0][i] is not None) == (i in wanted)
        if i in wanted:
            assert_same_bits(gradients[0][i].numpy(), gradients[1][i].numpy())


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("op", [CONV, LINEAR])
def test_gradients_are_those_of_differences(op, activation, rng):
    layer, shapes = layers(op)
    arrays = [normals(rng, shape, np.float64) for shape in shapes]

    def run(*values):
        return layer(*values, activation=activation)

    leaves = [convolite.tensor(array, requires_grad=True) for array in arrays]
    output = run(*leaves)
    grad_output = normals(rng, output.shape, np.float64)
    output.backward(grad_output)
    found = [leaf.grad.numpy() for leaf in leaves]
    assert_gradients(lambda *v: run(*v).numpy(), arrays, found, grad_output, rng)


def gradients_of(model, images, grad_output, fused):
    convolite.set_fusion(fused)
    try:
        model.zero_grad()
        input = convolite.tensor(images, requires_grad=True)
        model(input).backward(grad_output)
    finally:
        convolite.set_fusion(True)
    return [input.grad.numpy(), *(parameter.grad.numpy() for parameter in model.parameters())]


@pytest.mark.smoke
@pytest.mark.parametrize("unbatched", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", [nn.ReLU, nn.ReLU6])
def test_fused_layers_and_single_ones_give_the_same_bits(
    activation, dtype, unbatched, isa, threads, rng
):
    model = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1), activation()),
        *(nn.Conv2d(8, 16, 3, stride=2), activation()),
        *(nn.Conv2d(16, 5, 1, bias=False), activation()),
        *(nn.Flatten(1 - unbatched), nn.Linear(245, 20), activation(), nn.Linear(20, 4)),
    )
    model = model.double() if dtype == np.float64 else model
    images = normals(rng, (3, 16, 16) if unbatched else (6, 3, 16, 16), dtype)
    if unbatched:
        model[6] = nn.Flatten(0)
    grad_output = normals(rng, model(images).shape, dtype)
    fused = gradients_of(model, images, grad_output, True)
    for one, other in zip(fused, gradients_of(model, images, grad_output, False), strict=True):
        assert_same_bits(one, other)
