"""Optimizers whose arrays are replaced between two steps: each step works on what is there now."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

import convolite
from convolite import nn, optim, reference
from support.compare import assert_close

pytestmark = pytest.mark.smoke

SHAPES = [(3, 4), (5,), (2, 3, 3, 3)]
RULES = {
    "SGD": lambda p: optim.SGD(p, 0.1, weight_decay=0.2),
    "SGD, momentum": lambda p: optim.SGD(p, 0.1, momentum=0.9),
    "Adam": lambda p: optim.Adam(p, 0.1),
    "AdamW": lambda p: optim.AdamW(p, 0.1),
    "RMSprop": lambda p: optim.RMSprop(p, 0.1),
}
REFUSABLE = {
    **RULES,
    "RMSprop, all": lambda p: optim.RMSprop(p, 0.1, momentum=0.9, centered=True),
}


class Followed:
    """Parameters, their optimizer, and what the reference makes of the same gradients."""

    def __init__(self, name: str, rng: np.random.Generator) -> None:
        self.name, self.rng = name, rng
        self.parameters = [self.parameter(shape) for shape in SHAPES]
        self.optimizer = RULES[name](self.parameters)
        self.values = {each: each.numpy().copy() for each in self.parameters}
        self.states: dict[Any, tuple[Any, ...]] = {}
        self.steps(2)

    def parameter(self, shape: tuple[int, ...]) -> Any:
        return convolite.tensor(self.rng.random(shape), dtype=np.float64, requires_grad=True)

    def steps(self, count: int = 1) -> None:
        """Steps with new gradients for all parameters."""
        for _ in range(count):
            for parameter in self.parameters:
                parameter.grad = self.rng.random(parameter.shape)
            self.step()

    def step(self) -> None:
        """One step with the gradients that are there, and the comparison."""
        self.optimizer.step()
        for parameter in self.parameters:
            if parameter.grad is not None:
                self.follow(parameter, parameter.grad.numpy())
            expected = self.values[parameter]
            assert_close(parameter.numpy(), expected, np.abs(expected) + 1.0, units=64.0)

    def follow(self, parameter: Any, gradient: Any) -> None:
        value, zeros = self.values[parameter], np.zeros_like(gradient)
        state = self.states.get(parameter, ())
        if self.name.startswith("SGD"):
            options = {"momentum": 0.9} if "momentum" in self.name else {"weight_decay": 0.2}
            value, *state = reference.sgd_step(value, gradient, *(state or [None]), 0.1, **options)
        elif self.name == "RMSprop":
            value, *state = reference.rmsprop_step(value, gradient, *(state or [zeros] * 3), lr=0.1)
        else:
            mean, square, count = state or (zeros, zeros, 0)
            decay = {"weight_decay": 1e-2, "decoupled": True} if self.name == "AdamW" else {}
            value, *means = reference.adam_step(
                value, gradient, mean, square, count + 1, 0.1, **decay
            )
            state = [*means, count + 1]
        self.values[parameter], self.states[parameter] = value, tuple(state)


@pytest.fixture(params=RULES)
def followed(request: pytest.FixtureRequest, rng: np.random.Generator) -> Followed:
    return Followed(request.param, rng)


def test_gradients_that_go_and_come_back(followed):
    for missing in ([0], [0, 2], [0, 1, 2], []):
        for i, parameter in enumerate(followed.parameters):
            parameter.grad = None if i in missing else followed.rng.random(parameter.shape)
        followed.step()


def test_the_last_gradient_is_neither_used_again_nor_kept_alive(followed):
    first = followed.parameters[0]
    array = np.ones(first.shape)
    first.grad = array
    followed.step()
    dead = weakref.ref(array)
    first.grad = None
    del array
    gc.collect()
    assert dead() is None
    followed.step()


def test_gradients_in_other_layouts_and_types_and_one_for_two_parameters(followed):
    first, second, third = followed.parameters
    first.grad = np.asfortranarray(followed.rng.random(first.shape))
    second.grad = np.ones(10)[::2]
    third.grad = np.broadcast_to(np.ones(()), third.shape)
    followed.step()
    followed.parameters.append(followed.parameter(first.shape))
    twin = followed.parameters[-1]
    followed.values[twin] = twin.numpy().copy()
    followed.optimizer.add_param_group({"params": [twin]})
    first.grad = twin.grad = np.ones(first.shape)
    followed.step()


def test_a_gradient_changed_in_place_counts_as_it_is_now(followed):
    for parameter in followed.parameters:
        parameter.grad.numpy()[...] = 3.0
    followed.step()


def test_another_array_behind_a_parameter_is_the_one_that_moves(followed):
    parameter = followed.parameters[1]
    before = parameter.numpy()
    kept = before.copy()
    parameter._data = followed.values[parameter] = np.arange(5.0)
    followed.values[parameter] = followed.values[parameter].copy()
    followed.steps(2)
    np.testing.assert_array_equal(before, kept)


def test_memory_that_a_parameter_moved_to(followed):
    parameter = followed.parameters[0]
    parameter.numpy().resize((4, 5), refcheck=False)
    parameter.grad = np.ones((4, 5))
    if followed.name != "SGD":
        with pytest.raises(ValueError, match=r"\[0\] must have shape \(4, 5\) like its parameter"):
            followed.optimizer.step()
        followed.optimizer.state.pop(parameter)
        followed.states.pop(parameter)
    followed.values[parameter] = parameter.numpy().copy()
    followed.step()


@pytest.mark.parametrize(
    ("other", "error", "text"),
    [
        (
            lambda a: a.view(np.int64),
            TypeError,
            "parameters[0] must be float32 or float64, got int64",
        ),
        (lambda a: a.astype(">f8"), TypeError, "parameters[0] must be float64 like parameters[0]"),
        (lambda a: np.broadcast_to(a, 5), ValueError, "parameters[1] is updated in place but is"),
        (lambda a: np.ones(10)[::2], ValueError, "parameters[1] is updated in place but is not C"),
        (lambda a: a.reshape(5, 1), ValueError, "gradients[1] must have shape (5, 1) like its"),
    ],
)
def test_an_array_that_cannot_be_updated_any_more_is_refused(other, error, text, rng):
    followed = Followed("SGD", rng)
    followed.parameters[1]._data = other(followed.parameters[1].numpy())
    with pytest.raises(error) as caught:
        followed.optimizer.step()
    assert text in str(caught.value)


def test_a_gradient_whose_shape_was_changed_is_refused(followed):
    followed.parameters[0].grad.numpy().resize((4, 3), refcheck=False)
    with pytest.raises(ValueError, match=r"gradients\[0\] must have shape \(3, 4\) like its param"):
        followed.optimizer.step()


def test_what_is_remembered_may_be_replaced_changed_or_forgotten(followed):
    if followed.name == "SGD":
        return
    first, second, _ = followed.parameters
    state = followed.optimizer.state
    for key in state[first].keys() - {"step"}:
        state[first][key] = np.array(state[first][key])
        state[second][key][...] = 0.0
    counts = followed.states[second][2:] if "Adam" in followed.name else ()
    followed.states[second] = (*(0.0 * each for each in followed.states[second][:2]), *counts)
    if followed.name == "RMSprop":
        followed.states[second] = (np.zeros(5),) * 3
    followed.steps(2)
    state.clear()
    followed.states.clear()
    followed.steps(2)


def test_a_loaded_state_takes_the_place_of_the_old_one(followed):
    saved, states = followed.optimizer.state_dict(), dict(followed.states)
    copied = {**saved, "state": {i: dict(each) for i, each in saved["state"].items()}}
    for each in copied["state"].values():
        each.update({key: np.array(value) for key, value in each.items() if key != "step"})
    old = [value for each in saved["state"].values() for value in each.values()]
    followed.steps(2)
    followed.optimizer.load_state_dict(copied)
    followed.states = states
    kept = [np.array(value) for value in old]
    followed.steps(2)
    for value, before in zip(old, kept, strict=True):
        np.testing.assert_array_equal(value, before)


def test_groups_that_come_and_members_that_go(followed):
    late = followed.parameter((7, 2))
    followed.optimizer.add_param_group({"params": late})
    followed.values[late] = late.numpy().copy()
    followed.parameters.append(late)
    followed.steps(2)
    gone = followed.parameters.pop(0)
    followed.optimizer.param_groups[0]["params"].remove(gone)
    gone.grad, before = np.ones(gone.shape), gone.numpy().copy()
    followed.steps(2)
    np.testing.assert_array_equal(gone.numpy(), before)


@pytest.mark.parametrize("name", RULES)
def test_a_model_in_another_type_goes_on_only_with_a_state_of_that_type(name, rng):
    layer = nn.Linear(3, 2)
    optimizer = RULES[name](list(layer.parameters()))

    def step() -> None:
        optimizer.zero_grad()
        inputs = convolite.tensor(rng.random((4, 3)), dtype=layer.weight.dtype)
        layer(inputs).sum().backward()
        optimizer.step()

    step()
    layer.double()
    if name == "SGD":
        step()
        return
    with pytest.raises(TypeError, match=r"\[0\] must be float64 like parameters\[0\]"):
        step()
    optimizer.load_state_dict(optimizer.state_dict())
    step()
    assert all(parameter.dtype == np.float64 for parameter in layer.parameters())


@pytest.mark.parametrize("steps", [0, 2])
@pytest.mark.parametrize("name", REFUSABLE)
def test_a_refused_step_changes_nothing(name, steps, rng):
    parameters = [convolite.tensor(rng.random(shape), requires_grad=True) for shape in SHAPES]
    optimizer = REFUSABLE[name](parameters)
    for parameter in parameters:
        parameter.grad = rng.random(parameter.shape)
    for _ in range(steps):
        optimizer.step()
    values = [parameter.numpy().copy() for parameter in parameters]
    states = [
        {key: np.array(value) for key, value in optimizer.state.get(parameter, {}).items()}
        for parameter in parameters
    ]
    parameters[2].grad.numpy().resize(54, refcheck=False)
    with pytest.raises(ValueError, match=r"gradients\[2\] must have shape"):
        optimizer.step()
    for parameter, value, state in zip(parameters, values, states, strict=True):
        np.testing.assert_array_equal(parameter.numpy(), value)
        after = optimizer.state.get(parameter, {})
        assert list(after) == list(state)
        for key, before in state.items():
            np.testing.assert_array_equal(after[key], before)
