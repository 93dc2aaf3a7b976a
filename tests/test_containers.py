"""Sequential and ModuleList: access, merged activations, refusals."""

from __future__ import annotations

import numpy as np
import pytest

import convolite
from convolite import functional as F
from convolite import nn
from convolite.nn.container import steps
from support.compare import assert_exact

pytestmark = pytest.mark.smoke


def test_sequential_is_a_sequence():
    layers = [nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 4)]
    model = nn.Sequential(*layers)
    assert len(model) == 3
    assert list(model) == layers
    assert model[-1] is layers[2]
    assert isinstance(model[:2], nn.Sequential)
    assert list(model[1:].state_dict()) == ["2.weight", "2.bias"]
    model[1] = nn.Tanh()
    assert isinstance(model[1], nn.Tanh)
    assert model.append(nn.ReLU()) is model
    assert len(model) == 4
    named = nn.Sequential({"first": layers[0], "last": layers[2]})
    assert named.first is layers[0]
    assert [name for name, _ in named.named_children()] == ["first", "last"]


def test_module_list_holds_modules():
    modules = nn.ModuleList([nn.ReLU()])
    modules.append(nn.Tanh())
    modules.extend([nn.Sigmoid()])
    assert [type(module).__name__ for module in modules] == ["ReLU", "Tanh", "Sigmoid"]
    assert isinstance(modules[1:], nn.ModuleList)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: nn.Sequential(3), TypeError, "Sequential: module 0 must be a Module, got 3"),
        (lambda: nn.Sequential({"forward": nn.ReLU()}), ValueError, "'forward' is already in use"),
        (lambda: nn.ModuleList([None]), TypeError, "ModuleList: module 0 must be a Module"),
    ],
)
def test_containers_refuse_other_things(call, error, text):
    with pytest.raises(error, match=text):
        call()


FUSED = {
    "conv": (lambda: nn.Conv2d(2, 4, 3, padding=1), (2, 2, 5, 5)),
    "linear": (lambda: nn.Linear(6, 5), (4, 6)),
    "batch_norm_2d": (lambda: nn.BatchNorm2d(2), (3, 2, 5, 5)),
    "batch_norm_1d": (lambda: nn.BatchNorm1d(6), (4, 6)),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("activation", [nn.ReLU, nn.ReLU6])
@pytest.mark.parametrize("name", FUSED)
def test_fused_and_separate_activations_agree_exactly(name, activation, training, rng):
    make, shape = FUSED[name]
    layer, other = make(), make()
    other.load_state_dict(layer.state_dict())
    fused, act = nn.Sequential(layer, activation()).train(training), activation()
    other.train(training)
    values = (4.0 * rng.standard_normal(shape)).astype(np.float32)
    grad = rng.standard_normal(fused.eval()(values).shape).astype(np.float32)
    fused.train(training)
    inputs = [convolite.tensor(values, requires_grad=True) for _ in range(2)]
    outputs = fused(inputs[0]), act(other(inputs[1]))
    assert_exact(outputs[0].numpy(), outputs[1].numpy())
    for output in outputs:
        output.backward(grad)
    assert_exact(inputs[0].grad.numpy(), inputs[1].grad.numpy())
    for one, two in zip(layer.parameters(), other.parameters(), strict=True):
        assert_exact(one.grad.numpy(), two.grad.numpy())
    for one, two in zip(layer.buffers(), other.buffers(), strict=True):
        assert_exact(one.numpy(), two.numpy())


def test_sequential_merges_only_plain_neighbours(monkeypatch):
    calls = []
    monkeypatch.setattr(
        nn.Linear,
        "forward_activated",
        lambda self, input, activation: calls.append(activation) or F.linear(input, self.weight),
    )

    class Own(nn.Linear):
        def forward(self, input):
            calls.append("own")
            return super().forward(input)

    input = np.ones((1, 2), np.float32)
    nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.ReLU6())(input)
    assert calls == ["relu"]
    calls.clear()
    nn.Sequential(Own(2, 2), nn.ReLU())(input)
    assert calls == ["own"]
    calls.clear()
    watched = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    watched[1].register_forward_hook(lambda module, inputs, output: calls.append("seen"))
    watched(input)
    assert calls == ["seen"]


@pytest.mark.parametrize("activation", [nn.ReLU, nn.ReLU6])
@pytest.mark.parametrize("first", [lambda: nn.Conv2d(2, 4, 3), lambda: nn.BatchNorm2d(2)])
def test_pooling_before_the_activation_agrees_exactly(first, activation, rng):
    layer, other, act, pool = first(), first(), activation(), nn.MaxPool2d(2)
    other.load_state_dict(layer.state_dict())
    model = nn.Sequential(layer, act, pool)
    last = steps(model.children())[-1]
    assert type(last.activation) is activation
    assert last.pool is pool
    values = rng.integers(-3, 4, (3, 2, 9, 8)).astype(np.float32)  # many equal and many at a kink
    inputs = [convolite.tensor(values, requires_grad=True) for _ in range(2)]
    outputs = model(inputs[0]), pool(act(other(inputs[1])))
    assert_exact(outputs[0].numpy(), outputs[1].numpy())
    grad = rng.standard_normal(outputs[0].shape).astype(np.float32)
    for output in outputs:
        output.backward(grad)
    assert_exact(inputs[0].grad.numpy(), inputs[1].grad.numpy())


@pytest.mark.parametrize(
    "pool", [nn.MaxPool2d(2, padding=1, dilation=2), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(2)]
)
def test_other_pooling_stays_behind_the_activation(pool):
    found = steps(nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), pool).children())
    assert [type(step.module) for step in found] == [nn.Conv2d, type(pool)]
    assert isinstance(found[0].activation, nn.ReLU)
