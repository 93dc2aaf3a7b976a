"""Hypothesis strategies for problem sizes: hostile ones are as likely as ordinary ones."""

from __future__ import annotations

from types import SimpleNamespace

from hypothesis import strategies as st


@st.composite
def windows(draw: st.DrawFn, most: int = 9) -> tuple[int, int, int, int, int, int]:
    """One axis of a sliding window that fits at least once.

    Returns (size, kernel, stride, padding before, padding after, dilation): sizes from 1, a stride
    that may exceed the kernel or the image, a padding that may exceed the kernel.
    """
    kernel = draw(st.integers(1, 5), label="kernel")
    dilation = draw(st.integers(1, 3), label="dilation")
    before = draw(st.integers(0, 4), label="padding before")
    after = draw(st.integers(0, 4), label="padding after")
    stride = draw(st.integers(1, 7), label="stride")
    span = dilation * (kernel - 1) + 1
    smallest = max(1, span - before - after)
    size = draw(st.integers(smallest, max(smallest, most)), label="size")
    return size, kernel, stride, before, after, dilation


def window_columns(rows: tuple[int, ...], columns: tuple[int, ...]) -> dict[str, int]:
    """Two axes of a window under the column names of cases/*.csv."""
    h, kh, stride_h, pad_top, pad_bottom, dil_h = rows
    w, kw, stride_w, pad_left, pad_right, dil_w = columns
    return {
        "h": h,
        "w": w,
        "kh": kh,
        "kw": kw,
        "stride_h": stride_h,
        "stride_w": stride_w,
        "pad_top": pad_top,
        "pad_bottom": pad_bottom,
        "pad_left": pad_left,
        "pad_right": pad_right,
        "dil_h": dil_h,
        "dil_w": dil_w,
    }


@st.composite
def conv2d_cases(draw: st.DrawFn) -> SimpleNamespace:
    """A convolution with the columns of cases/conv2d.csv as attributes; the batch may be empty."""
    axes = draw(windows(), label="rows"), draw(windows(), label="columns")
    groups = draw(st.sampled_from([1, 1, 2, 3, 5]), label="groups")
    return SimpleNamespace(
        name="generated",
        n=draw(st.integers(0, 4), label="n"),
        c=groups * draw(st.integers(1, 5), label="c / groups"),
        oc=groups * draw(st.integers(1, 9), label="oc / groups"),
        groups=groups,
        **window_columns(*axes),
    )


@st.composite
def winograd_axes(draw: st.DrawFn) -> tuple[int, int, int, int, int, int]:
    """One axis of a 3x3 convolution with stride 1, as `windows` gives it."""
    before = draw(st.integers(0, 2), label="padding before")
    after = draw(st.integers(0, 2), label="padding after")
    size = draw(st.integers(max(1, 5 - before - after), 14), label="size")
    return size, 3, 1, before, after, 1


@st.composite
def winograd_cases(draw: st.DrawFn) -> SimpleNamespace:
    """A 3x3 convolution with stride 1 and as many channels as Winograd's method wants."""
    axes = draw(winograd_axes(), label="rows"), draw(winograd_axes(), label="columns")
    return SimpleNamespace(
        name="generated",
        n=draw(st.integers(1, 4), label="n"),
        c=draw(st.integers(16, 41), label="c"),
        oc=draw(st.integers(16, 57), label="oc"),
        groups=1,
        **window_columns(*axes),
    )


@st.composite
def pointwise_cases(draw: st.DrawFn) -> SimpleNamespace:
    """A 1x1 convolution of at least 16 pixels, with any stride and any number of images."""
    stride = [draw(st.integers(1, 3), label=f"stride {axis}") for axis in "hw"]
    size = [draw(st.integers(3 * each + 1, 30), label="size") for each in stride]
    axes = [(length, 1, step, 0, 0, 1) for length, step in zip(size, stride, strict=True)]
    return SimpleNamespace(
        name="generated",
        n=draw(st.integers(0, 9), label="n"),
        c=draw(st.integers(1, 60), label="c"),
        oc=draw(st.integers(1, 60), label="oc"),
        groups=1,
        **window_columns(*axes),
    )


@st.composite
def depthwise_cases(draw: st.DrawFn) -> SimpleNamespace:
    """A convolution with one input channel for each output channel; the batch may be empty."""
    axes = draw(windows(most=40), label="rows"), draw(windows(most=40), label="columns")
    channels = draw(st.integers(1, 9), label="c")
    multiplier = draw(st.integers(1, 3), label="oc / c") if channels > 1 else 1
    return SimpleNamespace(
        name="generated",
        n=draw(st.integers(0, 4), label="n"),
        c=channels,
        oc=channels * multiplier,
        groups=channels,
        **window_columns(*axes),
    )
