"""`convolite train --target-accuracy`: when a training ends, what it says, how it is resumed."""

from __future__ import annotations

import csv
import itertools
import json
import re
from pathlib import Path

import pytest

from convolite.cli import datasets, main
from convolite.train.interrupt import InterruptGuard, SafeInterrupt
from test_cli import few_digits

EASY = 0.5  # reached after a few epochs
REACHED = re.compile(r"^target accuracy 0\.5 reached after (\d+) epochs?, \d+\.\d s of training$")


@pytest.fixture(autouse=True)
def _few_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "load_digits", few_digits)


def new(path: Path, target: float, *options: str) -> int:
    return main(["train", "--target-accuracy", str(target), "--out", str(path), *options])


def resume(path: Path, *options: str) -> int:
    return main(["train", "--resume", str(path), *options])


def accuracies(path: Path) -> list[float]:
    with (path / "history.csv").open(newline="") as stream:
        return [float(row["val_accuracy"]) for row in csv.DictReader(stream)]


def test_the_first_epoch_that_reaches_the_target_is_the_last(tmp_path, capsys):
    assert new(tmp_path, EASY, "--epochs", "30") == 0
    output, errors = capsys.readouterr()
    *before, last = accuracies(tmp_path)
    assert last >= EASY
    assert before
    assert max(before) < EASY
    found = [match for line in output.splitlines() if (match := REACHED.match(line))]
    assert [int(match[1]) for match in found] == [len(before) + 1]
    assert output.splitlines()[-1].startswith("test accuracy ")
    assert errors == ""


def test_the_last_epoch_may_be_the_one_that_reaches_it(tmp_path):
    assert new(tmp_path, 1.0, "--epochs", "2") == 0
    assert resume(tmp_path, "--target-accuracy", str(accuracies(tmp_path)[-1])) == 0


def test_a_missed_target_is_said(tmp_path, capsys):
    assert new(tmp_path, 1.0, "--epochs", "2") == 0
    output, errors = capsys.readouterr()
    reached = accuracies(tmp_path)
    best = max(reached)
    assert errors == ""
    *_, outcome, _, last = output.splitlines()
    assert outcome == (
        f"target accuracy 1.0 not reached: {reached[-1]:.4f} after 2 epochs, "
        f"at best {best:.4f} after epoch {reached.index(best) + 1}"
    )
    assert last == f"test accuracy {reached[-1]:.4f}"
    assert json.loads((tmp_path / "results.json").read_text())["accuracy"] == reached[-1]


def test_without_any_epoch_the_target_is_missed(tmp_path, capsys):
    assert new(tmp_path, 0.01, "--epochs", "0") == 0
    line = "target accuracy 0.01 not reached: no epoch was trained"
    assert line in capsys.readouterr().out.splitlines()


def test_a_run_that_reached_its_target_trains_no_more(tmp_path, capsys):
    assert new(tmp_path, EASY, "--epochs", "30") == 0
    first = capsys.readouterr().out.splitlines()
    weights = (tmp_path / "weights.safetensors").read_bytes()
    assert resume(tmp_path) == 0
    again = capsys.readouterr().out.splitlines()
    assert again == [first[0], *first[-3:]]
    assert (tmp_path / "weights.safetensors").read_bytes() == weights


def test_a_lower_target_names_the_first_epoch_that_reached_it(tmp_path, capsys):
    assert new(tmp_path, 1.0, "--epochs", "6") == 0
    reached = accuracies(tmp_path)
    target = min(EASY, reached[-1])
    first = next(i for i, accuracy in enumerate(reached, 1) if accuracy >= target)
    capsys.readouterr()
    assert resume(tmp_path, "--target-accuracy", str(target)) == 0
    assert f" reached after {first} epoch" in capsys.readouterr().out
    assert first < len(reached)


def test_a_resumption_that_fails_changes_no_setting(tmp_path):
    assert new(tmp_path, 1.0, "--epochs", "1") == 0
    before = (tmp_path / "config.json").read_bytes()
    [state] = tmp_path.glob("checkpoint-*/*.json")
    whole = state.read_bytes()
    state.write_bytes(whole[:20])
    assert resume(tmp_path, "--epochs", "5", "--target-accuracy", "0.9") == 2
    assert (tmp_path / "config.json").read_bytes() == before
    state.write_bytes(whole)
    assert resume(tmp_path, "--epochs", "2", "--target-accuracy", "0.01") == 0
    settings = json.loads((tmp_path / "config.json").read_text())["settings"]
    assert (settings["epochs"], settings["target_accuracy"]) == (2, 0.01)


def test_a_resumed_run_takes_a_higher_target(tmp_path, capsys):
    assert new(tmp_path, EASY, "--epochs", "4") == 0
    epochs = len(accuracies(tmp_path))
    assert resume(tmp_path, "--target-accuracy", "1.0") == 0
    assert len(accuracies(tmp_path)) == 4 > epochs
    assert json.loads((tmp_path / "config.json").read_text())["settings"]["target_accuracy"] == 1.0


def interrupt_at_check(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Press Ctrl-C before the check of this number, which comes after each batch."""
    checks = itertools.count(1)

    def check(self: InterruptGuard) -> None:
        if next(checks) == number:
            raise SafeInterrupt

    monkeypatch.setattr(InterruptGuard, "check", check)


def test_a_target_outlives_an_interrupt(tmp_path, monkeypatch):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert new(whole, EASY, "--epochs", "30") == 0
    interrupt_at_check(8, monkeypatch)
    assert new(parts, EASY, "--epochs", "30") == 130
    assert resume(parts) == 0
    first, second = ((path / "weights.safetensors").read_bytes() for path in (whole, parts))
    assert first == second


def test_an_epoch_begun_after_the_target_is_finished(tmp_path, monkeypatch):
    """Then the target is that of the epoch's weights, not of those some batches before."""
    assert main(["train", "--epochs", "2", "--out", str(tmp_path)]) == 0
    batches, test_batches = 5, 1
    interrupt_at_check(batches + test_batches + 2, monkeypatch)
    assert resume(tmp_path, "--epochs", "4") == 130
    target = min(accuracies(tmp_path)[-1], 0.3)
    assert resume(tmp_path, "--target-accuracy", str(target)) == 0
    assert len(accuracies(tmp_path)) == 4


def test_a_run_folder_from_before_targets_is_resumed(tmp_path):
    assert main(["train", "--epochs", "1", "--out", str(tmp_path)]) == 0
    configuration = json.loads((tmp_path / "config.json").read_text())
    del configuration["settings"]["target_accuracy"]
    (tmp_path / "config.json").write_text(json.dumps(configuration))
    assert resume(tmp_path, "--epochs", "2") == 0
