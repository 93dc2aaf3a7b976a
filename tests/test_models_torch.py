"""The residual networks and MobileNetV2 beside the same networks written in PyTorch.

Logits in inference, gradients in training. What rounding allows for the gradients is measured:
PyTorch's own float32 ones differ as much from its float64 ones.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest

import convolite
from convolite import functional as F
from convolite import models

torch = pytest.importorskip("torch")
import torch_models  # noqa: E402  it needs PyTorch

pytestmark = pytest.mark.torch

NETWORKS = {
    "resnet20": (4, 3, 32, 32),
    "resnet18": (2, 3, 64, 64),
    "mobilenet_v2": (2, 3, 64, 64),
}


def both(name):
    """The network in either library, with equal weights and unequal running statistics."""
    torch.manual_seed(0)
    theirs = getattr(torch_models, name)()
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0.0, 0.1)
            torch.nn.init.normal_(module.running_mean, 0.0, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    ours = models.create(name)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def without_dropout(model):
    """Each library draws masks of its own."""
    if hasattr(model, "classifier"):
        model.classifier[0].p = 0.0
    return model


def gradients(model, images, labels, dtype):
    """PyTorch's gradients of the mean cross-entropy, by name, in float64."""
    model = copy.deepcopy(model).to(dtype)
    logits = model(torch.from_numpy(images).to(dtype))
    torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels)).backward()
    return {name: value.grad.double().numpy() for name, value in model.named_parameters()}


def distance(actual, expected):
    return np.linalg.norm(actual - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_are_pytorchs(name, rng):
    ours, theirs = both(name)
    images = rng.standard_normal(NETWORKS[name], dtype=np.float32)
    with torch.no_grad():
        expected = theirs.eval()(torch.from_numpy(images)).numpy()
    assert np.abs(expected).max() > 0.1
    assert distance(ours.eval()(images).numpy(), expected) < 1e-4


def gradient_errors(ours, theirs, images, labels):
    """Of each parameter: our error, PyTorch's, and the rounding of a single number."""
    exact = gradients(theirs, images, labels, torch.float64)
    rounded = gradients(theirs, images, labels, torch.float32)
    ours.zero_grad()
    F.cross_entropy(ours(images), labels).backward()
    return {
        key: (
            np.linalg.norm(parameter.grad.numpy() - exact[key]),
            np.linalg.norm(rounded[key] - exact[key]),
            np.finfo(np.float32).eps * np.linalg.norm(exact[key]),
        )
        for key, parameter in ours.named_parameters()
    }


# Where a value in front of a ReLU is zero but for rounding, its derivative is 0 for one library and
# 1 for the other, and the gradients differ: in some batches, whereas a wrong formula errs in all.
@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_are_as_exact_as_pytorchs(name, rng):
    ours, theirs = map(without_dropout, both(name))
    for _ in range(3):
        images = rng.standard_normal(NETWORKS[name], dtype=np.float32)
        labels = rng.integers(0, 10, len(images))
        wrong = [
            f"{key}: error {error:.1e}, PyTorch's {usual:.1e}"
            for key, (error, usual, least) in gradient_errors(ours, theirs, images, labels).items()
            if error > 10 * max(usual, least)
        ]
        if not wrong:
            return
    pytest.fail("; ".join(wrong))


@pytest.mark.parametrize("name", NETWORKS)
def test_running_statistics_are_pytorchs(name, rng):
    ours, theirs = map(without_dropout, both(name))
    images = rng.standard_normal(NETWORKS[name], dtype=np.float32)
    with convolite.no_grad(), torch.no_grad():
        ours(images)
        theirs(torch.from_numpy(images))
    for key, value in theirs.state_dict().items():
        assert distance(ours.state_dict()[key], value.numpy()) < 1e-4, key
