"""Draws the figures of the lesson as SVG files: python docs/images/make_figures.py.

Plain Python that writes text; what the figures say about sizes is computed or named here once.
"""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

INK, SOFT, PAPER = "#1f2933", "#8795a1", "#ffffff"
BLUE, BLUE_PALE = "#2b6cb0", "#dbeafe"
ORANGE, ORANGE_PALE = "#c05621", "#feebc8"
GREEN, GREEN_PALE = "#2f855a", "#d5f0df"
PURPLE_PALE, GREY_PALE = "#e9d8fd", "#eef1f4"
FONT = "font-family='DejaVu Sans, Verdana, Arial, sans-serif'"

TILE_ROWS, LANES, VECTORS = 6, 8, 2  # the AVX2 tile for float: 6 pixels x 16 channels


class Figure:
    """A drawing of a given size, filled by shapes and written once."""

    def __init__(self, name: str, width: int, height: int, title: str) -> None:
        self.path = Path(__file__).with_name(f"{name}.svg")
        self.parts = [
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' "
            f"width='{width}' height='{height}' role='img' {FONT}>",
            f"<title>{escape(title)}</title>",
            "<defs><marker id='head' markerWidth='9' markerHeight='8' refX='8' refY='4' "
            f"orient='auto'><path d='M0,0 L9,4 L0,8 z' fill='{INK}'/></marker></defs>",
            f"<rect width='{width}' height='{height}' fill='{PAPER}'/>",
        ]

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        fill: str = "none",
        stroke: str = SOFT,
        line: float = 1,
        dashed: bool = False,
    ) -> None:
        """Draw a rectangle."""
        dash = " stroke-dasharray='4 3'" if dashed else ""
        self.parts.append(
            f"<rect x='{x:g}' y='{y:g}' width='{width:g}' height='{height:g}' fill='{fill}' "
            f"stroke='{stroke}' stroke-width='{line:g}'{dash}/>"
        )

    def text(
        self,
        x: float,
        y: float,
        words: str,
        size: int = 13,
        anchor: str = "middle",
        color: str = INK,
        bold: bool = False,
    ) -> None:
        """Write one line; (x, y) is on its baseline."""
        weight = " font-weight='bold'" if bold else ""
        self.parts.append(
            f"<text x='{x:g}' y='{y:g}' font-size='{size}' text-anchor='{anchor}' "
            f"fill='{color}'{weight}>{escape(words)}</text>"
        )

    def line(self, x: float, y: float, dx: float, dy: float, dashed: bool = False) -> None:
        """Draw a thin line from (x, y) by (dx, dy)."""
        style = f"stroke='{INK}' stroke-dasharray='5 3'" if dashed else f"stroke='{SOFT}'"
        self.parts.append(f"<path d='M{x:g},{y:g} l{dx:g},{dy:g}' {style}/>")

    def arrow(self, *points: tuple[float, float]) -> None:
        """Draw an arrow through these points."""
        path = " L".join(f"{x:g},{y:g}" for x, y in points)
        self.parts.append(
            f"<path d='M{path}' fill='none' stroke='{INK}' stroke-width='1.4' "
            "marker-end='url(#head)'/>"
        )

    def brace(self, x: float, y: float, width: float, height: float) -> None:
        """Draw a dimension line with a tick at both ends; one of width and height is 0."""
        tick = 4
        dx, dy = (0, tick) if height == 0 else (tick, 0)
        self.parts.append(
            f"<path d='M{x - dx:g},{y - dy:g} L{x + dx:g},{y + dy:g} M{x:g},{y:g} "
            f"L{x + width:g},{y + height:g} M{x + width - dx:g},{y + height - dy:g} "
            f"L{x + width + dx:g},{y + height + dy:g}' fill='none' stroke='{INK}' "
            "stroke-width='1.2'/>"
        )

    def cells(
        self, x: float, y: float, side: float, values: list[list[str]], fill: str = PAPER
    ) -> None:
        """Draw a grid of squares with a word in each."""
        for i, row in enumerate(values):
            for j, value in enumerate(row):
                self.box(x + j * side, y + i * side, side, side, fill)
                self.text(x + (j + 0.5) * side, y + (i + 0.5) * side + 4.5, value)

    def paragraph(self, x: float, y: float, lines: list[str], anchor: str = "start") -> None:
        """Write lines below each other."""
        for i, words in enumerate(lines):
            self.text(x, y + 20 * i, words, 13, anchor)

    def write(self) -> None:
        """Write the file."""
        self.path.write_text("\n".join([*self.parts, "</svg>"]) + "\n", encoding="utf-8")


def convolution() -> None:
    """One window of a 3x3 filter on a zero-padded 5x5 image, worked out in numbers."""
    image = [[1, 2, 0, 1, 3], [0, 3, 1, 2, 2], [2, 1, 4, 0, 1], [1, 0, 2, 3, 1], [2, 2, 1, 0, 4]]
    weight = [[1, 0, -1], [2, 0, -2], [1, 0, -1]]
    size, side, row, column = 5, 28, 0, 3
    padded = [[0] * (size + 2), *([0, *line, 0] for line in image), [0] * (size + 2)]
    products = [(padded[row + r][column + s], weight[r][s]) for r in range(3) for s in range(3)]
    result = sum(value * factor for value, factor in products)

    figure = Figure("convolution", 700, 320, "A 3x3 window slides over a zero-padded image")
    left, top = 20, 54
    figure.text(left + 3.5 * side, 24, "input, 5 × 5, with a border", bold=True)
    figure.text(left + 3.5 * side, 42, "of zeros: padding = 1")
    for i, line in enumerate(padded):
        for j, value in enumerate(line):
            inside = 0 < i <= size and 0 < j <= size
            x, y = left + j * side, top + i * side
            figure.box(x, y, side, side, BLUE_PALE if inside else GREY_PALE, dashed=not inside)
            color = INK if inside else SOFT
            figure.text(x + side / 2, y + side / 2 + 5, str(value), color=color)
    window_x, window_y = left + column * side, top + row * side
    figure.box(window_x, window_y, 3 * side, 3 * side, "none", ORANGE, 3)

    filter_x, filter_y = 312, 82
    figure.text(filter_x + 1.5 * side, 42, "filter, 3 × 3:", bold=True)
    figure.text(filter_x + 1.5 * side, 60, "nine taps (r, s)")
    figure.cells(filter_x, filter_y, side, [[str(v) for v in line] for line in weight], ORANGE_PALE)
    figure.box(filter_x, filter_y, 3 * side, 3 * side, "none", ORANGE, 3)
    figure.arrow((left + 7 * side + 6, filter_y + 42), (filter_x - 6, filter_y + 42))

    out_x, out_y = 530, 82
    figure.text(out_x + 2.5 * side, 42, "output, 5 × 5", bold=True)
    figure.text(out_x + 2.5 * side, 60, f"pixel y = {row}, x = {column}")
    for i in range(size):
        for j in range(size):
            figure.box(out_x + j * side, out_y + i * side, side, side, GREEN_PALE)
    pixel_x = out_x + column * side
    figure.box(pixel_x, out_y, side, side, ORANGE_PALE, ORANGE, 3)
    figure.text(pixel_x + side / 2, out_y + side / 2 + 5, str(result), bold=True)
    figure.arrow((filter_x + 3 * side + 6, filter_y + 14), (pixel_x - 4, out_y + 14))

    terms = " + ".join(f"{v}·{f}" if f >= 0 else f"{v}·({f})" for v, f in products)
    figure.text(350, 284, f"{terms} = {result}", 14)
    figure.text(350, 306, "stride = how far the window moves from one output pixel to the next", 13)
    figure.write()


def convolution_tile() -> None:
    """One step of the micro-kernel: an outer product of 6 pixels and 16 channels."""
    figure = Figure("convolution-tile", 700, 408, "How one tile of the micro-kernel convolves")
    side, columns = 20, LANES * VECTORS
    band_x, band_y = 20, 122
    figure.text(band_x, 84, "input, one channel c,", 13, "start", bold=True)
    figure.text(band_x, 102, "zeros at its sides", 13, "start")
    for i in range(5):
        for j in range(TILE_ROWS + 2):
            border = j in (0, TILE_ROWS + 1)
            fill = GREY_PALE if border else BLUE_PALE
            figure.box(band_x + j * side, band_y + i * side, side, side, fill, dashed=border)
    tap_row, tap_column = 1, 2
    for m in range(TILE_ROWS):
        x, y = band_x + (m + tap_column) * side, band_y + tap_row * side
        figure.box(x, y, side, side, ORANGE_PALE, ORANGE, 2)
        figure.text(x + side / 2, y + 14.5, str(m), 12)
    figure.box(band_x, band_y, 3 * side, 3 * side, "none", INK, 2)
    figure.text(band_x, 246, "black: window of pixel 0", 12, "start")
    figure.text(band_x, 264, "orange: tap r = 1, s = 2", 12, "start")
    figure.text(band_x, 280, "of the pixels 0 to 5 (the", 12, "start")
    figure.text(band_x, 296, "last one reads a zero)", 12, "start")

    a_x, tile_x, tile_y, b_y = 268, 330, 140, 84
    figure.arrow((band_x + 8 * side + 4, band_y + 30), (a_x - 8, tile_y + 3 * side - 14))
    figure.text(a_x + side / 2 - 6, tile_y - 24, "A: 6", 13, bold=True)
    figure.text(a_x + side / 2 - 6, tile_y - 8, "numbers", 12)
    for m in range(TILE_ROWS):
        figure.box(a_x, tile_y + m * side, side, side, ORANGE_PALE, ORANGE, 1.5)
        figure.text(a_x + side / 2, tile_y + m * side + 14.5, str(m), 12)
        figure.arrow(
            (a_x + side + 3, tile_y + (m + 0.5) * side), (tile_x - 5, tile_y + (m + 0.5) * side)
        )

    middle = tile_x + columns * side / 2
    figure.text(middle, 46, "B: the weights of this (c, r, s), one for each of 16", 13, bold=True)
    figure.text(middle, 64, "output channels, packed one after the other", 13)
    for j in range(columns):
        figure.box(tile_x + j * side, b_y, side, side, PURPLE_PALE)
        figure.text(tile_x + (j + 0.5) * side, b_y + 14.5, str(j), 12)
    for v in range(VECTORS):
        figure.box(tile_x + v * LANES * side, b_y, LANES * side, side, "none", INK, 2)
        centre = tile_x + (v + 0.5) * LANES * side
        figure.arrow((centre, b_y + side + 3), (centre, tile_y - 6))
        figure.text(centre + 8, b_y + side + 21, f"vector {v}", 12, "start")
    for m in range(TILE_ROWS):
        for v in range(VECTORS):
            for j in range(LANES):
                x = tile_x + (v * LANES + j) * side
                figure.box(x, tile_y + m * side, side, side, GREEN_PALE)
            figure.box(
                tile_x + v * LANES * side, tile_y + m * side, LANES * side, side, "none", INK, 1.6
            )
    figure.text(
        middle,
        tile_y + 6 * side + 22,
        "C: 12 vector registers, C[m][v] += A[m] × B[v]",
        13,
        bold=True,
    )

    figure.paragraph(
        20,
        332,
        [
            "One step k of the reduction is one (channel, tap). A is read where it lies:",
            "a[a_rows[m] + a_cols[k]], where pixel m begins plus where tap k lies from there.",
            "After channels × taps steps: add the bias, apply ReLU, store [pixel][channel];",
            "one transposition then writes whole rows of the output as NCHW.",
        ],
    )
    figure.write()


def phases() -> None:
    """Which filter taps meet which input pixels in backward_input with stride 2."""
    figure = Figure("convolution-phases", 700, 268, "The four phases of backward_input at stride 2")
    fills = {(0, 0): ORANGE_PALE, (0, 1): BLUE_PALE, (1, 0): PURPLE_PALE, (1, 1): GREEN_PALE}
    side, size, kernel, stride, padding = 28, 6, 3, 2, 1
    # Input pixel i meets tap r where i + padding - r is a multiple of the stride.
    taps = {a: [r for r in range(kernel) if (a + padding - r) % stride == 0] for a in range(stride)}
    left, top = 30, 58
    figure.text(left + 3 * side, 24, "grad_input, 6 × 6", bold=True)
    figure.text(left + 3 * side, 43, "number = taps that reach it")
    for i in range(size):
        for j in range(size):
            phase = (i % stride, j % stride)
            count = len(taps[phase[0]]) * len(taps[phase[1]])
            x, y = left + j * side, top + i * side
            figure.box(x, y, side, side, fills[phase])
            figure.text(x + side / 2, y + side / 2 + 5, str(count))
    filter_x = 278
    figure.text(filter_x + 1.5 * side, 24, "filter, 3 × 3", bold=True)
    figure.text(filter_x + 1.5 * side, 43, "number = tap")
    for r in range(kernel):
        for s in range(kernel):
            phase = next(p for p in fills if r in taps[p[0]] and s in taps[p[1]])
            x, y = filter_x + s * side, top + r * side
            figure.box(x, y, side, side, fills[phase])
            figure.text(x + side / 2, y + side / 2 + 5, str(r * kernel + s))
    legend_x = 420
    names = {0: "even", 1: "odd"}
    for line, phase in enumerate(fills):
        y = top + line * 36
        figure.box(legend_x, y, 22, 22, fills[phase])
        numbers = [r * kernel + s for r in taps[phase[0]] for s in taps[phase[1]]]
        words = f"{names[phase[0]]} row, {names[phase[1]]} column: tap"
        words += ("s " if len(numbers) > 1 else " ") + ", ".join(map(str, numbers))
        figure.text(legend_x + 32, y + 16, words, 13, "start")
    figure.text(
        350, 252, "kernel 3, stride 2, padding 1: every tap belongs to exactly one phase", 13
    )
    figure.write()


def gemm() -> None:
    """How C = A B is cut: panels of columns, blocks of depth, blocks of rows, tiles."""
    figure = Figure(
        "gemm", 700, 470, "Panels, depth blocks, row blocks and tiles of a matrix product"
    )
    panel, panels, tile, tiles = 40, 9, 5.5, 8
    row_block = tiles * tile
    a_x, c_x, b_y, c_y = 90, 300, 60, 232
    depth, blocks, rows = 47, 3, 4
    width, k_size, height = panels * panel, depth * blocks, rows * row_block
    task_panel, task_row = 4, 1

    figure.text(c_x + width / 2, 26, "B (k × n), cut into panels of 16 columns", bold=True)
    for p in range(panels):
        chosen = task_panel <= p < task_panel + 4
        figure.box(c_x + p * panel, b_y, panel, k_size, GREY_PALE)
        if chosen:
            figure.box(c_x + p * panel, b_y, panel, depth, PURPLE_PALE)
    for d in range(1, blocks):
        figure.line(c_x, b_y + d * depth, width, 0, dashed=True)
    figure.box(c_x + task_panel * panel, b_y, panel, depth, "none", ORANGE, 3)
    figure.text(a_x, b_y + 20, "One panel of one depth", 12, "start")
    figure.text(a_x, b_y + 36, "block: 384 × 16 floats,", 12, "start")
    figure.text(a_x, b_y + 52, "24 KB, stays in L1", 12, "start")
    figure.arrow((a_x + 154, b_y + 24), (c_x + task_panel * panel - 3, b_y + 24))
    figure.brace(c_x + task_panel * panel, b_y - 10, 4 * panel, 0)
    figure.text(c_x + (task_panel + 2) * panel, b_y - 16, "4 panels, packed", 12)

    figure.text(a_x + k_size / 2, c_y - 40, "A (m × k), read in place", bold=True)
    for i in range(rows):
        fill = ORANGE_PALE if i == task_row else GREY_PALE
        figure.box(a_x, c_y + i * row_block, k_size, row_block, fill)
    for d in range(1, blocks):
        figure.line(a_x + d * depth, c_y, 0, height, dashed=True)
    for t in range(1, tiles):
        figure.line(a_x, c_y + task_row * row_block + t * tile, k_size, 0)
    figure.box(a_x, c_y + task_row * row_block, depth, row_block, "none", ORANGE, 3)
    figure.brace(a_x - 12, c_y + task_row * row_block, 0, row_block)
    figure.text(a_x - 20, c_y + task_row * row_block + 18, "48 rows:", 12, "end")
    figure.text(a_x - 20, c_y + task_row * row_block + 34, "8 tiles", 12, "end")
    figure.brace(a_x, c_y - 12, depth, 0)
    figure.text(a_x + depth / 2, c_y - 19, "384", 12)

    for i in range(rows):
        for p in range(panels):
            chosen = task_panel <= p < task_panel + 4
            fill = GREEN_PALE if chosen else PAPER
            figure.box(c_x + p * panel, c_y + i * row_block, panel, row_block, fill)
    x, y = c_x + task_panel * panel, c_y + task_row * row_block
    for t in range(1, tiles):
        figure.line(x, y + t * tile, 4 * panel, 0)
    figure.box(x, y, 4 * panel, row_block, "none", GREEN, 3)
    figure.box(x, y, panel, tile, GREEN, GREEN)
    figure.text(c_x + width / 2, c_y - 10, "C (m × n)", bold=True)
    figure.arrow((a_x + k_size + 6, y + tile / 2), (x - 3, y + tile / 2))
    figure.box(c_x + 3, y + 20, 154, 17, PAPER, PAPER)
    figure.text(c_x + 80, y + 32, "tile of 6 × 16 numbers", 12)

    figure.paragraph(
        350,
        430,
        [
            "Green: one task. It goes through the depth block by block; in each it packs 4 panels,",
            "then meets them with its rows, 48 at a time. Numbers: float, AVX2.",
        ],
        "middle",
    )
    figure.write()


if __name__ == "__main__":
    convolution()
    convolution_tile()
    phases()
    gemm()
