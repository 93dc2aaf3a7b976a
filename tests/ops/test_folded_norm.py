"""Conv2d, batch norm, residual and activation as one convolution, against the layers one by one."""

from __future__ import annotations

import numpy as np
import pytest

import convolite
from convolite import models, nn
from convolite.functional.folded import FoldedConv2d
from convolite.nn.container import add_shortcut

BOUND = {np.float32: 1e-5, np.float64: 1e-13}  # of the largest result, as set_fusion says


@pytest.fixture
def folded(monkeypatch):
    """Shapes of the results of the convolutions that folded a batch norm."""
    shapes = []
    forward = FoldedConv2d.forward

    def recorded(*arguments):
        output = forward(*arguments)
        shapes.append(output.shape)
        return output

    monkeypatch.setattr(FoldedConv2d, "forward", staticmethod(recorded))
    yield shapes
    convolite.set_fusion(True)


def with_statistics(module, rng):
    """The module with parameters and statistics as training might leave them."""
    for each in module.modules():
        if isinstance(each, nn.BatchNorm2d):
            channels = each.num_features
            if each.weight is not None:
                each.weight.numpy()[...] = rng.uniform(0.5, 1.5, channels)
                each.bias.numpy()[...] = rng.normal(size=channels)
            each.running_mean.numpy()[...] = rng.normal(size=channels)
            each.running_var.numpy()[...] = rng.uniform(0.5, 2, channels)
    return module.eval()


def agree(compute, dtype):
    with convolite.no_grad():
        convolite.set_fusion(True)
        found = compute().numpy()
        convolite.set_fusion(False)
        wanted = compute().numpy()
    convolite.set_fusion(True)
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= BOUND[dtype] * np.abs(wanted).max()


MODELS = {
    "resnet20": ((3, 3, 33, 31), 21),
    "resnet18": ((1, 3, 75, 71), 20),
    "mobilenet_v2": ((2, 3, 45, 67), 52),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", MODELS)
def test_models_agree_with_their_layers_to_rounding(name, dtype, rng, folded):
    shape, convolutions = MODELS[name]
    model = with_statistics(getattr(models, name)()._convert(dtype), rng)
    images = convolite.Tensor(rng.normal(size=shape).astype(dtype))
    agree(lambda: model(images), dtype)
    assert len(folded) == convolutions
    choices = convolite.explain(model, shape).choices
    assert sum(choice.method == "folded" for choice in choices) == convolutions


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", [None, nn.ReLU(), nn.ReLU6()])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(
    "conv",
    [(5, 7, 3, 2, 1), (17, 23, 1), (6, 6, 3, 1, 1, 1, 6), (20, 24, 3, 1, 1), (16, 32, 5, 1, 2)],
    ids=str,
)
def test_layers_of_odd_sizes_agree_to_rounding(conv, affine, activation, dtype, rng, folded):
    layer = nn.Conv2d(*conv, dtype=dtype)
    norm = with_statistics(nn.BatchNorm2d(conv[1], affine=affine, dtype=dtype), rng)
    images = convolite.Tensor(rng.normal(size=(3, conv[0], 11, 13)).astype(dtype))
    behind = [] if activation is None else [activation]
    model = nn.Sequential(layer, norm, *behind).eval()
    agree(lambda: model(images), dtype)
    shortcut = convolite.Tensor(rng.normal(size=layer(images).shape).astype(dtype))
    agree(lambda: add_shortcut(layer, norm, images, shortcut, activation), dtype)
    assert len(folded) == 2


@pytest.mark.parametrize("images", [1, 40])
def test_pooled_convolutions_fold_their_norm(images, rng, folded):
    norm = with_statistics(nn.BatchNorm2d(16), rng)
    model = nn.Sequential(nn.Conv2d(3, 16, 3), norm, nn.ReLU(), nn.MaxPool2d(2)).eval()
    batch = convolite.Tensor(rng.normal(size=(images, 3, 20, 17)).astype(np.float32))
    agree(lambda: model(batch), np.float32)
    assert folded == [(images, 16, 9, 7)]


def seen_by_hook(model):
    model[0].register_forward_hook(lambda module, inputs, output: None)


def hook_on_norm(model):
    model[1].register_forward_hook(lambda module, inputs, output: None)


def own_forward(model):
    model[0].forward = lambda input: nn.Conv2d.forward(model[0], input)


def subclass(model):
    model[1].__class__ = type("Other", (nn.BatchNorm2d,), {})


def training(model):
    model[1].train()


def forgets(model):
    model[1].running_mean = model[1].running_var = None


@pytest.mark.parametrize(
    "change", [seen_by_hook, hook_on_norm, own_forward, subclass, training, forgets]
)
def test_what_needs_the_layers_own_output_is_not_folded(change, rng, folded):
    model = with_statistics(nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)), rng)
    change(model)
    with convolite.no_grad():
        model(convolite.Tensor(rng.normal(size=(2, 2, 5, 5)).astype(np.float32)))
    assert folded == []


def test_only_results_without_a_gradient_are_folded(rng, folded):
    model = with_statistics(nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)), rng)
    images = convolite.Tensor(rng.normal(size=(2, 2, 5, 5)).astype(np.float32))
    assert model(images).requires_grad
    model.requires_grad_(False)
    for parameter in [*model.parameters(), images]:
        parameter.requires_grad = True
        assert model(images).requires_grad
        parameter.requires_grad = False
    assert folded == []
    assert not model(images).requires_grad
    assert len(folded) == 1


def test_the_statistics_of_the_moment_count(rng, folded):
    model = with_statistics(nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)), rng)
    images = convolite.Tensor(rng.normal(size=(2, 2, 5, 5)).astype(np.float32))
    agree(lambda: model(images), np.float32)
    with_statistics(model, rng)
    agree(lambda: model(images), np.float32)
    assert len(folded) == 2
