"""Optimizers against the reference's rules, schedules, clipping, saving and loading."""

from __future__ import annotations

import json

import numpy as np
import pytest

import convolite
from convolite import optim, reference
from convolite.optim import lr_scheduler
from support.compare import assert_close, assert_exact

pytestmark = pytest.mark.smoke

SHAPES = [(3, 4), (5,), (2, 3, 3, 3), (0, 2)]
STEPS = 6


def make_parameters(rng, dtype=np.float64):
    return [
        convolite.tensor(rng.standard_normal(shape), dtype=dtype, requires_grad=True)
        for shape in SHAPES
    ]


def set_gradients(parameters, rng):
    for parameter in parameters:
        parameter.grad = rng.standard_normal(parameter.shape)


def reference_sgd(values, gradients, options):
    buffers = [None] * len(values)
    for step in gradients:
        for i, gradient in enumerate(step):
            values[i], buffers[i] = reference.sgd_step(values[i], gradient, buffers[i], **options)
    return values


def reference_adam(values, gradients, options, decoupled):
    options = dict(options)
    options["beta1"], options["beta2"] = options.pop("betas", (0.9, 0.999))
    means = [np.zeros_like(value) for value in values]
    squares = [np.zeros_like(value) for value in values]
    for count, step in enumerate(gradients, start=1):
        for i, gradient in enumerate(step):
            values[i], means[i], squares[i] = reference.adam_step(
                values[i], gradient, means[i], squares[i], count, decoupled=decoupled, **options
            )
    return values


def run(optimizer_class, options, dtype, rng):
    parameters = make_parameters(rng, dtype)
    values = [parameter.numpy().astype(np.float64) for parameter in parameters]
    optimizer = optimizer_class(parameters, **options)
    gradients = []
    for _ in range(STEPS):
        set_gradients(parameters, rng)
        gradients.append([p.grad.numpy().astype(np.float64) for p in parameters])
        optimizer.step()
    return parameters, values, gradients


def assert_parameters(parameters, expected, units):
    for parameter, value in zip(parameters, expected, strict=True):
        assert_close(parameter.numpy(), value, np.abs(value) + 1.0, units)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "options",
    [
        {"lr": 0.1},
        {"lr": 0.1, "weight_decay": 0.2},
        {"lr": 0.1, "momentum": 0.9},
        {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1},
        {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1, "nesterov": True},
    ],
)
def test_sgd_follows_the_reference(options, dtype, rng):
    parameters, values, gradients = run(optim.SGD, options, dtype, rng)
    assert_parameters(parameters, reference_sgd(values, gradients, options), units=16.0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("optimizer_class", [optim.Adam, optim.AdamW])
@pytest.mark.parametrize(
    "options",
    [
        {"lr": 0.1, "weight_decay": 0.0},
        {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.1},
    ],
)
def test_adam_follows_the_reference(optimizer_class, options, dtype, rng):
    parameters, values, gradients = run(optimizer_class, options, dtype, rng)
    expected = reference_adam(values, gradients, options, optimizer_class is optim.AdamW)
    assert_parameters(parameters, expected, units=16.0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"alpha": 0.5, "eps": 1e-3, "weight_decay": 0.1},
        {"momentum": 0.9},
        {"momentum": 0.9, "centered": True},
    ],
)
def test_rmsprop_follows_the_reference(options, dtype, rng):
    options = {"lr": 0.01, **options}
    parameters, values, gradients = run(optim.RMSprop, options, dtype, rng)
    for i, value in enumerate(values):
        state = [np.zeros_like(value) for _ in range(3)]
        for step in gradients:
            value, *state = reference.rmsprop_step(value, step[i], *state, **options)
        assert_close(parameters[i].numpy(), value, np.abs(value) + 1.0, units=64.0)


OPTIMIZERS = {
    "sgd": lambda params: optim.SGD(params, 0.1, momentum=0.9, weight_decay=0.01),
    "adam": lambda params: optim.Adam(params, 0.1),
    "adamw": lambda params: optim.AdamW(params, 0.1),
    "rmsprop": lambda params: optim.RMSprop(params, 0.1, momentum=0.9, centered=True),
}


def through_json(state):
    """What a checkpoint does: arrays apart, everything else as JSON."""
    arrays = {
        (position, key): value.copy()
        for position, values in state["state"].items()
        for key, value in values.items()
        if isinstance(value, np.ndarray)
    }
    plain = {
        "param_groups": state["param_groups"],
        "state": {
            position: {k: v for k, v in values.items() if not isinstance(v, np.ndarray)}
            for position, values in state["state"].items()
        },
    }
    restored = json.loads(json.dumps(plain))
    for (position, key), value in arrays.items():
        restored["state"][str(position)][key] = value
    return restored


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_restored_optimizer_continues_bit_for_bit(name, rng):
    parameters = make_parameters(rng, np.float32)
    optimizer = OPTIMIZERS[name](parameters)
    for _ in range(3):
        set_gradients(parameters, rng)
        optimizer.step()
    copies = [convolite.tensor(p, requires_grad=True) for p in parameters]
    second = OPTIMIZERS[name](copies)
    second.load_state_dict(through_json(optimizer.state_dict()))
    for _ in range(3):
        set_gradients(parameters, rng)
        for copy, parameter in zip(copies, parameters, strict=True):
            copy.grad = parameter.grad.numpy().copy()
        optimizer.step()
        second.step()
    for copy, parameter in zip(copies, parameters, strict=True):
        assert_exact(copy.numpy(), parameter.numpy())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_parameters_without_gradient_stay_and_join_later(name, rng):
    parameters = make_parameters(rng)
    alone = [convolite.tensor(parameters[0], requires_grad=True)]
    optimizer, other = OPTIMIZERS[name](parameters), OPTIMIZERS[name](alone)
    set_gradients(parameters[1:], rng)
    before = parameters[0].numpy().copy()
    optimizer.step()
    assert_exact(parameters[0].numpy(), before)
    for _ in range(2):
        set_gradients(parameters, rng)
        alone[0].grad = parameters[0].grad
        optimizer.step()
        other.step()
    assert_exact(parameters[0].numpy(), alone[0].numpy())


def test_groups_have_their_own_options(rng):
    parameters = make_parameters(rng)
    before = [parameter.numpy().copy() for parameter in parameters]
    optimizer = optim.SGD(
        [{"params": parameters[:1], "lr": 0.5}, {"params": parameters[1:]}], lr=0.25
    )
    set_gradients(parameters, rng)
    optimizer.step()
    for i, parameter in enumerate(parameters):
        rate = 0.5 if i == 0 else 0.25
        expected = before[i] - rate * parameter.grad.numpy()
        assert_close(parameter.numpy(), expected, np.abs(expected) + 1.0)
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.25]


def test_parameters_of_both_float_types_may_be_mixed(rng):
    single, double = make_parameters(rng, np.float32)[0], make_parameters(rng)[0]
    before = single.numpy().copy(), double.numpy().copy()
    optimizer = optim.Adam([single, double])
    set_gradients([single, double], rng)
    optimizer.step()
    assert (single.numpy() != before[0]).all()
    assert (double.numpy() != before[1]).all()


def test_zero_grad_clears_gradients(rng):
    parameters = make_parameters(rng)
    optimizer = optim.SGD(parameters, 0.1)
    set_gradients(parameters, rng)
    gradient = parameters[0].grad
    optimizer.zero_grad(set_to_none=False)
    assert parameters[0].grad is gradient
    assert not gradient.numpy().any()
    optimizer.zero_grad()
    assert all(parameter.grad is None for parameter in parameters)


def make_optimizer(lr=0.1, groups=1):
    parameters = [convolite.tensor([0.0], requires_grad=True) for _ in range(groups)]
    return optim.SGD([{"params": [p], "lr": lr * (i + 1)} for i, p in enumerate(parameters)], lr)


def rates(scheduler, steps, *arguments):
    found = [scheduler.get_last_lr()[0]]
    for _ in range(steps):
        scheduler.step(*arguments)
        found.append(scheduler.get_last_lr()[0])
    return np.array(found)


def cosine(epochs, period, low=0.0):
    return low + (0.1 - low) * (1 + np.cos(np.pi * np.arange(epochs + 1) / period)) / 2


EPOCHS = np.arange(13)
SCHEDULES = {
    "step": (lambda o: lr_scheduler.StepLR(o, 3, 0.5), 0.1 * 0.5 ** (EPOCHS // 3)),
    "multi_step": (
        lambda o: lr_scheduler.MultiStepLR(o, [2, 5, 5], 0.5),
        0.1 * 0.5 ** np.searchsorted([2, 5, 5], EPOCHS, side="right"),
    ),
    "exponential": (lambda o: lr_scheduler.ExponentialLR(o, 0.8), 0.1 * 0.8**EPOCHS),
    "linear": (
        lambda o: lr_scheduler.LinearLR(o, 0.25, 0.75, 4),
        0.1 * (0.25 + 0.5 * np.minimum(EPOCHS, 4) / 4),
    ),
    "cosine": (lambda o: lr_scheduler.CosineAnnealingLR(o, 4, 0.02), cosine(12, 4, 0.02)),
    "one_cycle": (
        lambda o: lr_scheduler.OneCycleLR(o, 1.0, 13, pct_start=0.4, anneal_strategy="linear"),
        np.interp(EPOCHS, [0, 0.4 * 13 - 1, 12], [1 / 25, 1.0, 1 / 25 / 1e4]),
    ),
    "one_cycle_three_phases": (
        lambda o: lr_scheduler.OneCycleLR(
            o,
            1.0,
            epochs=13,
            steps_per_epoch=1,
            pct_start=0.4,
            anneal_strategy="linear",
            three_phase=True,
        ),
        np.interp(EPOCHS, [0, 4.2, 8.4, 12], [1 / 25, 1.0, 1 / 25, 1 / 25 / 1e4]),
    ),
    "sequential": (
        lambda o: lr_scheduler.SequentialLR(
            o,
            [lr_scheduler.LinearLR(o, 0.5, 1.0, 3), lr_scheduler.CosineAnnealingLR(o, 9)],
            [3],
        ),
        np.concatenate([0.1 * (0.5 + 0.5 * np.arange(3) / 3), cosine(9, 9)]),
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_follow_their_formulas(name):
    make, expected = SCHEDULES[name]
    assert_close(rates(make(make_optimizer()), 12), expected, expected + 0.1, units=32.0)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_restored_schedule_continues_exactly(name):
    make, _ = SCHEDULES[name]
    optimizer = make_optimizer()
    scheduler = make(optimizer)
    rates(scheduler, 4)
    other_optimizer = make_optimizer()
    other = make(other_optimizer)
    other_optimizer.load_state_dict(json.loads(json.dumps(optimizer.state_dict())))
    other.load_state_dict(json.loads(json.dumps(scheduler.state_dict())))
    assert_exact(rates(other, 7), rates(scheduler, 7))
    assert other_optimizer.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]


def test_one_cycle_moves_momentum_the_other_way():
    optimizer = optim.SGD([convolite.tensor([0.0], requires_grad=True)], 0.1, momentum=0.9)
    scheduler = lr_scheduler.OneCycleLR(optimizer, 1.0, 11, pct_start=0.5)
    momenta = []
    for _ in range(11):
        momenta.append(optimizer.param_groups[0]["momentum"])
        if len(momenta) < 11:
            scheduler.step()
    assert momenta[0] == momenta[-1] == 0.95
    assert min(momenta) < 0.86
    adam = optim.Adam([convolite.tensor([0.0], requires_grad=True)])
    lr_scheduler.OneCycleLR(adam, 1.0, 11)
    assert adam.param_groups[0]["betas"] == (0.95, 0.999)


def test_one_cycle_ends_after_its_steps():
    scheduler = lr_scheduler.OneCycleLR(make_optimizer(), 1.0, 3)
    rates(scheduler, 3)
    with pytest.raises(ValueError, match="step 4 is beyond total_steps = 3"):
        scheduler.step()


def test_schedules_may_be_combined_and_rates_changed_by_hand():
    optimizer = make_optimizer()
    step = lr_scheduler.StepLR(optimizer, 1, 0.5)
    exponential = lr_scheduler.ExponentialLR(optimizer, 0.1)
    step.step()
    exponential.step()
    assert optimizer.param_groups[0]["lr"] == 0.1 * 0.5 * 0.1
    optimizer.param_groups[0]["lr"] = 3.0
    step.step()
    assert optimizer.param_groups[0]["lr"] == 1.5


def test_every_group_keeps_its_own_rate():
    scheduler = lr_scheduler.ExponentialLR(make_optimizer(groups=2), 0.5)
    scheduler.step()
    assert scheduler.get_last_lr() == [0.05, 0.1]


def test_plateau_waits_reduces_and_cools_down():
    optimizer = make_optimizer()
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1, cooldown=2)
    seen = []
    for loss in [1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.4, np.nan, np.nan]:
        scheduler.step(loss)
        seen.append(scheduler.get_last_lr()[0])
    assert seen == [0.1] * 3 + [0.05] * 4 + [0.025] * 4


def test_plateau_modes_thresholds_and_lowest_rate():
    optimizer = make_optimizer()
    scheduler = lr_scheduler.ReduceLROnPlateau(
        optimizer, "max", 0.1, patience=0, threshold=0.5, threshold_mode="abs", min_lr=0.05
    )
    for accuracy, expected in [(0.1, 0.1), (0.7, 0.1), (1.1, 0.05), (1.1, 0.05)]:
        scheduler.step(convolite.tensor(accuracy))
        assert scheduler.get_last_lr() == [expected]
    other = lr_scheduler.ReduceLROnPlateau(make_optimizer(), "max", patience=0, threshold=0.5)
    other.load_state_dict(json.loads(json.dumps(scheduler.state_dict())))
    assert other.state_dict() == scheduler.state_dict()


class Plain(optim.Optimizer):
    """An optimizer without momentum."""


def one():
    return convolite.tensor([1.0], requires_grad=True)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: optim.SGD([], 0.1), ValueError, "SGD: params must hold at least one tensor"),
        (lambda: optim.SGD(one(), 0.1), TypeError, "SGD: params must be an iterable of tensors"),
        (
            lambda: optim.SGD([np.ones(2)], 0.1),
            TypeError,
            "but number 0 is array",
        ),
        (lambda: optim.SGD([one() * 2], 0.1), ValueError, "parameter 0 is the result of an oper"),
        (lambda: optim.SGD([one()], -1), ValueError, "SGD: lr must not be negative, got -1"),
        (lambda: optim.SGD([one()], "a"), TypeError, "SGD: lr must be a number, got 'a'"),
        (lambda: optim.SGD([one()], np.nan), ValueError, "SGD: lr must be finite, got nan"),
        (lambda: optim.SGD([one()], np.inf), ValueError, "SGD: lr must be finite, got inf"),
        (lambda: optim.SGD([one()], 1, 0.9, "a"), TypeError, "SGD: dampening must be a number"),
        (
            lambda: optim.SGD([one()], 1, 0.9, nesterov="a"),
            TypeError,
            "SGD: nesterov must be True or",
        ),
        (lambda: optim.RMSprop([one()], centered="a"), TypeError, "RMSprop: centered must be True"),
        (lambda: optim.SGD([one()], 1, nesterov=True), ValueError, "SGD: nesterov needs momentum"),
        (lambda: optim.SGD([one()], 1, momentum=-1), ValueError, "SGD: momentum must not be neg"),
        (lambda: optim.Adam([one()], betas=(0.9, 1.0)), ValueError, "Adam: betas must be two num"),
        (lambda: optim.AdamW([one()], eps=-1.0), ValueError, "AdamW: eps must not be negative"),
        (lambda: optim.RMSprop([one()], alpha=-1), ValueError, "RMSprop: alpha must not be neg"),
        (lambda: optim.RMSprop([one()], alpha=5), ValueError, "RMSprop: alpha must be at most 1"),
        (
            lambda: optim.SGD([{"params": [one()], "speed": 1}], 1),
            ValueError,
            "SGD: a group has the unknown option 'speed'",
        ),
        (lambda: optim.SGD([{"lr": 1}], 1), TypeError, 'SGD: a group must be a dict with "params"'),
        (lambda: optim.SGD([TWICE, TWICE], 1), ValueError, "SGD: parameter 1 of a group appears"),
        (
            lambda: optim.SGD([convolite.Tensor(np.ones((4, 4)).T[1:])], 1),
            ValueError,
            "parameter 0 must be floats in a writable, contiguous array",
        ),
        (
            lambda: optim.clip_grad_norm_(one(), -1),
            ValueError,
            "max_norm must be 0 or more, got -1",
        ),
        (lambda: optim.clip_grad_norm_(one(), np.nan), ValueError, "max_norm must be 0 or more"),
        (lambda: optim.clip_grad_norm_(one(), 1, 0), ValueError, "norm_type must be positive"),
        (lambda: optim.clip_grad_value_(one(), "a"), TypeError, "clip_value must be a number"),
        (lambda: lr_scheduler.StepLR(3, 1), TypeError, "StepLR: optimizer must be an Optimizer"),
        (lambda: lr_scheduler.StepLR(make_optimizer(), 0), ValueError, "step_size must be posit"),
        (lambda: lr_scheduler.StepLR(make_optimizer(), 1, last_epoch=3), ValueError, "initial_lr"),
        (lambda: lr_scheduler.MultiStepLR(make_optimizer(), [1.5]), TypeError, "milestones must"),
        (lambda: lr_scheduler.LinearLR(make_optimizer(), 0.0), ValueError, "start_factor must be"),
        (lambda: lr_scheduler.LinearLR(make_optimizer(), 1, 2), ValueError, "end_factor must be"),
        (lambda: lr_scheduler.CosineAnnealingLR(make_optimizer(), 0), ValueError, "T_max must be"),
        (lambda: lr_scheduler.OneCycleLR(make_optimizer(), 1.0), ValueError, "total_steps must be"),
        (lambda: lr_scheduler.OneCycleLR(make_optimizer(), [1, 2], 9), ValueError, "for each of 1"),
        (lambda: lr_scheduler.OneCycleLR(make_optimizer(), 1, 9, pct_start=2), ValueError, "pct_s"),
        (
            lambda: lr_scheduler.OneCycleLR(Plain([one()], {"lr": 1}), 1, 9),
            ValueError,
            "OneCycleLR: Plain has no momentum to cycle; pass cycle_momentum=False",
        ),
        (lambda: lr_scheduler.SequentialLR(make_optimizer(), [], []), ValueError, "one fewer than"),
        (
            lambda: lr_scheduler.SequentialLR(make_optimizer(), [3], []),
            TypeError,
            "number 0 is 3",
        ),
        (
            lambda: lr_scheduler.ReduceLROnPlateau(make_optimizer(), "up"),
            ValueError,
            "mode must be",
        ),
        (
            lambda: lr_scheduler.ReduceLROnPlateau(make_optimizer(), factor=1.0),
            ValueError,
            "below 1",
        ),
        (
            lambda: lr_scheduler.ReduceLROnPlateau(make_optimizer(), min_lr=[1, 2]),
            ValueError,
            "min_lr must hold one number for each of 1 groups, got 2",
        ),
        (
            lambda: lr_scheduler.StepLR(make_optimizer(), 1).load_state_dict({}),
            ValueError,
            "the state must have the entries",
        ),
    ],
)
def test_wrong_calls_say_what_is_wrong(call, error, text):
    with pytest.raises(error, match=text):
        call()


TWICE = convolite.tensor([1.0], requires_grad=True)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1])
@pytest.mark.parametrize("name", ["StepLR", "MultiStepLR", "ExponentialLR", "OneCycleLR"])
def test_a_schedule_wants_rates_that_an_optimizer_takes(name, value):
    optimizer = optim.SGD([convolite.nn.Parameter(np.ones(3))], lr=0.1, momentum=0.9)
    make = {
        "StepLR": lambda: lr_scheduler.StepLR(optimizer, 2, value),
        "MultiStepLR": lambda: lr_scheduler.MultiStepLR(optimizer, [1], value),
        "ExponentialLR": lambda: lr_scheduler.ExponentialLR(optimizer, value),
        "OneCycleLR": lambda: lr_scheduler.OneCycleLR(optimizer, value, 9),
    }[name]
    with pytest.raises(ValueError, match=rf"^{name}: (gamma|max_lr) must (be finite|not be neg)"):
        make()
