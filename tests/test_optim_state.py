"""Saved states of optimizers and schedules: each is compared with what is to go on from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import convolite
from convolite import optim, reference
from convolite.optim import lr_scheduler
from support.compare import assert_close
from test_optim import make_optimizer, make_parameters, one, set_gradients

pytestmark = pytest.mark.smoke


def test_rates_of_numpy_and_of_python_continue_each_other():
    steps = lr_scheduler.StepLR(optim.SGD([one()], np.float64(0.1)), 1)
    plain = lr_scheduler.StepLR(optim.SGD([one()], 0.1), 1)
    plain.load_state_dict(steps.state_dict())
    steps.load_state_dict(plain.state_dict())
    with pytest.raises(ValueError, match=r"base_lrs must be like .*, got \[True\]"):
        plain.load_state_dict({**steps.state_dict(), "base_lrs": [True]})


def test_schedules_one_after_the_other_are_loaded_together_or_not_at_all():
    def sequence() -> Any:
        optimizer = make_optimizer()
        parts = [lr_scheduler.StepLR(optimizer, 2), lr_scheduler.StepLR(optimizer, 3)]
        return lr_scheduler.SequentialLR(optimizer, parts, [2])

    saved, other = sequence(), sequence()
    saved.step()
    state = saved.state_dict()
    state["_schedulers"][1]["gamma"] = "a"
    before = other.state_dict()
    with pytest.raises(ValueError, match=r"StepLR.load_state_dict: gamma must be like"):
        other.load_state_dict(state)
    assert other.state_dict() == before


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda s: s.pop("state"), 'state_dict must have "state" and "param_groups"'),
        (lambda s: s["param_groups"].append({}), "has 2 parameter groups, but the optimizer has 1"),
        (lambda s: s["param_groups"][0]["params"].pop(), "has 3 parameters, but the optimizer's"),
        (lambda s: s["param_groups"][0].pop("lr"), "group 0 of the state lacks the option 'lr'"),
        (
            lambda s: s["param_groups"][0].update(lr=True),
            "lr of group 0 must be a number, got True",
        ),
        (lambda s: s["state"].update({9: {}}), "speaks of parameter 9, but there are 4"),
        (lambda s: s["state"].update({"x": {}}), "speaks of parameter 'x', but there are 4"),
        (
            lambda s: s["state"][0].update(exp_avg=np.zeros(7)),
            r"exp_avg of parameter 0 has shape \(7,\), but the parameter has \(3, 4\)",
        ),
        (
            lambda s: s["state"][0].update(exp_avg=0.5),
            r"exp_avg of parameter 0 has shape \(\), but",
        ),
        (lambda s: s["state"][0].update(exp_avg=None), "exp_avg of parameter 0 must be real numb"),
        (lambda s: s["state"][0].update(exp_avg=[[1], [1, 2]]), "exp_avg of parameter 0 must have"),
        (lambda s: s["state"][0].update(step=1.5), "step of parameter 0 must be a count from 1"),
        (lambda s: s["state"][0].update(step=True), "step of parameter 0 must be a count from 1"),
        (lambda s: s["state"][0].update(step=[[1], 2]), "step of parameter 0 must be a count fr"),
        (lambda s: s["state"].update({"²": {}}), "speaks of parameter '²', but there are 4"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change, text, rng):
    parameters = make_parameters(rng)
    optimizer = optim.Adam(parameters)
    set_gradients(parameters, rng)
    optimizer.step()
    state = optimizer.state_dict()
    change(state)
    with pytest.raises((TypeError, ValueError), match=f"^Adam.load_state_dict: .*{text}"):
        optimizer.load_state_dict(state)
    assert optimizer.state[parameters[0]]["step"] == 1


def test_rmsprop_and_sgd_name_what_a_state_lacks():
    for make, key in [(optim.RMSprop, "square_avg"), (optim.SGD, "momentum_buffer")]:
        optimizer = make([one()], lr=0.1, momentum=0.9)
        state = {**optimizer.state_dict(), "state": {0: {"other": np.ones(1)}}}
        with pytest.raises(ValueError, match=f"the state of parameter 0 lacks '{key}'"):
            optimizer.load_state_dict(state)
        state["state"][0] = {key: 0.5}
        with pytest.raises(ValueError, match=rf"{key} of parameter 0 has shape \(\)"):
            optimizer.load_state_dict(state)


def test_rmsprop_starts_what_its_options_add_later_from_zeros(rng):
    parameters = make_parameters(rng)
    values = [parameter.numpy().copy() for parameter in parameters]
    states = [[np.zeros_like(value) for _ in range(3)] for value in values]
    optimizer = optim.RMSprop(parameters, lr=0.1)
    for added in ({}, {"momentum": 0.9}, {"centered": True}):
        optimizer.param_groups[0].update(added)
        options = {k: v for k, v in optimizer.param_groups[0].items() if k != "params"}
        set_gradients(parameters, rng)
        optimizer.step()
        for i, (parameter, state) in enumerate(zip(parameters, states, strict=True)):
            gradient = parameter.grad.numpy()
            values[i], *kept = reference.rmsprop_step(values[i], gradient, *state, **options)
            used = [True, options["centered"], options["momentum"] != 0.0]
            states[i] = [each * use for each, use in zip(kept, used, strict=True)]
            assert_close(parameter.numpy(), values[i], np.abs(values[i]) + 1.0, units=64.0)
    assert list(optimizer.state[parameters[0]]) == ["square_avg", "momentum_buffer", "grad_avg"]


@pytest.mark.parametrize("make", [optim.SGD, optim.RMSprop, optim.Adam])
def test_a_parameter_without_axes_continues_from_its_state(make):
    def step(optimizer: Any, parameter: Any) -> float:
        parameter.grad = convolite.tensor(1.0)
        optimizer.step()
        return float(parameter.item())

    options = {} if make is optim.Adam else {"momentum": 0.9}
    first, second = (convolite.tensor(1.0, requires_grad=True) for _ in range(2))
    optimizer, other = (make([each], lr=0.1, **options) for each in (first, second))
    second.numpy()[...] = step(optimizer, first)
    other.load_state_dict(optimizer.state_dict())
    assert step(optimizer, first) == step(other, second)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: optim.SGD(p, 0.1, momentum=0.9),
        optim.Adam,
        lambda p: optim.RMSprop(p, 0.1, momentum=0.9, centered=True),
    ],
)
def test_what_is_remembered_lies_in_one_piece_of_memory(make, rng):
    shapes = [(3, 4), (5,), (2, 3, 3, 3), ()]
    parameters = [convolite.tensor(rng.random(shape), requires_grad=True) for shape in shapes]
    optimizer = make(parameters)
    for parameter in parameters:
        parameter.grad = np.ones(parameter.shape)
    optimizer.step()
    for key in optimizer.state[parameters[0]].keys() - {"step"}:
        buffers = [optimizer.state[parameter][key] for parameter in parameters]
        (memory,) = {id(buffer.base): buffer.base for buffer in buffers}.values()
        assert memory.size == sum(parameter.size for parameter in parameters)
        assert [buffer.shape for buffer in buffers] == shapes
        starts = np.cumsum([0, *(buffer.nbytes for buffer in buffers)])[:-1]
        assert [buffer.ctypes.data - memory.ctypes.data for buffer in buffers] == list(starts)


def test_a_sum_in_place_of_a_read_only_gradient_without_axes_can_be_used():
    parameter = convolite.tensor(1.0, requires_grad=True)
    gradient = np.array(1.0, np.float32)
    gradient.flags.writeable = False
    parameter.grad = gradient
    (parameter * 2.0).backward()
    assert isinstance(parameter.grad.numpy(), np.ndarray)
    optim.SGD([parameter], lr=0.5).step()
    assert parameter.item() == 1.0 - 0.5 * 3.0


def test_parameters_at_different_steps_are_each_corrected_by_their_own(rng):
    parameters = make_parameters(rng, np.float32)
    alone = [convolite.tensor(each, requires_grad=True) for each in parameters]
    together = optim.Adam(parameters, lr=0.1)
    apart = [optim.Adam([each], lr=0.1) for each in alone]
    for moving in ([0], [0, 1], [1, 2, 3], [0, 1, 2, 3]):
        for i, parameter in enumerate(parameters):
            parameter.grad = alone[i].grad = None
            if i in moving:
                parameter.grad = rng.standard_normal(parameter.shape).astype(np.float32)
                alone[i].grad = parameter.grad
                apart[i].step()
        together.step()
    for parameter, single in zip(parameters, alone, strict=True):
        np.testing.assert_array_equal(parameter.numpy(), single.numpy())
    assert [together.state[each]["step"] for each in parameters] == [3, 3, 2, 2]


def test_rmsprop_makes_room_for_new_parameters_alone():
    first, late = (convolite.tensor(np.ones(size), requires_grad=True) for size in (1000, 3))
    optimizer = optim.RMSprop([first, late], lr=0.1)
    first.grad = np.ones(1000)
    optimizer.step()
    before = optimizer.state[first]["square_avg"]
    late.grad = np.ones(3)
    optimizer.step()
    assert optimizer.state[first]["square_avg"] is before
    assert optimizer.state[late]["square_avg"].base.size == 3
