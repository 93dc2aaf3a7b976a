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


@st.composite
def conv2d_cases(draw: st.DrawFn) -> SimpleNamespace:
    """A convolution with the columns of cases/conv2d.csv as attributes; the batch may be empty."""
    h, kh, stride_h, pad_top, pad_bottom, dil_h = draw(windows(), label="rows")
    w, kw, stride_w, pad_left, pad_right, dil_w = draw(windows(), label="columns")
    groups = draw(st.sampled_from([1, 1, 2, 3, 5]), label="groups")
    return SimpleNamespace(
        name="generated",
        n=draw(st.integers(0, 4), label="n"),
        c=groups * draw(st.integers(1, 5), label="c / groups"),
        h=h,
        w=w,
        oc=groups * draw(st.integers(1, 9), label="oc / groups"),
        kh=kh,
        kw=kw,
        stride_h=stride_h,
        stride_w=stride_w,
        pad_top=pad_top,
        pad_bottom=pad_bottom,
        pad_left=pad_left,
        pad_right=pad_right,
        dil_h=dil_h,
        dil_w=dil_w,
        groups=groups,
    )


@st.composite
def winograd_cases(draw: st.DrawFn) -> SimpleNamespace:
    """A 3x3 convolution with stride 1 and as many channels as Winograd's method wants."""
    pads = [draw(st.integers(0, 2), label=f"padding {side}") for side in range(4)]
    h = draw(st.integers(max(1, 5 - pads[0] - pads[1]), 14), label="h")
    w = draw(st.integers(max(1, 5 - pads[2] - pads[3]), 14), label="w")
    return SimpleNamespace(
        name="generated",
        n=draw(st.integers(1, 4), label="n"),
        c=draw(st.integers(24, 41), label="c"),
        h=h,
        w=w,
        oc=draw(st.integers(24, 57), label="oc"),
        kh=3,
        kw=3,
        stride_h=1,
        stride_w=1,
        pad_top=pads[0],
        pad_bottom=pads[1],
        pad_left=pads[2],
        pad_right=pads[3],
        dil_h=1,
        dil_w=1,
        groups=1,
    )
