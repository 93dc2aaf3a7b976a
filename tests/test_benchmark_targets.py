"""benchmarks/report.py: targets met and missed, what may be absent, and files that lack a part."""

from __future__ import annotations

import argparse
import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import contenders
import gemm
import overhead
import pytest
import report
import report_targets

from convolite import _core
from test_benchmark_report import COMMON, KERNELS, LIMITS, STEPS, cells, network, run, write

WITHOUT_PEER = {**COMMON, "versions": {"convolite": COMMON["versions"]["convolite"]}}


def product(case: dict[str, Any], pass_name: str, threads: int) -> dict[str, Any]:
    thin = case["m"] <= gemm.LARGEST_SKINNY_BATCH
    return {
        **{"name": case["name"], "product": gemm.PRODUCTS[pass_name], "threads": threads},
        **gemm.sizes_of_product(case, pass_name),
        **{"gflops": 90.04, "peak_gflops": 100.0, "share": 0.9, "ratio": 1.25},
        "openblas_gflops": 72.0,
        **({"gbytes": 19.2, "copy_gbytes": 20.0} if thin else {}),
    }


PRODUCTS = {
    **WITHOUT_PEER,
    "threads": 1,
    "rows": [
        product(case, name, threads)
        for threads in (1, 2)
        for case in gemm.cases("")
        for name in gemm.PASSES
    ],
}
OVERHEAD = {
    **WITHOUT_PEER,
    "limits": {"forward": 6.0, "backward": 12.0, "step": 30.0},
    "operations": {
        name: {
            "forward": {"all": 5.0, "core": 1.0, "python": 6.04 if name == "exp" else 4.0},
            "backward": {"all": 15.0, "core": 4.0, "python": 11.0},
        }
        for name in overhead.OPERATIONS
    },
    "steps": {
        name: {"step": 50.0, "traffic": 21.0, "beyond": 29.0, "rule": 24.0, "zero_grad": 2.0}
        for name in overhead.OPTIMIZERS
    },
}


def held(*results: dict[str, Any], level: str = "avx2") -> dict[str, Any]:
    file = copy.deepcopy({**COMMON, "results": list(results)})
    file["versions"]["convolite"]["instruction_set"] = level
    return file


def at_avx512(file: dict[str, Any]) -> dict[str, Any]:
    other = copy.deepcopy(file)
    other["versions"]["convolite"]["instruction_set"] = "avx512"
    return other


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that every page needs; the chart is left out."""
    monkeypatch.setattr(report, "draw", lambda *arguments: None)
    write(tmp_path)
    return tmp_path


def put(folder: Path, **files: dict[str, Any]) -> None:
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))


def everything_at_avx512(folder: Path) -> None:
    for path in folder.glob("*.json"):
        path.write_text(json.dumps(at_avx512(json.loads(path.read_text()))))


def target(page: str, name: str) -> list[str]:
    return cells(page, "## Targets", name)[1:]


def test_met_and_missed_are_computed_from_the_files(folder):
    page = run(folder)
    assert target(page, "training step of sample_cnn, avx2") == ["at least 2.00", "2.50", "met"]
    assert target(page, "training step of resnet20, avx512")[1:] == ["", "not measured"]
    mean = target(page, "single convolutions, geometric mean")
    assert mean == ["at least 1.50", "1.92", "met"]
    assert target(page, "single convolutions, least")[1:] == ["0.50", "**missed**"]
    threads = target(page, "training step of resnet18, all threads in relation to one")
    assert threads == ["at least 1.85", "1.75", "**missed**"]
    assert target(page, "time to an accuracy of 0.99")[1:] == ["2.94", "met"]
    assert target(page, "peak memory of resnet18") == ["at most 0.60", "0.16", "met"]
    words = " ".join(page.split())
    assert "9 met, 2 missed, 15 not measured." in words
    assert (
        "Convolutions below 0.95, slowest first: `dw960_7` forward 0.50; `c16_32` gradient of the "
        "input 0.61. ## Where"
    ) in words


def test_one_slow_shape_misses_and_none_is_said_too(folder):
    rows = [{**row, "ratio": 2.0} for row in KERNELS["rows"]]
    write(folder, rows={**KERNELS, "rows": rows})
    page = run(folder)
    assert target(page, "single convolutions, least")[1:] == ["2.00", "met"]
    assert "No convolution is below 0.95." in page
    rows[5]["ratio"] = 0.9499
    write(folder, rows={**KERNELS, "rows": rows})
    page = run(folder)
    assert target(page, "single convolutions, least")[1:] == ["0.9499", "**missed**"]


@pytest.mark.parametrize(
    ("bound", "measured", "most", "figure", "result"),
    [
        (3.0, 2.9996, False, "2.9996", "**missed**"),
        (3.0, 3.0, False, "3.00", "met"),
        (0.6, 0.6004, True, "0.6004", "**missed**"),
        (0.6, 0.6, True, "0.60", "met"),
        (0.6, 0.5999, True, "0.60", "met"),
    ],
)
def test_no_miss_is_rounded_away(bound, measured, most, figure, result):
    row = report_targets.Target("x", bound, measured, most).row()
    assert row[2:] == [figure, result]


def test_steps_held_to_avx2_have_targets_a_table_and_losses_of_their_own(folder):
    everything_at_avx512(folder)
    put(
        folder,
        train_step_avx2=held(
            network("sample_cnn, batch 64", 1.7, {}), network("resnet18, batch 8", 0.7, {})
        ),
    )
    page = run(folder)
    assert target(page, "training step of sample_cnn, avx512")[1:] == ["2.50", "**missed**"]
    assert target(page, "training step of sample_cnn, avx2")[1:] == ["1.70", "**missed**"]
    heading = "## Training steps held to AVX2"
    assert cells(page, heading, "resnet18, batch 8")[5] == "**0.70**"
    words = " ".join(page.split())
    assert "In 1 of the 2 training steps held to AVX2, slowest first: resnet18, batch 8" in words


def test_a_file_of_another_level_or_without_an_aim_is_refused(folder):
    put(folder, train_step_avx2=held(network("sample_cnn, batch 64", 2.0, {}), level="avx512"))
    with pytest.raises(
        SystemExit, match=r"^report: train_step_avx2.json was not measured with CONVOLITE_ISA=avx2$"
    ):
        run(folder)
    put(folder, train_step_avx2=held(network("sample_cnn, batch 64", 2.0, {})))
    with pytest.raises(SystemExit, match=r"train_step_avx2.json lacks resnet18, batch 8$"):
        run(folder)


def products(changes: dict[tuple[str, int], dict[str, float]]) -> dict[str, Any]:
    """All of them, some changed by name and threads."""
    rows = [{**row, **changes.get((row["name"], row["threads"]), {})} for row in PRODUCTS["rows"]]
    return {**PRODUCTS, "rows": rows}


def test_matrix_products(folder):
    assert "Not measured: `gemm.json` is absent." in run(folder)
    put(folder, gemm=products({("batch_1", 2): {"ratio": 0.9}}))
    page = run(folder)
    section = page.split("## Matrix products\n")[1]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines()]
    sizes = ["A B", "256 x 256 x 2304", "1", "90.0", "72.0", "1.25", "90%"]
    assert ["`peak`", *sizes] in rows
    assert ["`batch_4`", "A B", "1", "19.2", "20.0", "96%"] in rows
    assert "| **0.90** |" in section
    words = " ".join(page.split())
    assert "In 4 of the 152 matrix products beside OpenBLAS, slowest first: `batch_1` A B," in words


def test_targets_of_matrix_products_are_met_or_not_measured(folder):
    names = [
        *(f"matrix products from 256^3 up, of peak, threads {count}" for count in (1, 2)),
        *(f"matrix products from 64^3 up, beside OpenBLAS, threads {count}" for count in (1, 2)),
        *(f"matrix products of batch {batch}, of memory" for batch in (1, 4, 8)),
    ]
    page = run(folder)
    assert [target(page, name)[2] for name in names] == 7 * ["not measured"]
    put(folder, gemm=PRODUCTS)
    page = run(folder)
    figures = 2 * [["at least 0.85", "0.90"]] + 2 * [["at least 1.00", "1.25"]]
    figures += 3 * [["at least 0.95", "0.96"]]
    assert [target(page, name) for name in names] == [[*each, "met"] for each in figures]
    alone = [row for row in PRODUCTS["rows"] if row["threads"] == 1]
    put(folder, gemm={**PRODUCTS, "rows": alone})
    results = [target(run(folder), name)[2] for name in names]
    assert results == ["met", "not measured"] * 2 + 3 * ["met"]


def test_the_least_matrix_product_of_those_aimed_at_counts(folder):
    too_small = {"share": 0.1, "ratio": 0.1}
    changes = {
        ("sample_fc2", 1): too_small,
        ("square_192", 1): {"share": 0.1},
        ("square_256", 1): {"share": 0.8},
        ("square_64", 2): {"ratio": 0.98},
        ("batch_4", 2): {"gbytes": 15.0},
    }
    put(folder, gemm=products(changes))
    page = run(folder)
    found = {
        name: target(page, f"matrix products {name}")[1:]
        for name in [
            *("from 256^3 up, of peak, threads 1", "from 256^3 up, of peak, threads 2"),
            *("from 64^3 up, beside OpenBLAS, threads 1",),
            *("from 64^3 up, beside OpenBLAS, threads 2", "of batch 4, of memory"),
            *("of batch 8, of memory",),
        ]
    }
    assert list(found.values()) == [
        *(["0.80", "**missed**"], ["0.90", "met"], ["1.25", "met"]),
        *(["0.98", "**missed**"], ["0.75", "**missed**"], ["0.96", "met"]),
    ]


def test_matrix_products_of_some_shapes_alone_are_refused(folder):
    lost = ("square_96", "A B^T", 2)
    kept = [
        row for row in PRODUCTS["rows"] if (row["name"], row["product"], row["threads"]) != lost
    ]
    put(folder, gemm={**PRODUCTS, "rows": kept})
    with pytest.raises(SystemExit, match=r"^report: gemm.json lacks square_96 A B\^T, threads 2$"):
        run(folder)


def test_overhead_and_its_targets(folder):
    assert "Not measured: `overhead.json` is absent." in run(folder)
    put(folder, overhead=OVERHEAD)
    page = run(folder)
    assert cells(page, "## Overhead", "exp")[1:] == ["**6.04**", "11.0"]
    assert cells(page, "## Overhead", "AdamW")[1:] == ["50.0", "21.0", "29.0", "24.0", "2.0"]
    assert target(page, "Python in an operation, forward, us, most")[1:] == ["6.04", "**missed**"]
    assert target(page, "optimizer step beyond its traffic, us, most")[1:] == ["29.00", "met"]


@pytest.mark.parametrize(
    ("file", "rows", "lost"),
    [
        ("train_step", STEPS["results"], "sample_cnn, batch 64"),
        ("limits", LIMITS["results"], "sample_cnn, batch 64"),
        ("kernels", KERNELS["rows"], "sample1 forward"),
    ],
)
def test_a_file_that_lacks_a_network_or_a_shape_is_refused(folder, file, rows, lost):
    path = folder / f"{file}.json"
    content = json.loads(path.read_text())
    content["rows" if file == "kernels" else "results"] = rows[1:]
    path.write_text(json.dumps(content))
    with pytest.raises(SystemExit, match=rf"^report: {file}.json lacks {lost}$"):
        run(folder)


def test_overhead_of_some_operations_alone_is_refused(folder):
    operations = {name: row for name, row in OVERHEAD["operations"].items() if name != "exp"}
    put(folder, overhead={**OVERHEAD, "operations": operations})
    with pytest.raises(SystemExit, match=r"^report: overhead.json lacks exp$"):
        run(folder)


def test_a_step_that_took_less_than_its_traffic_is_refused(folder):
    noise = {**OVERHEAD["steps"]["Adam"], "step": 20.0, "beyond": -1.0}
    put(folder, overhead={**OVERHEAD, "steps": {**OVERHEAD["steps"], "Adam": noise}})
    with pytest.raises(
        SystemExit,
        match=r"^report: overhead.json has a step of Adam that took less than its traffic; ",
    ):
        run(folder)


def turns(step: float, traffic: float) -> list[list[float]]:
    return [3 * [step], 3 * [traffic], 3 * [1.0]]


def test_a_step_faster_than_its_traffic_is_measured_again(monkeypatch):
    answers = iter([turns(20.0, 21.0), turns(40.0, 30.0), [3 * [2.0]]])
    monkeypatch.setattr(overhead, "in_turn", lambda *arguments: next(answers))
    row = overhead.measure_step("SGD", argparse.Namespace(rounds=3, calls=1))
    figures = {"step": 40.0, "traffic": 30.0, "beyond": 10.0, "rule": 1.0, "zero_grad": 2.0}
    assert row == figures


def test_a_step_always_faster_than_its_traffic_gives_no_figure(monkeypatch):
    monkeypatch.setattr(overhead, "in_turn", lambda *arguments: turns(20.0, 21.0))
    with pytest.raises(
        SystemExit,
        match=r"^overhead: a step of SGD took less than its traffic alone in 5 measurements "
        r"\(20.0 and 21.0 us in the last\); measure when nothing else runs$",
    ):
        overhead.measure_step("SGD", argparse.Namespace(rounds=3, calls=1))


@pytest.mark.parametrize("level", ["baseline", "avx2"])
def test_peers_are_held_to_avx2_where_convolite_is(level):
    if level not in _core.config()["supported_isas"]:
        pytest.skip(f"needs {level}")
    program = "import contenders, json; print(json.dumps(contenders.peer_environment()))"
    paths = os.pathsep.join([str(Path(contenders.__file__).parent), *sys.path])
    environment = {**os.environ, "CONVOLITE_ISA": level, "PYTHONPATH": paths}
    environment.pop("ATEN_CPU_CAPABILITY", None)
    command = [sys.executable, "-c", program]
    answer = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
    found = json.loads(answer.stdout)
    expected = "avx2" if level == "avx2" else None
    assert found.get("ATEN_CPU_CAPABILITY") == expected
    if level == "avx2":
        assert found["ONEDNN_MAX_CPU_ISA"] == "AVX2"
