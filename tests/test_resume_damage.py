"""Wrong values inside a checkpoint's state.json: each is one FormatError that names the file."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convolite
from convolite import FormatError
from convolite.train import EarlyStopping, Trainer
from test_resume import fit, interrupted, parts

pytestmark = pytest.mark.smoke


def resumed(kind: str, path: Path) -> Trainer:
    model, optimizer, schedule = parts(kind)
    stopping = EarlyStopping(patience=99)
    return Trainer.resume(path, model, optimizer, scheduler=schedule, callbacks=[stopping])


def set_inside(state: Any, keys: tuple[Any, ...], value: Any) -> None:
    for key in keys[:-1]:
        state = state[key]
    state[keys[-1]] = value


@contextmanager
def damaged(folder: Path, keys: tuple[Any, ...], value: Any) -> Iterator[None]:
    (file,) = folder.glob("checkpoint-*/state.json")
    content = file.read_text()
    state = json.loads(content)
    set_inside(state, keys, value)
    file.write_text(json.dumps(state))
    try:
        yield
    finally:
        file.write_text(content)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {kind: tmp_path_factory.mktemp(kind) for kind in ("sgd", "adam", "adamw")}
    for kind, path in made.items():
        interrupted(kind, path, 7)
    return made


DAMAGE = [
    ("sgd", ("epoch",), True, "epoch must be a count, got True"),
    ("sgd", ("step",), -1, "step must be a count, got -1"),
    ("sgd", ("loader",), 5, "loader must be null, or the counts seed, epoch and batch, got 5"),
    ("sgd", ("loader", "seed"), "a", "loader must be null, or the counts"),
    ("sgd", ("loader", "epoch"), 2**70, "loader must be null, or the counts"),
    ("sgd", ("loader", "batch"), 1.5, "loader must be null, or the counts"),
    ("sgd", ("running", "count"), None, "running must be the numbers count"),
    ("sgd", ("running", "sums", "loss"), "a", "running must be the numbers count"),
    ("sgd", ("epochs", 0), "a", "epochs must be a list of counts"),
    ("sgd", ("history", "loss"), 5, "history must be lists of numbers by name"),
    ("sgd", ("history", "loss"), [], "history must have one number for each of 1 epochs, but loss"),
    ("sgd", ("random",), {}, "random must be the state of a PCG64 generator, got {}"),
    ("sgd", ("random", "state", "state"), -1, "random must be the state of a PCG64 generator"),
    ("sgd", ("callbacks", 0), ["EarlyStopping"], "callbacks must be pairs of a name and an object"),
    ("sgd", ("callbacks", 0, 1, "waited"), "a", ".*EarlyStopping: waited must be an int, got 'a'"),
    ("sgd", ("callbacks", 0, 1), {}, ".*EarlyStopping: the state lacks best, waited"),
    ("sgd", ("callbacks", 0, 1, "best"), 10**400, ".*EarlyStopping: best must fit a float"),
    ("sgd", ("running", "sums", "loss"), 10**400, "running must be the numbers count"),
    ("sgd", ("running", "count"), 0, "running must be the numbers count"),
    ("sgd", ("running", "sums"), {"nope": 1.0}, ".*running: sums lack loss, accuracy"),
    ("sgd", ("history", "loss"), [10**400], "history must be lists of numbers by name"),
    ("sgd", ("optimizer", "state"), [], "optimizer must be the objects state and param_groups"),
    ("sgd", ("optimizer", "param_groups"), {}, "optimizer must be the objects state and param_gr"),
    ("sgd", ("optimizer", "param_groups", 0, "params"), 5, ".* group 0 of the state has no list"),
    ("sgd", ("optimizer", "param_groups", 0, "lr"), "a", ".* lr of group 0 must be a number"),
    ("sgd", ("optimizer", "param_groups", 0, "lr"), -1, ".*SGD: lr must not be negative, got -1"),
    ("sgd", ("scheduler", "total_steps"), 1.5, ".* total_steps must be like 20, got 1.5"),
    ("adam", ("optimizer", "param_groups", 0, "betas"), 5, ".*Adam: betas must be a sequence"),
    ("adam", ("optimizer", "state", "0", "step"), -1, ".* step of parameter 0 must be a count"),
    ("adam", ("optimizer", "state", "0", "step"), None, ".* step of parameter 0 must be a count"),
    ("adam", ("optimizer", "state", "0"), {}, ".* the state of parameter 0 lacks 'step'"),
    ("adam", ("scheduler", "base_lrs"), [], ".* base_lrs must be like"),
    ("adam", ("scheduler", "gamma"), None, ".* gamma must be like 0.1, got None"),
    ("adam", ("scheduler",), {}, ".*StepLR.load_state_dict: the state must have the entries"),
    ("adamw", ("scheduler", "min_lrs"), ["a"], ".* min_lrs must be like"),
    ("adamw", ("scheduler", "best"), "a", ".* best must be like"),
]


@pytest.mark.parametrize(("kind", "keys", "value", "text"), DAMAGE)
def test_wrong_values_inside_the_state_are_named(folders, kind, keys, value, text):
    with (
        damaged(folders[kind], keys, value),
        pytest.raises(FormatError, match=rf"^checkpoint-\d+/state.json: {text}") as caught,
    ):
        resumed(kind, folders[kind])
    assert "NoneType" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("running", "sums"), {"nope": 1.0}),
        (("scheduler", "total_steps"), 1.5),
        (("callbacks", 0, 1), {}),
        (("optimizer", "param_groups", 0, "lr"), -1),
    ],
)
def test_a_refused_state_changes_nothing(folders, keys, value):
    model, optimizer, schedule = parts("sgd")
    stopping = EarlyStopping(patience=99)
    everything = (model, optimizer, schedule, stopping)
    before = [deepcopy(part.state_dict()) for part in everything]
    with damaged(folders["sgd"], keys, value), pytest.raises(FormatError):
        Trainer.resume(folders["sgd"], model, optimizer, scheduler=schedule, callbacks=[stopping])
    np.testing.assert_equal([part.state_dict() for part in everything], before)


def test_a_mistake_in_a_callback_of_ones_own_keeps_its_class_and_traceback(folders):
    class Mistaken(EarlyStopping):
        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.error(state)

        def error(self, state: dict[str, Any]) -> None:
            raise self.wrong("mine")

    Mistaken.__name__ = "EarlyStopping"
    for wrong, expected in [(KeyError, KeyError), (ValueError, FormatError)]:
        Mistaken.wrong = wrong  # type: ignore[attr-defined]
        model, optimizer, schedule = parts("sgd")
        with pytest.raises(expected, match="mine") as caught:
            Trainer.resume(
                folders["sgd"], model, optimizer, scheduler=schedule, callbacks=[Mistaken()]
            )
        cause = caught.value.__cause__ or caught.value
        assert any(entry.name == "error" for entry in traceback.extract_tb(cause.__traceback__))


def test_a_position_beyond_the_data_is_named_before_any_work(folders):
    with damaged(folders["sgd"], ("loader", "batch"), 99):
        trainer = resumed("sgd", folders["sgd"])
    before = {name: array.copy() for name, array in trainer.model.state_dict().items()}
    with pytest.raises(ValueError, match=r"^DataLoader: state is at batch 99 but an epoch has 5 "):
        fit(trainer)
    for name, array in trainer.model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("state", [None, 5, {}, {"bit_generator": "PCG64", "state": {"state": -1}}])
def test_the_random_state_is_one_of_its_generator(state):
    before = convolite.random.get_state()
    with pytest.raises(ValueError, match=r"^set_state: state is not one of PCG64, got "):
        convolite.random.set_state(state)
    assert convolite.random.get_state() == before
