"""The ready-made networks: shapes, sizes, names, and that they learn."""

from __future__ import annotations

import numpy as np
import pytest

import convolite
from convolite import functional as F
from convolite import models, nn, optim


@pytest.mark.parametrize(
    ("make", "parameters"),
    [
        (lambda: models.sample_cnn(), 225_034),
        (lambda: models.sample_cnn(batch_norm=True), 225_034 + 2 * (32 + 64)),
        (lambda: models.sample_cnn(num_classes=3, in_channels=2), 225_034 + 288 - 7 * 129),
        (lambda: models.lenet5(), 61_706),
    ],
)
def test_sizes(make, parameters):
    assert sum(parameter.size for parameter in make().parameters()) == parameters


@pytest.mark.parametrize("name", models.names())
@pytest.mark.parametrize("batch", [0, 1, 3])
def test_batches_of_any_size_give_logits(name, batch):
    model = models.create(name, num_classes=7, in_channels=2).eval()
    assert model(np.zeros((batch, 2, 28, 28), np.float32)).shape == (batch, 7)


def test_sample_cnn_has_the_documents_layers_in_order():
    kinds = [type(layer).__name__ for layer in models.sample_cnn(batch_norm=True)]
    block = ["Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d"]
    assert kinds == [*block, *block, "Flatten", "Linear", "ReLU", "Linear"]
    assert list(models.sample_cnn().state_dict()) == [
        f"{layer}.{kind}"
        for layer in ("conv1", "conv2", "linear1", "linear2")
        for kind in ("weight", "bias")
    ]


def test_equal_seeds_give_equal_weights():
    states = []
    for seed in (5, 5, 6):
        convolite.manual_seed(seed)
        states.append(models.sample_cnn().state_dict())
    assert all((states[0][name] == states[1][name]).all() for name in states[0])
    assert any((states[0][name] != states[2][name]).any() for name in states[0])


@pytest.mark.parametrize("name", models.names())
def test_a_few_steps_reduce_the_loss(name):
    convolite.manual_seed(0)
    rng = np.random.default_rng(0)
    images = rng.standard_normal((16, 1, 28, 28), dtype=np.float32)
    labels = rng.integers(0, 10, 16)
    model = models.create(name)
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="create: name must be one of 'lenet5', 'sample_cnn', got"):
        models.create("alexnet")


def test_created_models_are_modules():
    assert all(isinstance(models.create(name), nn.Module) for name in models.names())
