"""Reads the named problem sizes of `cases/*.csv`, which tests and benchmarks share.

A row becomes an object with one attribute per column; numbers are converted.
"""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

_CASES = Path(__file__).resolve().parents[2] / "cases"


def load_cases(stem: str, use: str = "test") -> list[SimpleNamespace]:
    """Rows of cases/<stem>.csv whose `use` column (where there is one) is `use` or "both"."""
    with (_CASES / f"{stem}.csv").open(newline="", encoding="utf-8") as file:
        rows = [_parse_row(row) for row in csv.DictReader(file)]
    chosen = [row for row in rows if getattr(row, "use", use) in (use, "both")]
    if not chosen:
        raise LookupError(f"cases/{stem}.csv has no row for use = {use!r}")
    return chosen


def case_parameters(stem: str, use: str = "test") -> list[Any]:
    """The same rows for `pytest.mark.parametrize`, each with its name as the test id."""
    return [pytest.param(case, id=case.name) for case in load_cases(stem, use)]


def _parse_row(row: dict[str, str]) -> SimpleNamespace:
    return SimpleNamespace(**{key.strip(): _number(text.strip()) for key, text in row.items()})


def _number(text: str) -> int | float | str:
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    return text
