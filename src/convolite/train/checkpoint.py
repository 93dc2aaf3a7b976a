"""Checkpoints on the disk: complete at every moment, whatever kills the process.

A run folder holds::

    checkpoint-000007/weights.safetensors     parameters and buffers of the model
                      optimizer.safetensors   momentum buffers and the like
                      state.json              everything that is not an array
    weights.safetensors                       the newest complete weights, for users

A checkpoint folder is written under another name and gets its own by one rename when all of it is
on the disk; the folder with the highest number is the state to go on from.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy.typing as npt

from convolite.errors import FormatError
from convolite.io import load, save, sync_folder, write_atomically
from convolite.train.schema import check_state

Arrays = dict[str, npt.NDArray[Any]]

FORMAT = 1
_PREFIX = "checkpoint-"
_WEIGHTS = "weights.safetensors"
_OPTIMIZER = "optimizer.safetensors"
_STATE = "state.json"


@dataclass
class SavedState:
    """What one checkpoint holds, and the name of the file that says what is no array."""

    weights: Arrays
    optimizer: dict[str, Any]
    state: dict[str, Any]
    name: str = _STATE


def write_checkpoint(folder: Path, saved: SavedState) -> Path:
    """Add a checkpoint to a run folder and remove the older ones.

    Returns
    -------
    Path
        The checkpoint's own folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    older = _checkpoints(folder)
    number = 1 + max(older, default=0)
    target = folder / f"{_PREFIX}{number:06d}"
    partial = folder / f".{target.name}.part"
    for abandoned in folder.glob(f".{_PREFIX}*.part"):
        shutil.rmtree(abandoned)
    partial.mkdir()
    arrays, plain = _split(saved.optimizer)
    save(saved.weights, partial / _WEIGHTS)
    save(arrays, partial / _OPTIMIZER)
    state = {"format": FORMAT, **saved.state, "optimizer": plain}
    write_atomically(partial / _STATE, json.dumps(state, indent=1).encode())
    os.rename(partial, target)
    sync_folder(folder)
    _publish_weights(folder, target)
    for path in older.values():
        shutil.rmtree(path, ignore_errors=True)
    return target


def read_checkpoint(folder: str | PathLike[str]) -> SavedState:
    """Read the newest checkpoint of a run folder.

    Raises
    ------
    FileNotFoundError
        If there is none.
    FormatError
        If one of its files is damaged or was written by another version.
    """
    found = _checkpoints(Path(folder))
    if not found:
        raise FileNotFoundError(f"{folder}: no checkpoint in this folder")
    path = found[max(found)]
    state = _read_state(path / _STATE)
    optimizer = state.pop("optimizer")
    for name, array in load(path / _OPTIMIZER).items():
        position, _, key = name.partition(".")
        optimizer["state"].setdefault(position, {})[key] = array
    return SavedState(load(path / _WEIGHTS), optimizer, state, f"{path.name}/{_STATE}")


def has_checkpoint(folder: Path) -> bool:
    """Return whether the folder holds a checkpoint to go on from."""
    return bool(_checkpoints(folder))


def _checkpoints(folder: Path) -> dict[int, Path]:
    numbers = {}
    for path in folder.glob(f"{_PREFIX}*"):
        number = path.name.removeprefix(_PREFIX)
        if number.isdecimal():
            numbers[int(number)] = path
    return numbers


def _split(optimizer: dict[str, Any]) -> tuple[Arrays, dict[str, Any]]:
    """An optimizer's state as arrays named ``<position>.<key>`` and what JSON can hold."""
    arrays: Arrays = {}
    plain: dict[str, dict[str, Any]] = {}
    for position, values in optimizer["state"].items():
        for key, value in values.items():
            if hasattr(value, "dtype"):
                arrays[f"{position}.{key}"] = value
            else:
                plain.setdefault(str(position), {})[key] = value
    return arrays, {"state": plain, "param_groups": optimizer["param_groups"]}


def _read_state(path: Path) -> dict[str, Any]:
    name = f"{path.parent.name}/{path.name}"
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{name}: not valid JSON ({error})") from None
    if not isinstance(state, dict) or "format" not in state:
        raise FormatError(f"{name}: not the state of a training")
    if state["format"] != FORMAT:
        raise FormatError(f"{name}: has format {state['format']!r}, but {FORMAT} is known")
    check_state(name, state)
    return state


def _publish_weights(folder: Path, checkpoint: Path) -> None:
    """Give the checkpoint's weights their second name, without a copy where links are known."""
    partial = folder / f".{_WEIGHTS}.part"
    partial.unlink(missing_ok=True)
    try:
        os.link(checkpoint / _WEIGHTS, partial)
    except OSError:
        shutil.copyfile(checkpoint / _WEIGHTS, partial)
    os.replace(partial, folder / _WEIGHTS)
