"""benchmarks/report.py: the page that it writes, and the files that it refuses."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import kernels
import pytest
import report
import report_tables
import train_step

COMMON = {
    "date": "2026-01-02",
    "machine": {"processor": "Some CPU", "cores": 2, "system": "Linux x86_64 glibc 2.36"},
    "versions": {
        "convolite": {
            "convolite": "0.1.0",
            "compiler": "g++ 12.2.0",
            "instruction_set": "avx2",
            "numpy": "2.0.0",
            "python": "3.11.7",
        },
        "pytorch": {"torch": "2.13.0", "numpy": "2.1.0", "python": "3.12.1"},
    },
    "threads": 2,
    "rounds": 3,
}


def network(name: str, ratio: float, absent: dict[str, str]) -> dict[str, Any]:
    contenders = {
        "convolite": {"median_ms": 10.0, "quartile_ms": 9.0, "peak_mib": 57.0},
        "eager": {"median_ms": 10 * ratio, "quartile_ms": 9.9 * ratio, "peak_mib": 346.0},
        "channels_last": {"median_ms": 20 * ratio, "quartile_ms": 19.0, "peak_mib": 350.0},
        "compile": {"median_ms": 30 * ratio, "quartile_ms": 29.0, "peak_mib": 429.0},
    }
    return {
        "network": name,
        "contenders": {key: row for key, row in contenders.items() if key not in absent},
        "absent": absent,
        "ratio_median_ms": ratio,
        "ratio_quartile_ms": 1.1 * ratio,
        "round_trip_ns": [85.4, None],
    }


def shape(name: str, pass_name: str, ratio: float) -> dict[str, Any]:
    return {
        "shape": name,
        "problem": "64x16x32x32, 16 of 3x3",
        "pass": pass_name,
        "convolite": 100.0,
        "nchw": 50.0 / ratio,
        "channels_last": 100.0 / ratio,
        "of_peak": 1.25,
        "ratio": ratio,
    }


TITLES = [f"{name}, batch {each.batch}" for name, each in train_step.NETWORKS.items()]
LOST = "mobilenet_v2, batch 8"
STEPS = {
    **COMMON,
    "results": [
        *(network(title, 2.5, {}) for title in TITLES if title != LOST),
        network(LOST, 0.8, {"compile": "InductorError: no compiler"}),
    ],
}
RATIOS = {
    ("c16_32", "backward_input"): 0.61,
    ("dw960_7", "forward"): 0.5,
    ("dw960_7", "backward_input"): 0.996,
}
KERNELS = {
    **COMMON,
    "gflops": 190.4,
    "rows": [
        shape(case["name"], name, RATIOS.get((case["name"], name), 2.0))
        for case in kernels.cases("")
        for name in kernels.PASSES
    ],
}


LIMITS = {
    **COMMON,
    "versions": {"convolite": COMMON["versions"]["convolite"]},
    "gflops": 187.4,
    "gigabytes_per_second": 30.46,
    "cache_mib": 32.0,
    "results": [
        {
            "network": name,
            "definition_gmac": 42.594,
            "needed_gmac": 16.816,
            "traffic_mib": 1271.1,
            "in_cache": in_cache,
            "arithmetic_ms": 180.0,
            "memory_ms": 60.04,
            "greater_ms": 180.0,
            "sum_ms": 180.0 if in_cache else 240.0,
            "median_ms": 400.0,
            "quartile_ms": 390.0,
            "one_thread_median_ms": 700.0,
            "one_thread_quartile_ms": 741.0,
            "shares": {"conv forward": 0.304, "other": 0.196, "Python": 0.5},
        }
        for name, in_cache in zip(TITLES, [True, False, False, False, False], strict=True)
    ],
}


def training(seconds: float, epochs: int, reached: bool = True) -> dict[str, Any]:
    return {"seconds": seconds, "epochs": epochs, "reached": reached}


ACCURACY = {
    **COMMON,
    "target": 0.99,
    "runs": {
        "convolite": [training(20.04, 2), training(31.0, 3)],
        "pytorch": [training(60.0, 2), training(90.0, 3, reached=False)],
    },
    "median_seconds": {"convolite": 25.52, "pytorch": 75.0},
    "ratio": 2.94,
}


def write(folder: Path, steps: dict[str, Any] = STEPS, rows: dict[str, Any] = KERNELS) -> None:
    files = {
        "train_step": steps,
        "kernels": rows,
        "limits": LIMITS,
        "time_to_accuracy": ACCURACY,
    }
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))


def run(folder: Path) -> str:
    page, figure = folder / "benchmarks.md", folder / "images" / "benchmarks.svg"
    options = {"--results": folder, "--page": page, "--figure": figure}
    assert report.main([str(word) for pair in options.items() for word in pair]) == 0
    return page.read_text()


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The page, without its chart."""
    monkeypatch.setattr(report, "draw", lambda *arguments: None)
    write(tmp_path)
    return run(tmp_path)


def cells(page: str, heading: str, name: str) -> list[str]:
    """The row of a table that begins with this name, in the section of this heading."""
    section = page.split(f"{heading}\n", 1)[1].split("\n#", 1)[0]
    (line,) = (line for line in section.splitlines() if line.startswith(f"| {name} "))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_what_is_slower_is_named_first_the_slowest_before_the_others(page):
    words = " ".join(page.split())
    assert "In 1 of the 5 training steps, slowest first: mobilenet_v2, batch 8 0.80." in words
    assert (
        "In 3 of the 84 convolutions (shape and pass), slowest first: `dw960_7` forward 0.50; "
        "`c16_32` gradient of the input 0.61; `dw960_7` gradient of the input 0.996."
    ) in words
    assert page.index("## Where convolite is slower") < page.index("## Training steps")


@pytest.mark.parametrize(
    ("value", "text"), [(0.9, "0.90"), (0.996, "0.996"), (0.99996, "0.99996"), (1.0, "1.00")]
)
def test_no_loss_is_rounded_away(value, text):
    assert report_tables.digits(value) == text


def test_nothing_slower_is_said_too():
    assert report_tables.losses([(1.5, "a"), (1.0, "b")], "training steps") == (
        "In none of the 2 training steps."
    )


def test_every_network_and_every_shape_is_in_a_table(page):
    steps = "## Training steps"
    assert cells(page, steps, "sample_cnn, batch 64")[1:] == [
        *("10.0", "25.0", "50.0", "75.0", "2.50", "2.75", "85, -")
    ]
    assert cells(page, steps, "mobilenet_v2, batch 8")[1:] == [
        *("10.0", "8.0", "16.0", "-", "**0.80**", "**0.88**", "85, -")
    ]
    memory = cells(page, "## Memory of the training steps", "mobilenet_v2, batch 8")
    assert memory[1:] == ["57", "346", "350", "-"]
    for heading, name, figures in [
        ("### Forward", "`c16_32`", ["100", "25", "50", "2.00", "125%"]),
        ("### Forward", "`dw960_7`", ["100", "100", "200", "**0.50**", "125%"]),
        ("### Gradient of the input", "`c16_32`", ["100", "82", "164", "**0.61**", "125%"]),
        ("### Gradient of the input", "`dw960_7`", ["100", "50", "100", "**0.996**", "125%"]),
    ]:
        assert cells(page, heading, name)[1:] == ["64x16x32x32, 16 of 3x3", *figures]
    assert "reach in registers, at best\n190 GFLOP/s in the same run." in page


def test_limits_are_shares_of_the_step_and_memory_is_none_inside_the_cache(page):
    words = " ".join(page.split())
    assert "187 GFLOP/s and, read and written bytes together, 30.5 GB/s." in words
    assert "the last-level cache of 32 MiB" in words
    heading = "## Limits"
    assert cells(page, heading, "resnet18, batch 8")[1:] == [
        *("42.59", "16.82", "1271", "180.0", "60.0", "400.0", "45%", "60%")
    ]
    assert cells(page, heading, "sample_cnn, batch 64")[5:] == ["-", "400.0", "45%", "45%"]


def test_steps_with_one_thread(page):
    assert cells(page, "### Threads", "resnet18, batch 8")[1:] == ["700.0", "400.0", "1.75", "1.90"]


def test_shares_of_a_steps_time(page):
    heading = "### Where a step's time goes"
    assert cells(page, heading, "network")[1:] == ["conv forward", "other", "Python"]
    assert cells(page, heading, "resnet18, batch 8")[1:] == ["30%", "20%", "50%"]


def test_time_to_accuracy_names_every_run_and_misses(page):
    heading = "## Time to accuracy"
    assert "--target-accuracy 0.99`" in page
    assert cells(page, heading, "convolite")[1:] == ["25.5", "20.0, 31.0", "2, 3"]
    assert cells(page, heading, "PyTorch")[1:] == ["75.0", "60.0, 90.0", "2, 3 (missed)"]
    assert "The ratio of the medians is 2.94." in page


def test_machine_versions_means_and_reasons_are_there(page):
    for text in [
        "Some CPU, 2 cores",
        "avx2",
        "0.1.0, g++ 12.2.0, Python 3.11.7, numpy 2.0.0",
        "2.13.0, Python 3.12.1, numpy 2.1.0",
        "2026-01-02",
        "compile did not run with mobilenet_v2, batch 8: `InductorError: no compiler`",
        "](images/benchmarks.svg)",
    ]:
        assert text in page
    means = cells(page, "## Single convolutions", "Forward")
    assert means[1:] == ["1.90", "**0.50** (`dw960_7`)", "2.00 (`stem7`)"]


@pytest.mark.parametrize("file", ["kernels", "limits", "time_to_accuracy"])
def test_files_of_two_setups_are_refused(tmp_path, file):
    write(tmp_path)
    path = tmp_path / f"{file}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "threads": 1}))
    expected = rf"^report: train_step.json and {file}.json differ in threads: 2 and 1$"
    with pytest.raises(SystemExit, match=expected):
        run(tmp_path)


def test_files_without_pytorch_or_missing_ones_are_refused(tmp_path):
    with pytest.raises(SystemExit, match=r"^report: .*train_step.json is missing; it is written"):
        run(tmp_path)
    alone = copy.deepcopy(STEPS)
    del alone["versions"]["pytorch"]
    write(tmp_path, steps=alone)
    with pytest.raises(SystemExit, match=r"train_step.json compares nothing with PyTorch"):
        run(tmp_path)
    assert not (tmp_path / "benchmarks.md").exists()


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    write(tmp_path)
    with pytest.raises(SystemExit, match=r"matplotlib: pip install \"convolite\[bench\]\"$"):
        run(tmp_path)
    assert not (tmp_path / "benchmarks.md").exists()


def test_the_chart_has_every_name_and_is_the_same_again(tmp_path):
    pytest.importorskip("matplotlib")
    write(tmp_path)
    run(tmp_path)
    figure = tmp_path / "images" / "benchmarks.svg"
    first = figure.read_text()
    for name in ("sample_cnn, batch 64", "mobilenet_v2, batch 8", "c16_32", "dw960_7", "0.61"):
        assert f">{name}</text>" in first
    run(tmp_path)
    assert figure.read_text() == first


def test_shapes_are_described_from_their_row():
    rows = {row["name"]: kernels.in_words(row) for row in kernels.cases("")}
    assert rows["sample1"] == "64x1x28x28, 32 of 3x3"
    assert rows["p64s2"] == "8x64x56x56, 128 of 1x1, stride 2"
    assert rows["dw576_14s2"] == "8x576x14x14, 576 of 3x3, stride 2, 576 groups"
