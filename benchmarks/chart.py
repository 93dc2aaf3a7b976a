"""Draws the ratios of docs/benchmarks.md. matplotlib is needed for drawing alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

INK, SOFT = "#1f2933", "#8795a1"
BLUE, ORANGE, GREEN = "#2b6cb0", "#c05621", "#2f855a"
PASSES = {
    "forward": ("forward", BLUE),
    "backward_input": ("gradient of the input", ORANGE),
    "backward_weight": ("gradient of the filters", GREEN),
}
ROW = 0.36  # inches
TICKS = (0.25, 0.5, 0.7, 1, 1.5, 2, 3, 4, 6, 10, 20)


def draw(results: list[dict[str, Any]], rows: list[dict[str, Any]], path: Path) -> None:
    """Write the chart: a panel of networks, and one of shapes with a bar for each pass."""
    try:
        import matplotlib
    except ImportError:
        raise SystemExit(
            'report: the chart needs matplotlib: pip install "convolite[bench]"'
        ) from None
    matplotlib.use("svg")
    from matplotlib import pyplot

    # Text stays text, and equal figures give equal files.
    style = {"svg.fonttype": "none", "svg.hashsalt": "convolite", "font.size": 9}
    style |= {"font.family": "sans-serif", "text.color": INK, "axes.labelcolor": INK}
    shapes = list(dict.fromkeys(row["shape"] for row in rows))
    heights = [len(results) + 1.5, 1.6 * len(shapes) + 1.5]
    with pyplot.rc_context(style):
        figure, (top, bottom) = pyplot.subplots(
            2,
            figsize=(8.5, ROW * sum(heights) / 1.2 + 0.8),
            height_ratios=heights,
            layout="constrained",
        )
        # Another font's letters may be wider than those that the room was made for.
        figure.get_layout_engine().set(w_pad=0.2, h_pad=0.1)
        draw_networks(top, results)
        draw_shapes(bottom, rows, shapes)
        figure.savefig(path, metadata={"Date": None})
        pyplot.close(figure)


def draw_networks(axes: Any, results: list[dict[str, Any]]) -> None:
    ratios = [result["ratio_median_ms"] for result in results]
    names = [result["network"] for result in results]
    bars(axes, list(range(len(ratios))), ratios, 0.6, BLUE)
    finish(axes, names, ratios, "Training steps")


def draw_shapes(axes: Any, rows: list[dict[str, Any]], shapes: list[str]) -> None:
    for i, (name, (label, color)) in enumerate(PASSES.items()):
        found = [row for row in rows if row["pass"] == name]
        places = [shapes.index(row["shape"]) + 0.28 * (i - 1) for row in found]
        bars(axes, places, [row["ratio"] for row in found], 0.26, color, label)
    axes.legend(frameon=False, ncols=3, loc="lower right", bbox_to_anchor=(1.0, 0.99))
    finish(axes, shapes, [row["ratio"] for row in rows], "Single convolutions")


def bars(
    axes: Any, places: list[float], ratios: list[float], height: float, color: str, label: str = ""
) -> None:
    """Bars from 1 to the right where convolite is faster, to the left where it is slower."""
    lengths = [ratio - 1 for ratio in ratios]
    axes.barh(places, lengths, height, left=1, color=color, label=label or None)
    for place, ratio in zip(places, ratios, strict=True):
        axes.annotate(
            f"{ratio:.2f}",
            (ratio, place),
            xytext=(3 if ratio >= 1 else -3, 0),
            textcoords="offset points",
            ha="left" if ratio >= 1 else "right",
            va="center_baseline",
            fontsize=7 if height < 0.5 else 9,
        )


def finish(axes: Any, names: list[str], ratios: list[float], title: str) -> None:
    """Names down the side; equal distances for equal ratios, so that 2 and 1/2 look alike."""
    axes.set_xscale("log")
    # Beside the longest bars there must be room for their figures.
    axes.set_xlim(min(0.8, *ratios) / 1.25, max(1.25, *ratios) * 1.25)
    lowest, highest = axes.get_xlim()
    ticks = [tick for tick in TICKS if lowest <= tick <= highest]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.axvline(1, color=INK, linewidth=1)
    axes.grid(axis="x", color=SOFT, alpha=0.3, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.set_title(title, loc="left", fontweight="bold", fontsize=10)
    axes.set_xlabel("speed in relation to PyTorch's best: right of 1 convolite is faster")
