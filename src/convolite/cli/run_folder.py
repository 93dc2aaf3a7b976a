"""A run folder: where it is made, its configuration and its results.

The training state in it is written by `convolite.train.checkpoint`::

    config.json           settings, classes, normalisation
    history.csv           one row per epoch
    results.json          test loss and accuracy, once the training is done
    weights.safetensors, checkpoint-000007/
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convolite._args import excerpt
from convolite._rules import is_finite, is_positive
from convolite.cli.recipe import CLASSES, Settings, settings_from_dict
from convolite.errors import FormatError
from convolite.io import write_atomically

_CONFIGURATION = "config.json"
_RESULTS = "results.json"


@dataclass(frozen=True)
class Configuration:
    """What is needed to use a trained network: how it was made and what its images look like."""

    settings: Settings
    classes: list[str]
    mean: list[float]
    std: list[float]


class RunFolder:
    """The files of one training."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, out: str | None, settings: Settings) -> RunFolder:
        """Make the folder `out`, or the next free ``runs/<data>-<model>-<number>``.

        Raises
        ------
        ValueError
            If `out` holds a run already.
        """
        if out is not None:
            if (Path(out) / _CONFIGURATION).exists():
                raise ValueError(f"{out} holds a run already: --resume it, or choose another --out")
            Path(out).mkdir(parents=True, exist_ok=True)
            return cls(Path(out))
        number = 1
        while True:
            path = Path("runs") / f"{settings.data}-{settings.model}-{number}"
            try:
                path.mkdir(parents=True)
            except FileExistsError:
                number += 1
            else:
                return cls(path)

    @property
    def weights(self) -> Path:
        """The file of the newest complete weights."""
        return self.path / "weights.safetensors"

    @property
    def history(self) -> Path:
        """The file with one row per epoch."""
        return self.path / "history.csv"

    def write_configuration(self, configuration: Configuration) -> None:
        """Write config.json."""
        _write_json(
            self.path / _CONFIGURATION,
            {
                "settings": configuration.settings.to_dict(),
                "classes": configuration.classes,
                "mean": configuration.mean,
                "std": configuration.std,
            },
        )

    def read_configuration(self) -> Configuration:
        """Read config.json.

        Raises
        ------
        FileNotFoundError
            If the folder is none of a run.
        FormatError
            If the file is damaged.
        """
        values = self._read_json(_CONFIGURATION)
        keys = {"settings", "classes", "mean", "std"}
        if not isinstance(values, dict) or not keys <= set(values):
            raise FormatError(f"{_CONFIGURATION}: not the configuration of a run")
        settings = settings_from_dict(values["settings"])
        classes = _values_of("classes", values["classes"], "strings", _is_text)
        if len(classes) != len(CLASSES):
            raise FormatError(
                f"{_CONFIGURATION}: classes must have {len(CLASSES)} names, got {len(classes)}"
            )
        mean = _values_of("mean", values["mean"], "finite numbers", is_finite)
        std = _values_of("std", values["std"], "positive numbers", is_positive)
        if len(mean) != len(std):
            raise FormatError(
                f"{_CONFIGURATION}: mean has {len(mean)} values but std has {len(std)}"
            )
        return Configuration(settings, classes, list(map(float, mean)), list(map(float, std)))

    def write_results(self, results: dict[str, float]) -> None:
        """Write results.json."""
        _write_json(self.path / _RESULTS, results)

    def read_results(self) -> dict[str, float] | None:
        """Return the results, or None if the training is not done."""
        if not (self.path / _RESULTS).exists():
            return None
        results = self._read_json(_RESULTS)
        if not isinstance(results, dict) or not all(
            isinstance(results.get(name), float) for name in ("loss", "accuracy")
        ):
            raise FormatError(f"{_RESULTS}: loss and accuracy must be numbers")
        return results

    def _read_json(self, name: str) -> Any:
        path = self.path / name
        if not path.is_file():
            raise FileNotFoundError(f"{self.path}: not a run folder, it has no {name}")
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise FormatError(f"{name}: not valid JSON ({error})") from None


def _values_of(key: str, values: Any, kind: str, holds: Callable[[Any], bool]) -> list[Any]:
    if not isinstance(values, list) or not values or not all(holds(value) for value in values):
        raise FormatError(
            f"{_CONFIGURATION}: {key} must be a list of {kind}, got {excerpt(values)}"
        )
    return values


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _write_json(path: Path, values: Any) -> None:
    write_atomically(path, (json.dumps(values, indent=2) + "\n").encode())
