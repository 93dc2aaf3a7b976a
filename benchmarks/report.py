"""Write docs/benchmarks.md and its chart from what the measurements left in benchmarks/results.

    python benchmarks/train_step.py --peer-python PATH --json benchmarks/results/train_step.json
    python benchmarks/kernels.py --peer-python PATH --json benchmarks/results/kernels.json
    python benchmarks/limits.py --json benchmarks/results/limits.json
    python benchmarks/time_to_accuracy.py --peer-python PATH --data-dir FOLDER \\
        --json benchmarks/results/time_to_accuracy.json
    python benchmarks/report.py                     # needs matplotlib

`train_step_avx2.json` of a run with CONVOLITE_ISA=avx2, `gemm.json` and `overhead.json` are taken
in if they are there.

Nothing is measured here, and nothing is left out: every network and every shape of the files is
in a table, what is slower than PyTorch stands before the rest, and files that lack a network or a
shape are refused. The sections are in `report_sections` and `report_extras`, the targets in
`report_targets`, and the chart is drawn in `chart`.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import gemm
from chart import draw
from kernels import PASSES, cases
from report_extras import avx2_section, overhead_section, products_section
from report_sections import (
    TITLES,
    accuracy_sections,
    kernel_sections,
    limits_sections,
    memory_sections,
    steps_sections,
)
from report_tables import losses, table
from report_targets import STEP_TARGETS, targets_section
from train_step import NETWORKS

ROOT = Path(__file__).resolve().parents[1]
TOGETHER = ("machine", "versions", "threads")  # the same in all files

INTRODUCTION = """\
# How fast: beside PyTorch

Written by `python benchmarks/report.py` from the files in `benchmarks/results`;
[contributing](../CONTRIBUTING.md#measure) has the commands that measure. convolite and PyTorch took
turns in one run, and their results were compared.
PyTorch's threads are bound to cores, which is its best; convolite runs as a user starts it. A
**ratio** is convolite's speed in relation to PyTorch's best: above 1 convolite is faster, below 1
it is slower. Ratios below 1 are bold.
"""


class Files(NamedTuple):
    """What the measurements wrote; None for those that may be absent and are."""

    steps: dict[str, Any]
    kernels: dict[str, Any]
    limits: dict[str, Any]
    accuracy: dict[str, Any]
    held: dict[str, Any] | None  # training steps held to AVX2
    products: dict[str, Any] | None
    overhead: dict[str, Any] | None


def main(given: list[str] | None = None) -> int:
    arguments = parse_arguments(given)
    files = read_all(arguments.results)
    check_completeness(files)
    arguments.figure.parent.mkdir(parents=True, exist_ok=True)
    draw(files.steps["results"], files.kernels["rows"], arguments.figure)
    figure = Path(os.path.relpath(arguments.figure, arguments.page.parent)).as_posix()
    arguments.page.write_text(page(files, figure), encoding="utf-8")
    return 0


def parse_arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "benchmarks.md")
    parser.add_argument("--figure", type=Path, default=ROOT / "docs" / "images" / "benchmarks.svg")
    return parser.parse_args(given)


def read_all(folder: Path) -> Files:
    """All files, if they belong together."""
    steps = read(folder / "train_step.json", "results")
    others = {
        "kernels": read(folder / "kernels.json", "rows"),
        "limits": read(folder / "limits.json", "results", beside_torch=False),
        "time_to_accuracy": read(folder / "time_to_accuracy.json", "runs"),
    }
    may_be_absent = {"train_step_avx2": "results", "gemm": "rows", "overhead": "steps"}
    extras = {
        name: read(folder / f"{name}.json", rows, beside_torch=rows == "results")
        if (folder / f"{name}.json").is_file()
        else None
        for name, rows in may_be_absent.items()
    }
    for name, other in [*others.items(), *extras.items()]:
        if other is not None:
            check_together(steps, name, other)
    return Files(steps, *others.values(), *extras.values())


def check_together(steps: dict[str, Any], name: str, other: dict[str, Any]) -> None:
    """Refuse a file of another setup.

    One without PyTorch has no version of it, products have threads of their own, and what was held
    to AVX2 differs in the instruction sets.
    """
    expected = {each: steps[each] for each in TOGETHER}
    found = {each: other.get(each, {}) for each in TOGETHER}
    found["versions"] = {**steps["versions"], **found["versions"]}
    if name == "gemm":
        del expected["threads"]
    if name == "train_step_avx2":
        if other["versions"]["convolite"]["instruction_set"] != "avx2":
            raise SystemExit(
                "report: train_step_avx2.json was not measured with CONVOLITE_ISA=avx2"
            )
        found["versions"], expected["versions"] = map(
            without_level, (found["versions"], expected["versions"])
        )
    for each, value in expected.items():
        if value != found[each]:
            raise SystemExit(
                f"report: train_step.json and {name}.json differ in {each}: "
                f"{value} and {found[each]}"
            )


def without_level(versions: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {key: value for key, value in each.items() if key != "instruction_set"}
        for name, each in versions.items()
    }


def read(path: Path, rows: str, beside_torch: bool = True) -> dict[str, Any]:
    """What a measurement wrote, if PyTorch took part in it where it should."""
    peer = "--peer-python PATH " if beside_torch else ""
    command = f"benchmarks/{path.stem}.py {peer}--json {path}"
    if not path.is_file():
        raise SystemExit(f"report: {path} is missing; it is written by {command}")
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if beside_torch and ("pytorch" not in report["versions"] or not report[rows]):
        raise SystemExit(f"report: {path} compares nothing with PyTorch; measure with {command}")
    return report


def check_completeness(files: Files) -> None:
    """Refuse files that lack something: a part that was left out might be a slow one."""
    titles = [f"{name}, batch {network.batch}" for name, network in NETWORKS.items()]
    for name, file in (("train_step", files.steps), ("limits", files.limits)):
        check_all(name, titles, (each["network"] for each in file["results"]))
    shapes = [f"{case['name']} {name}" for case in cases("") for name in PASSES]
    rows = files.kernels["rows"]
    check_all("kernels", shapes, (f"{row['shape']} {row['pass']}" for row in rows))
    if files.held is not None:
        aimed_at = [title for title in titles if title.split(",")[0] in STEP_TARGETS["avx2"]]
        check_all("train_step_avx2", aimed_at, (each["network"] for each in files.held["results"]))
    if files.products is not None:
        check_products(files.products["rows"])
    if files.overhead is not None:
        from overhead import OPERATIONS, OPTIMIZERS

        check_all("overhead", OPERATIONS, files.overhead["operations"])
        check_all("overhead", OPTIMIZERS, files.overhead["steps"])
        check_steps(files.overhead["steps"])


def check_products(rows: list[dict[str, Any]]) -> None:
    """Every product with every number of threads that any was measured with."""
    expected = (
        f"{case['name']} {product}, threads {threads}"
        for threads in sorted({row["threads"] for row in rows})
        for case in gemm.cases("")
        for product in gemm.PRODUCTS.values()
    )
    found = (f"{row['name']} {row['product']}, threads {row['threads']}" for row in rows)
    check_all("gemm", expected, found)


def check_steps(steps: dict[str, Any]) -> None:
    """Refuse a step that took less than the traffic in it: it would pass for met."""
    for name, row in steps.items():
        if row["beyond"] < 0:
            raise SystemExit(
                f"report: overhead.json has a step of {name} that took less than its traffic; "
                "measure it again with benchmarks/overhead.py"
            )


def check_all(file: str, expected: Iterable[str], found: Iterable[str]) -> None:
    measured = set(found)
    lacking = [name for name in expected if name not in measured]
    if lacking:
        raise SystemExit(f"report: {file}.json lacks {', '.join(lacking)}")


def page(files: Files, figure: str) -> str:
    """The whole text."""
    results, rows = files.steps["results"], files.kernels["rows"]
    by_level = {
        each["versions"]["convolite"]["instruction_set"]: each
        for each in (files.held, files.steps)
        if each is not None
    }
    parts = [
        INTRODUCTION,
        setup(files.steps, [each for each in files[1:] if each is not None]),
        *targets_section(by_level, *files[:4], files.products, files.overhead),
        slower(results, rows, files.held, files.products),
        f"![Speed in relation to PyTorch's best, by network and by convolution]({figure})\n",
        *steps_sections(results),
        *avx2_section(files.held),
        *memory_sections(results),
        *limits_sections(files.limits),
        *accuracy_sections(files.accuracy),
        *kernel_sections(files.kernels),
        *products_section(files.products),
        *overhead_section(files.overhead),
    ]
    return "\n".join(part for part in parts if part)


def setup(steps: dict[str, Any], others: list[dict[str, Any]]) -> str:
    machine, versions = steps["machine"], steps["versions"]
    ours, peer = versions["convolite"], versions["pytorch"]
    dates = sorted({each["date"] for each in [steps, *others]})
    return table(
        ["measured with", ""],
        [
            ["processor", f"{machine['processor']}, {machine['cores']} cores"],
            ["system", machine["system"]],
            ["threads", str(steps["threads"])],
            ["convolite", f"{ours['convolite']}, {ours['compiler']}, {with_python(ours)}"],
            ["instruction set", ours["instruction_set"]],
            ["PyTorch", ", ".join([peer["torch"], *known_level(peer), with_python(peer)])],
            ["turns", f"{steps['rounds']} of each network, {others[0]['rounds']} of each shape"],
            ["date", " and ".join(dates)],
        ],
    )


def known_level(peer: dict[str, str]) -> list[str]:
    return [peer["instruction_set"]] if "instruction_set" in peer else []


def with_python(versions: dict[str, str]) -> str:
    return f"Python {versions['python']}, numpy {versions['numpy']}"


def slower(
    results: list[dict[str, Any]],
    rows: list[dict[str, Any]],
    held: dict[str, Any] | None,
    products: dict[str, Any] | None,
) -> str:
    """What convolite loses, the worst first."""
    shapes = [(row["ratio"], f"`{row['shape']}` {TITLES[row['pass']].lower()}") for row in rows]
    paragraphs = [
        "## Where convolite is slower",
        losses(networks(results), "training steps"),
        losses(shapes, "convolutions (shape and pass)"),
    ]
    if held is not None:
        paragraphs.append(losses(networks(held["results"]), "training steps held to AVX2"))
    if products is not None:
        cases = [
            (row["ratio"], f"`{row['name']}` {row['product']}, threads {row['threads']}")
            for row in products["rows"]
        ]
        paragraphs.append(losses(cases, "matrix products beside OpenBLAS"))
    return "\n\n".join(paragraphs) + "\n"


def networks(results: list[dict[str, Any]]) -> list[tuple[float, str]]:
    return [(each["ratio_median_ms"], each["network"]) for each in results]


if __name__ == "__main__":
    raise SystemExit(main())
