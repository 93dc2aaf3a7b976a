"""Tables, ratios and other pieces of text of docs/benchmarks.md; no section of it."""

from __future__ import annotations

import textwrap

ABSENT = "-"


def losses(cases: list[tuple[float, str]], kind: str) -> str:
    """A paragraph that names every case with a ratio below 1."""
    lost = sorted(case for case in cases if case[0] < 1)
    if not lost:
        return f"In none of the {len(cases)} {kind}."
    named = "; ".join(f"{name} {digits(value)}" for value, name in lost)
    return filled(f"In {len(lost)} of the {len(cases)} {kind}, slowest first: {named}.")


def filled(text: str) -> str:
    """A paragraph in lines of at most 100 characters, which cuts no name."""
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def ratio(value: float) -> str:
    return f"**{digits(value)}**" if value < 1 else digits(value)


def digits(value: float, mark: float = 1.0, most: bool = False) -> str:
    """A figure with as many digits as tell on which side of a mark it lies, if on the wrong one.

    Too small is the wrong side, or with `most` too great.
    """
    places = 2
    while value != mark and (
        value > mark >= round(value, places) if most else value < mark <= round(value, places)
    ):
        places += 1
    return f"{value:.{places}f}"


def table(head: list[str], body: list[list[str]]) -> str:
    """A table of Markdown; columns of numbers are set right."""
    columns = list(zip(head, *body, strict=True))
    widths = [max(map(len, column)) for column in columns]
    rule = [
        "-" * (width - 1) + (":" if all(map(is_number, cells)) else "-")
        for width, (_, *cells) in zip(widths, columns, strict=True)
    ]
    return "".join(
        f"| {' | '.join(map(str.ljust, row, widths))} |\n" for row in [head, rule, *body]
    )


def is_number(cell: str) -> bool:
    return cell.strip("*%").replace(".", "", 1).isdigit() or cell == ABSENT
