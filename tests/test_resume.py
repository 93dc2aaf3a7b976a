"""A training that is interrupted at any moment and resumed ends with the same bits."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convolite
from convolite import FormatError, nn, optim
from convolite.data import DataLoader
from convolite.data.transforms import Compose, RandomCrop, RandomHorizontalFlip
from convolite.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau, StepLR
from convolite.train import Callback, Checkpoint, EarlyStopping, History, Trainer
from convolite.train.checkpoint import read_checkpoint
from test_train import assert_same_weights, blobs, weights_of

EPOCHS = 4
BATCHES = 5  # of 8 samples, the last one smaller


class Stop(BaseException):
    """Stands for the end of the process."""


class StopAfter(Callback):
    """Saves and ends the process after so many batches in all."""

    runs_last = True

    def __init__(self, batches: int, path: Path) -> None:
        self.batches = batches
        self.path = path

    def on_batch_end(self, trainer: Trainer, batch: int, logs: dict[str, float]) -> None:
        if trainer.step == self.batches:
            trainer.save(self.path)
            raise Stop


def parts(kind: str) -> tuple[Any, Any, Any]:
    """Model, optimizer and schedule: everything that has a state."""
    convolite.manual_seed(5)
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 3)
    )
    if kind == "sgd":
        optimizer: Any = optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)
        return model, optimizer, OneCycleLR(optimizer, 0.05, total_steps=EPOCHS * BATCHES)
    if kind == "adam":
        optimizer = optim.Adam(model.parameters(), lr=0.01)
        return model, optimizer, StepLR(optimizer, 2)
    optimizer = optim.AdamW(model.parameters(), lr=0.01)
    return model, optimizer, ReduceLROnPlateau(optimizer, patience=0)


def fit(trainer: Trainer, **options: Any) -> History:
    transform = Compose([RandomHorizontalFlip(), RandomCrop(2, padding=1)])
    loader = DataLoader(blobs(37), 8, shuffle=True, num_workers=1, seed=3, transform=transform)
    return trainer.fit(loader, blobs(20, seed=1), epochs=EPOCHS, verbose=False, **options)


def interrupted(kind: str, path: Path, batches: int) -> Trainer:
    """Train, die after some batches, and come back in new objects."""
    model, optimizer, schedule = parts(kind)
    callbacks = [EarlyStopping(patience=99), StopAfter(batches, path)]
    with pytest.raises(Stop):
        fit(Trainer(model, optimizer, scheduler=schedule, callbacks=callbacks))
    model, optimizer, schedule = parts(kind)
    convolite.manual_seed(999)
    stopping = EarlyStopping(patience=99)
    return Trainer.resume(path, model, optimizer, scheduler=schedule, callbacks=[stopping])


def measured(history: History) -> dict[str, Any]:
    return {name: values for name, values in history.items() if name != "seconds"}


@pytest.mark.parametrize("kind", ["sgd", "adam", "adamw"])
def test_resuming_after_any_batch_continues_bit_for_bit(kind, tmp_path):
    model, optimizer, schedule = parts(kind)
    expected = measured(fit(Trainer(model, optimizer, scheduler=schedule)))
    for batches in (1, 4, 5, 6, 13, 20):
        trainer = interrupted(kind, tmp_path / str(batches), batches)
        assert trainer.step == batches
        assert measured(fit(trainer)) == expected
        assert_same_weights(trainer.model.state_dict(), weights_of(model))
        assert trainer.step == EPOCHS * BATCHES


def test_resuming_after_an_epoch_uses_no_number_twice(tmp_path):
    """A data set, not a loader: then the trainer draws the seed, and must not draw it again."""

    def train(trainer: Trainer, epochs: int) -> Any:
        trainer.fit(blobs(37), epochs=epochs, batch_size=8, verbose=False)
        return trainer.model.state_dict()

    model, optimizer, schedule = parts("sgd")
    expected = train(Trainer(model, optimizer, scheduler=schedule), EPOCHS)
    model, optimizer, schedule = parts("sgd")
    first = Trainer(model, optimizer, scheduler=schedule)
    train(first, 2)
    first.save(tmp_path)
    model, optimizer, schedule = parts("sgd")
    trainer = Trainer.resume(tmp_path, model, optimizer, scheduler=schedule)
    assert_same_weights(train(trainer, EPOCHS), expected)
    assert trainer.history.epochs == [0, 1, 2, 3]


def test_checkpoints_come_after_batches_epochs_and_the_end(tmp_path, monkeypatch):
    saved: list[tuple[int, int]] = []
    monkeypatch.setattr(Trainer, "save", lambda self, path: saved.append((self.epoch, self.batch)))
    for checkpoint, expected in [
        (Checkpoint(tmp_path), [(1, 0), (2, 0), (3, 0), (4, 0)]),
        (Checkpoint(tmp_path, every_epochs=3), [(3, 0), (4, 0)]),
        (Checkpoint(tmp_path, every_epochs=4, every_batches=3), [(e, 3) for e in range(4)]),
    ]:
        saved.clear()
        model, optimizer, schedule = parts("sgd")
        fit(Trainer(model, optimizer, scheduler=schedule, callbacks=[checkpoint]))
        assert [place for place in saved if place != (4, 0)] == [
            place for place in expected if place != (4, 0)
        ]
        assert saved[-1] == (4, 0)


def test_callbacks_go_on_from_their_state(tmp_path):
    stopping = interrupted("sgd", tmp_path, 13).callbacks[0]
    assert isinstance(stopping, EarlyStopping)
    assert np.isfinite(stopping.best)


@pytest.mark.parametrize("saved", [True, False])
def test_a_schedule_is_neither_dropped_nor_begun_anew(tmp_path, saved):
    model, optimizer, schedule = parts("sgd")
    Trainer(model, optimizer, scheduler=schedule if saved else None).save(tmp_path)
    model, optimizer, schedule = parts("sgd")
    text = "no scheduler was given, but one" if saved else "a scheduler was given, but none"
    with pytest.raises(FormatError, match=f"{text} was saved"):
        Trainer.resume(tmp_path, model, optimizer, scheduler=None if saved else schedule)


def test_a_stopped_training_stays_stopped(tmp_path):
    model, optimizer, schedule = parts("sgd")
    trainer = Trainer(model, optimizer, scheduler=schedule)
    trainer.stop_training = True
    trainer.callbacks = [Checkpoint(tmp_path)]

    class StopNow(Callback):
        def on_epoch_end(self, trainer: Trainer, epoch: int, logs: dict[str, float]) -> None:
            trainer.stop_training = True

    trainer.callbacks.append(StopNow())
    fit(trainer)
    assert trainer.history.epochs == [0]
    model, optimizer, schedule = parts("sgd")
    resumed = Trainer.resume(tmp_path, model, optimizer, scheduler=schedule)
    assert fit(resumed).epochs == [0]


@pytest.fixture
def _default_ctrl_c() -> Iterator[None]:
    """Some test runners ignore Ctrl-C, and then so would child processes."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


@pytest.mark.usefixtures("_default_ctrl_c")
@pytest.mark.parametrize("moment", ["training", "validation"])
def test_ctrl_c_saves_at_the_end_of_the_batch_and_is_raised(tmp_path, moment):
    pressed = []

    def press_ctrl_c(output: Any, labels: Any) -> float:
        now = (9, True) if moment == "training" else (10, False)
        if (trainer.step, trainer.model.training) == now and not pressed:
            pressed.append(now)
            os.kill(os.getpid(), signal.SIGINT)
        return 0.0

    model, optimizer, schedule = parts("sgd")
    expected = measured(fit(Trainer(model, optimizer, scheduler=schedule)))

    model, optimizer, schedule = parts("sgd")
    trainer = Trainer(
        model,
        optimizer,
        scheduler=schedule,
        metrics=["accuracy", press_ctrl_c],
        callbacks=[Checkpoint(tmp_path)],
    )
    with pytest.raises(KeyboardInterrupt):
        fit(trainer)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert read_checkpoint(tmp_path).state["step"] == 10
    assert trainer.evaluate(blobs(9))["press_ctrl_c"] == 0.0

    model, optimizer, schedule = parts("sgd")
    resumed = measured(fit(Trainer.resume(tmp_path, model, optimizer, scheduler=schedule)))
    assert {name: resumed[name] for name in expected} == expected


def test_ctrl_c_is_left_alone_where_it_was_not_the_default():
    seen: list[Any] = []
    former = signal.signal(signal.SIGINT, lambda *arguments: seen.append(arguments[0]))
    try:
        model, optimizer, schedule = parts("sgd")

        class PressCtrlC(Callback):
            def on_batch_end(self, trainer: Trainer, batch: int, logs: dict[str, float]) -> None:
                os.kill(os.getpid(), signal.SIGINT)

        trainer = Trainer(model, optimizer, scheduler=schedule, callbacks=[PressCtrlC()])
        fit(trainer)
    finally:
        signal.signal(signal.SIGINT, former)
    assert len(seen) == EPOCHS * BATCHES


class DyingDisk:
    """Ends the process at one of the file operations; tells how many there were."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left: int | None = None
        self.count = 0
        for module, name in (
            (os, "replace"),
            (os, "rename"),
            (os, "link"),
            (os, "fsync"),
            (os, "mkdir"),
            (shutil, "rmtree"),
        ):
            monkeypatch.setattr(module, name, self._counted(getattr(module, name)))

    def _counted(self, function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            self.count += 1
            if self.left is not None and self.count > self.left:
                raise Stop
            return function(*arguments, **options)

        return call


def test_a_save_that_dies_anywhere_leaves_the_old_state_or_the_new_one(tmp_path, monkeypatch):
    model, optimizer, schedule = parts("adam")
    trainer = Trainer(model, optimizer, scheduler=schedule)
    fit(trainer, initial_epoch=EPOCHS - 1)
    disk = DyingDisk(monkeypatch)
    trainer.save(tmp_path / "count")
    disk.count = 0
    trainer.save(tmp_path / "count")
    operations = disk.count
    assert operations > 10
    seen = set()
    for left in range(operations):
        folder = tmp_path / f"dies at {left}"
        disk.left = None
        trainer.step = 1
        trainer.save(folder)
        trainer.step = 2
        disk.left, disk.count = left, 0
        with pytest.raises(Stop):
            trainer.save(folder)
        seen.add(read_checkpoint(folder).state["step"])
        assert convolite.load(folder / "weights.safetensors")
        disk.left = None
        trainer.step = 3
        trainer.save(folder)
        assert read_checkpoint(folder).state["step"] == 3
        remaining = sorted(path.name for path in folder.iterdir() if path.is_dir())
        assert len(remaining) == 1, remaining
    assert seen == {1, 2}


def test_the_newest_weights_lie_beside_the_checkpoint(tmp_path):
    model, optimizer, _ = parts("adam")
    Trainer(model, optimizer).save(tmp_path)
    assert_same_weights(convolite.load(tmp_path / "weights.safetensors"), weights_of(model))
    assert sorted(path.name for path in (tmp_path / "checkpoint-000001").iterdir()) == [
        "optimizer.safetensors",
        "state.json",
        "weights.safetensors",
    ]


@pytest.mark.parametrize(
    ("name", "damage", "text"),
    [
        (
            "state.json",
            lambda content: content[:100],
            "checkpoint-000001/state.json: not valid JSON",
        ),
        ("state.json", lambda content: b"\xff\xfe", "checkpoint-000001/state.json: not valid JSON"),
        ("state.json", lambda content: b"[]", "checkpoint-000001/state.json: not the state of a "),
        (
            "state.json",
            lambda content: b"[" * 200_000,
            "checkpoint-000001/state.json: not valid JSON",
        ),
        (
            "state.json",
            lambda content: content.replace(b'"batch": ', b'"batch": "a", "former": ', 1),
            "checkpoint-000001/state.json: batch must be a count, got 'a'",
        ),
        (
            "state.json",
            lambda content: content.replace(b'"format": 1', b'"format": 7'),
            "checkpoint-000001/state.json: has format 7, but 1 is known",
        ),
        (
            "state.json",
            lambda content: content.replace(b'"random"', b'"randon"'),
            "checkpoint-000001/state.json: lacks random",
        ),
        (
            "state.json",
            lambda content: content.replace(b'"running": ', b'"running": {}, "former": ', 1),
            "checkpoint-000001/state.json: running must be the numbers count, seconds and sums",
        ),
        ("weights.safetensors", lambda content: content[:-4], "weights.safetensors: tensor"),
        ("optimizer.safetensors", lambda content: b"", "optimizer.safetensors: not a safetensors"),
    ],
)
def test_damaged_checkpoints_are_named(tmp_path, name, damage, text):
    interrupted("adam", tmp_path, 3)
    (checkpoint,) = tmp_path.glob("checkpoint-*")
    checkpoint = checkpoint.rename(tmp_path / "checkpoint-000001")
    content = (checkpoint / name).read_bytes()
    (checkpoint / name).unlink()
    (checkpoint / name).write_bytes(damage(content))
    model, optimizer, schedule = parts("adam")
    with pytest.raises(FormatError, match=f"^{text}"):
        Trainer.resume(tmp_path, model, optimizer, scheduler=schedule)


def test_a_state_of_another_model_is_refused(tmp_path):
    interrupted("adam", tmp_path, 3)
    model = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"^load_state_dict: the state does not fit Linear"):
        Trainer.resume(tmp_path, model, optim.Adam(model.parameters()))
    with pytest.raises(FileNotFoundError, match=r"nowhere: no checkpoint in this folder$"):
        Trainer.resume(tmp_path / "nowhere", model, optim.Adam(model.parameters()))


COMMAND = [sys.executable, "-m", "convolite", "train"]
OPTIONS = ["--epochs", "3", "--seed", "3", "--threads", "1", "--save-every", "2"]


def run_to_the_end(*arguments: str) -> None:
    subprocess.run([*COMMAND, *arguments], check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("uninterrupted") / "run"
    run_to_the_end(*OPTIONS, "--out", str(path))
    return path


def newest(run: Path) -> int:
    return max((int(path.name.split("-")[1]) for path in run.glob("checkpoint-*")), default=0)


def stop_after_saves(
    run: Path, signal_number: int, saves: int, seconds: float
) -> subprocess.Popen[str]:
    """Start or resume the training, let it save some times, wait, and send a signal."""
    resumed = (run / "config.json").exists()
    arguments = ["--resume", str(run)] if resumed else [*OPTIONS, "--out", str(run)]
    every = [] if not resumed else ["--threads", "1", "--save-every", "2"]
    last = newest(run) + saves
    process = subprocess.Popen(
        [*COMMAND, *arguments, *every],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and newest(run) < last:
        time.sleep(0.001)
    time.sleep(seconds)
    process.send_signal(signal_number)
    return process


def assert_same_run(run: Path, expected: Path) -> None:
    name = "weights.safetensors"
    assert (run / name).read_bytes() == (expected / name).read_bytes()
    assert (run / "results.json").read_bytes() == (expected / "results.json").read_bytes()
    rows, expected_rows = (
        [line.rsplit(",", 1)[0] for line in (path / "history.csv").read_text().splitlines()]
        for path in (run, expected)
    )
    assert rows == expected_rows


@pytest.mark.slow
def test_killed_again_and_again_it_ends_with_the_same_weights(uninterrupted, tmp_path):
    run, moments = tmp_path / "run", random.Random(4)
    kills = 0
    while not (run / "results.json").exists() and kills < 5:
        saves, seconds = moments.randint(1, 6), moments.uniform(0, 0.02)
        process = stop_after_saves(run, signal.SIGKILL, saves, seconds)
        process.communicate(timeout=60)
        kills += process.returncode == -signal.SIGKILL
    assert kills >= 3
    run_to_the_end("--threads", "1", "--resume", str(run))
    assert_same_run(run, uninterrupted)


@pytest.mark.slow
@pytest.mark.usefixtures("_default_ctrl_c")
def test_ctrl_c_saves_and_says_how_to_go_on(uninterrupted, tmp_path):
    run = tmp_path / "run"
    process = stop_after_saves(run, signal.SIGINT, 4, 0.01)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == (f"convolite train: interrupted; go on with: convolite train --resume {run}\n")
    run_to_the_end("--threads", "1", "--resume", str(run))
    assert_same_run(run, uninterrupted)
