"""ProgressBar: a bar on a terminal, and a line per epoch anywhere else."""

from __future__ import annotations

import re
import struct
import time

import pytest

from convolite.train import Callback, ProgressBar, Trainer
from test_train import blobs, small_model, trainer_for


def test_away_from_a_terminal_each_epoch_leaves_one_line(capsys):
    trainer_for(small_model()).fit(blobs(20), blobs(10), epochs=2)
    output, errors = capsys.readouterr()
    lines = output.splitlines()
    assert errors == ""
    assert len(lines) == 2
    for number, line in enumerate(lines, 1):
        words = line.split()
        assert words[:2] == ["epoch", f"{number}/2"]
        assert [words[3], words[5], words[6], words[8]] == ["s", "images/s", "loss", "accuracy"]
        assert words[10:12] == ["val", "loss"]
    trainer_for(small_model()).fit(blobs(20), epochs=1, verbose=False)
    assert capsys.readouterr() == ("", "")


class Slow(Callback):
    """Long enough batches for the bar to be drawn after each."""

    def on_batch_end(self, trainer: Trainer, batch: int, logs: dict[str, float]) -> None:
        time.sleep(0.12)


def shown_on_a_terminal(columns: int) -> list[list[str]]:
    """What a training writes to a terminal: for each line all that stood there, one by one."""
    pty, fcntl, termios = (pytest.importorskip(name) for name in ("pty", "fcntl", "termios"))
    controller, terminal = pty.openpty()
    size = struct.pack("HHHH", 24 if columns else 0, columns, 0, 0)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, size)
    with open(terminal, "w") as stream:
        trainer_for(small_model(), callbacks=[Slow(), ProgressBar(stream)]).fit(
            blobs(20), blobs(10), epochs=2, batch_size=10
        )
        stream.write("\0")
    text = ""
    with open(controller, encoding="utf-8", newline="") as screen:
        while not text.endswith("\0"):
            text += screen.read(1)
    return [
        [state.rstrip() for state in line.split("\r") if state.strip()]
        for line in text.split("\n")[:-1]
    ]


@pytest.mark.parametrize("columns", [80, 40])
def test_on_a_terminal_a_bar_moves_until_the_epochs_line_is_there(columns):
    lines = shown_on_a_terminal(columns)
    assert len(lines) == 2
    for number, states in enumerate(lines, 1):
        assert states[0].startswith(f"epoch {number}/2:   0%|")
        *bars, line = states
        assert all(len(bar) <= columns for bar in bars)
        assert re.match(rf"epoch {number}/2: +\d+%\|.*\| [\d.?]+k? images/s", bars[-1])
        if columns == 80:
            assert re.search(r"images/s, loss \d\.\d{4}  accuracy \d\.\d{4}", bars[-1])
        assert re.fullmatch(
            rf"epoch {number}/2  [\d.]+ s  \d+ images/s  loss \S+  accuracy \S+  "
            r"val loss \S+  val accuracy \d\.\d{4}",
            line,
        )


def test_on_a_terminal_of_unknown_size_there_is_no_bar():
    lines = shown_on_a_terminal(0)
    assert [len(states) for states in lines] == [1, 1]
    assert all("val accuracy" in states[0] for states in lines)
