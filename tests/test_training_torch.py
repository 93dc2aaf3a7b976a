"""Optimizers, schedules, layers and their states against PyTorch, where PyTorch is installed."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import convolite
from convolite import functional as F
from convolite import models, nn, optim
from support.compare import assert_close, assert_exact

torch = pytest.importorskip("torch")
import torch_models  # noqa: E402  it needs PyTorch

pytestmark = pytest.mark.torch

SHAPES = [(3, 4), (5,), (2, 3, 3, 3)]


def both(rng):
    """Equal parameters for either library, in float64."""
    arrays = [rng.standard_normal(shape) for shape in SHAPES]
    ours = [convolite.tensor(array, requires_grad=True) for array in arrays]
    return ours, [torch.tensor(array, requires_grad=True) for array in arrays]


def give_gradients(ours, theirs, rng):
    for mine, other in zip(ours, theirs, strict=True):
        gradient = rng.standard_normal(mine.shape)
        mine.grad, other.grad = gradient, torch.tensor(gradient)


def assert_same(ours, theirs, units=64.0):
    for mine, other in zip(ours, theirs, strict=True):
        expected = other.detach().numpy()
        assert_close(mine.numpy(), expected, np.abs(expected).max() + 1.0, units)


OPTIMIZERS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.2, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1, "nesterov": True}),
    ("Adam", {}),
    ("Adam", {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ("AdamW", {"lr": 0.1}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.3}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.1, "alpha": 0.5, "weight_decay": 0.1, "momentum": 0.9, "centered": True}),
]


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS)
def test_optimizers_take_the_same_steps(name, options, rng):
    ours, theirs = both(rng)
    mine = getattr(optim, name)(ours, **options)
    other = getattr(torch.optim, name)(theirs, **options)
    defaults = {key: other.defaults[key] for key in mine.defaults}
    assert mine.defaults == defaults
    for _ in range(10):
        give_gradients(ours, theirs, rng)
        mine.step()
        other.step()
    assert_same(ours, theirs)


@pytest.mark.parametrize("norm_type", [2.0, 1.0, 3.0, float("inf")])
def test_clipping_gives_the_same_norms_and_gradients(norm_type, rng):
    ours, theirs = both(rng)
    give_gradients(ours, theirs, rng)
    mine = optim.clip_grad_norm_(ours, 0.5, norm_type)
    other = torch.nn.utils.clip_grad_norm_(theirs, 0.5, norm_type)
    assert_same([mine], [other])
    assert_same([p.grad for p in ours], [p.grad for p in theirs])
    optim.clip_grad_value_(ours, 0.01)
    torch.nn.utils.clip_grad_value_(theirs, 0.01)
    assert_same([p.grad for p in ours], [p.grad for p in theirs])


SCHEDULES = {
    "step": lambda s, o: s.StepLR(o, 3, 0.5),
    "multi_step": lambda s, o: s.MultiStepLR(o, [0, 2, 5, 5], 0.5),
    "exponential": lambda s, o: s.ExponentialLR(o, 0.8),
    "linear": lambda s, o: s.LinearLR(o, 0.25, 0.75, 4),
    "cosine": lambda s, o: s.CosineAnnealingLR(o, 4, 0.02),
    "one_cycle": lambda s, o: s.OneCycleLR(o, [1.0, 2.0], 30),
    "one_cycle_linear": lambda s, o: s.OneCycleLR(
        o,
        1.0,
        epochs=6,
        steps_per_epoch=5,
        pct_start=0.2,
        anneal_strategy="linear",
        three_phase=True,
        div_factor=10.0,
        final_div_factor=100.0,
    ),
    "sequential": lambda s, o: s.SequentialLR(
        o,
        [s.LinearLR(o, 0.5, 1.0, 3), s.CosineAnnealingLR(o, 9), s.ExponentialLR(o, 0.5)],
        [3, 12],
    ),
    "sequential_with_one_cycle": lambda s, o: s.SequentialLR(
        o, [s.ExponentialLR(o, 0.5), s.OneCycleLR(o, 1.0, 40)], [4]
    ),
    "two_at_once": lambda s, o: (s.StepLR(o, 2, 0.5), s.ExponentialLR(o, 0.9)),
}


def record(library, schedulers, name, make_parameters):
    optimizer = library.SGD(
        [
            {"params": [p], "lr": rate}
            for p, rate in zip(make_parameters(), (0.1, 0.3), strict=True)
        ],
        lr=0.2,
        momentum=0.9,
    )
    made = SCHEDULES[name](schedulers, optimizer)
    made = made if isinstance(made, tuple) else (made,)
    rows = []
    for _ in range(25):
        rows.append([g[key] for g in optimizer.param_groups for key in ("lr", "momentum")])
        for scheduler in made:
            scheduler.step()
    return np.array(rows)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_give_the_same_rates(name):
    ours = record(
        optim,
        optim.lr_scheduler,
        name,
        lambda: [convolite.tensor([1.0], requires_grad=True) for _ in range(2)],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = record(
            torch.optim,
            torch.optim.lr_scheduler,
            name,
            lambda: [torch.ones(1, requires_grad=True) for _ in range(2)],
        )
    assert_close(ours, theirs, np.abs(theirs) + 0.01, units=16.0)


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
def test_plateau_reduces_at_the_same_epochs(mode, threshold_mode, rng):
    options = {
        "mode": mode,
        "factor": 0.5,
        "patience": 2,
        "threshold": 0.05,
        "threshold_mode": threshold_mode,
        "cooldown": 1,
        "min_lr": 0.004,
    }
    mine = optim.SGD([convolite.tensor([1.0], requires_grad=True)], lr=0.1)
    other = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=0.1)
    ours = optim.lr_scheduler.ReduceLROnPlateau(mine, **options)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(other, **options)
    for value in rng.uniform(0.2, 1.0, 40).tolist():
        ours.step(value)
        theirs.step(value)
        assert ours.get_last_lr() == theirs.get_last_lr()


@pytest.mark.parametrize("batch_norm", [False, True])
def test_sample_cnn_trains_as_in_pytorch(batch_norm, rng):
    """Equal weights, batches and options: equal losses and states, in float64."""
    torch.manual_seed(0)
    theirs = torch_models.sample_cnn(batch_norm).double()
    ours = nn.Sequential(*models.sample_cnn(batch_norm=batch_norm)).double()
    state = {name: value.numpy() for name, value in theirs.state_dict().items()}
    assert list(ours.state_dict()) == list(state)
    ours.load_state_dict(state)
    mine = optim.SGD(ours.parameters(), 0.05, momentum=0.9)
    other = torch.optim.SGD(theirs.parameters(), 0.05, momentum=0.9)
    for _ in range(3):
        images, labels = rng.standard_normal((8, 1, 28, 28)), rng.integers(0, 10, 8)
        mine.zero_grad()
        other.zero_grad()
        loss = F.cross_entropy(ours(images), labels)
        expected = torch.nn.functional.cross_entropy(
            theirs(torch.from_numpy(images)), torch.from_numpy(labels)
        )
        assert_same([loss], [expected], units=1e4)
        loss.backward()
        expected.backward()
        mine.step()
        other.step()
    for name, value in theirs.state_dict().items():
        expected = value.numpy()
        scale = np.abs(expected).max() + 1.0
        assert_close(ours.state_dict()[name].astype(np.float64), expected, scale, units=1e5)
    ours.eval()
    theirs.eval()
    with torch.no_grad():
        assert_same([ours(images)], [theirs(torch.from_numpy(images))], units=1e5)


LAYERS = [
    ("Conv2d", (4, 6, (3, 2)), {"stride": 2, "padding": (1, 0), "dilation": 2, "groups": 2}),
    ("Conv2d", (4, 6, 3), {"padding": "same", "bias": False}),
    ("Linear", (9, 5), {}),
    ("BatchNorm2d", (4,), {"momentum": None, "eps": 1e-3}),
    ("BatchNorm2d", (4,), {"affine": False}),
    ("BatchNorm2d", (4,), {"track_running_stats": False}),
    ("MaxPool2d", (3,), {"stride": 2, "padding": 1, "ceil_mode": True}),
    ("MaxPool2d", (2,), {"stride": 1, "dilation": 2}),
    ("AvgPool2d", (3, 2, 1), {"ceil_mode": True, "count_include_pad": False}),
    ("AvgPool2d", (2,), {"divisor_override": 3}),
    ("AdaptiveAvgPool2d", ((4, 3),), {}),
    ("Flatten", (2,), {}),
    ("ReLU", (), {}),
    ("LeakyReLU", (0.2,), {}),
    ("ReLU6", (), {}),
    ("ELU", (0.7,), {}),
    ("GELU", (), {}),
    ("GELU", ("tanh",), {}),
    ("SiLU", (), {}),
    ("Hardswish", (), {}),
    ("Hardsigmoid", (), {}),
    ("Sigmoid", (), {}),
    ("Tanh", (), {}),
    ("Softmax", (1,), {}),
    ("LogSoftmax", (1,), {}),
    ("Identity", (), {}),
]


@pytest.mark.parametrize(("name", "arguments", "options"), LAYERS)
def test_layers_take_the_same_arguments_and_give_the_same_values_and_gradients(
    name, arguments, options, rng
):
    theirs = getattr(torch.nn, name)(*arguments, **options).double()
    ours = getattr(nn, name)(*arguments, **options).double()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    array = 3.0 * rng.standard_normal((2, 4, 9, 9))
    mine = convolite.tensor(array, requires_grad=True)
    other = torch.tensor(array, requires_grad=True)
    result, expected = ours(mine), theirs(other)
    grad = rng.standard_normal(result.shape)
    result.backward(grad)
    expected.backward(torch.tensor(grad))
    # PyTorch's hardsigmoid and hardswish multiply by 1/6 rounded to float32.
    units = 1e9 if name.startswith("Hard") else 1e3
    assert_same([result, mine.grad], [expected, other.grad], units)
    for one, two in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert_same([one.grad], [two.grad], units=1e3)
    for key, value in theirs.state_dict().items():
        assert_same([convolite.Tensor(ours.state_dict()[key].astype(np.float64))], [value])
    theirs.load_state_dict({k: torch.as_tensor(v) for k, v in ours.state_dict().items()})


def test_a_tensor_goes_to_pytorch_and_back_without_a_copy():
    tensor = convolite.tensor([1.0, 2.0])
    other = torch.from_dlpack(tensor)
    other[0] = 5.0
    assert tensor.numpy()[0] == 5.0
    back = convolite.from_dlpack(other)
    assert_exact(back.numpy(), tensor.numpy())
    assert np.shares_memory(back.numpy(), tensor.numpy())
