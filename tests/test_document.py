"""The document's three functions: equal to its loops, in both layouts, on arrays and Tensors."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import convolite
from convolite import Tensor
from convolite.reference import document as loops
from support.arrays import awkward_layouts
from support.compare import assert_close, assert_exact
from support.gradcheck import assert_gradients


@given(
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.integers(1, 4),
    padding=st.integers(0, 2),
    channels=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    batch=st.integers(0, 2),
)
def test_conv2d_in_the_documents_layout_equals_its_loops(
    size, kernel, stride, padding, channels, batch
):
    if any(k > s + 2 * padding for k, s in zip(kernel, size, strict=True)):
        return
    rng = np.random.default_rng(0)
    images = rng.integers(-4, 5, (batch, *size, channels[0]))
    filters = rng.integers(-4, 5, (*kernel, *channels))
    output = convolite.conv2d(images, filters, stride=stride, padding=padding, layout="NHWC")
    expected = loops.conv2d(images, filters, stride, padding)
    assert output.dtype == np.float64
    assert type(output) is np.ndarray
    assert_exact(output, expected)
    nchw = convolite.conv2d(
        images.transpose(0, 3, 1, 2).astype(np.float32),
        filters.transpose(3, 2, 0, 1).astype(np.float32),
        stride,
        padding,
    )
    assert nchw.dtype == np.float32
    assert_exact(nchw, expected.transpose(0, 3, 1, 2))


@given(
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    pool=st.integers(1, 4),
    stride=st.integers(1, 5),
    batch=st.integers(0, 2),
)
def test_max_pooling_in_the_documents_layout_equals_its_loops(size, pool, stride, batch):
    if pool > min(size):
        return
    images = np.random.default_rng(0).integers(-9, 10, (batch, *size, 3))
    expected = loops.max_pooling(images, pool, stride)
    assert_exact(convolite.max_pooling(images, pool, stride, layout="NHWC"), expected)
    nchw = convolite.max_pooling(images.transpose(0, 3, 1, 2).astype(np.float32), pool, stride)
    assert_exact(nchw, expected.transpose(0, 3, 1, 2))


@pytest.mark.parametrize(("shape", "layout"), [((6, 4), "NCHW"), ((3, 5, 5, 4), "NHWC")])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_batch_normalization_is_the_documents_formula(shape, layout, dtype, rng):
    values, gamma, beta = (
        rng.standard_normal(size).astype(dtype) for size in (shape, shape[-1], shape[-1])
    )
    output = convolite.batch_normalization(values, gamma, beta, 1e-3, layout=layout)
    expected = loops.batch_normalization(values, gamma, beta, 1e-3)
    assert output.dtype == dtype
    assert_close(output, expected, np.abs(expected) + 4.0, units=16.0)
    if values.ndim == 4:
        nchw = convolite.batch_normalization(values.transpose(0, 3, 1, 2), gamma, beta, 1e-3)
        assert_close(nchw, expected.transpose(0, 3, 1, 2), np.abs(expected).max() + 4, units=16.0)


def test_batch_normalization_of_one_row_gives_beta():
    gamma, beta = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    assert_exact(convolite.batch_normalization(np.array([[5.0, 6.0]]), gamma, beta), beta[None])
    image = convolite.tensor(np.ones((1, 2, 1, 1)), requires_grad=True)
    output = convolite.batch_normalization(image, gamma, beta)
    output.backward(np.ones(output.shape))
    assert_exact(output.numpy().ravel(), beta)
    assert_exact(image.grad.numpy(), np.zeros((1, 2, 1, 1)))
    assert np.isnan(convolite.batch_normalization(np.array([[np.inf, 1.0]]), gamma, beta)[0, 0])


def test_batch_normalization_takes_numbers_for_gamma_and_beta(rng):
    values = rng.standard_normal((5, 3))
    expected = loops.batch_normalization(values, 2.0, 1.0)
    output = convolite.batch_normalization(values, 2.0, 1.0)
    assert_close(output, expected, np.abs(expected) + 4.0, units=16.0)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_single_images_come_back_without_a_batch_axis(layout, rng):
    image = rng.integers(-3, 4, (2, 6, 6)).astype(np.float32)
    filters = rng.integers(-3, 4, (4, 2, 3, 3)).astype(np.float32)
    expected = convolite.conv2d(image[None], filters)[0]
    pooled = convolite.max_pooling(image[None])[0]
    if layout == "NHWC":
        image, filters = image.transpose(1, 2, 0), filters.transpose(2, 3, 1, 0)
        expected, pooled = expected.transpose(1, 2, 0), pooled.transpose(1, 2, 0)
    assert_exact(convolite.conv2d(image, filters, layout=layout), expected)
    assert_exact(convolite.max_pooling(image, layout=layout), pooled)


def test_every_other_argument_of_conv2d(rng):
    images = rng.integers(-3, 4, (2, 4, 9, 8)).astype(np.float64)
    filters = rng.integers(-3, 4, (6, 2, 3, 2)).astype(np.float64)
    bias = rng.integers(-3, 4, 6).astype(np.float64)
    expected = convolite.reference.conv2d(
        images, filters, bias, stride=(2, 1), padding=(1, 2, 0, 3), dilation=(1, 2), groups=2
    )
    options = {"stride": (2, 1), "padding": ((1, 2), (0, 3)), "dilation": (1, 2), "groups": 2}
    assert_exact(convolite.conv2d(images, filters, bias=bias, **options), expected)
    nhwc = convolite.conv2d(
        images.transpose(0, 2, 3, 1),
        filters.transpose(2, 3, 1, 0),
        bias=bias,
        layout="NHWC",
        **options,
    )
    assert_exact(nhwc, expected.transpose(0, 2, 3, 1))


@pytest.mark.parametrize("padding", ["same", "valid", (1, 0)])
def test_named_and_paired_padding_touch_only_height_and_width(padding):
    images = np.ones((2, 5, 7, 3))
    output = convolite.conv2d(images, np.ones((3, 3, 3, 2)), padding=padding, layout="NHWC")
    sizes = {"same": (2, 5, 7, 2), "valid": (2, 3, 5, 2), (1, 0): (2, 5, 5, 2)}
    assert output.shape == sizes[padding]


def test_max_pooling_pads_with_minus_infinity():
    output = convolite.max_pooling(-np.ones((1, 1, 3, 3)), 3, 2, padding=1)
    assert_exact(output, -np.ones((1, 1, 2, 2)))


CALLS = {
    "conv2d": (
        lambda *a: convolite.conv2d(*a[:2], 2, 1, a[2], layout="NHWC"),
        [(2, 5, 5, 3), (3, 3, 3, 4), (4,)],
    ),
    "max_pooling": (lambda a: convolite.max_pooling(a, 2, 2, layout="NHWC"), [(2, 5, 5, 3)]),
    "batch_normalization": (
        lambda *a: convolite.batch_normalization(*a, layout="NHWC"),
        [(2, 4, 4, 3), (3,), (3,)],
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_tensors_give_differentiable_tensors(name, rng):
    call, shapes = CALLS[name]
    arrays = [rng.permutation(int(np.prod(s))).reshape(s) / 7.0 for s in shapes]
    inputs = [convolite.tensor(array, requires_grad=True) for array in arrays]
    output = call(*inputs)
    assert isinstance(output, Tensor)
    assert_exact(output.numpy(), call(*arrays))
    grad_output = rng.standard_normal(output.shape)
    output.backward(grad_output)
    gradients = [input.grad.numpy() for input in inputs]
    assert_gradients(call, arrays, gradients, grad_output, rng)


def test_awkward_arrays_give_the_same_results(rng):
    images = rng.integers(-3, 4, (2, 5, 5, 3)).astype(np.float32)
    filters = rng.integers(-3, 4, (3, 3, 3, 2)).astype(np.float32)
    expected = loops.conv2d(images, filters)
    for name, awkward in awkward_layouts(images):
        assert_exact(convolite.conv2d(awkward, filters, layout="NHWC"), expected), name


class OnlyDLPack:
    """An array of another library: DLPack and nothing else."""

    def __init__(self, array):
        self._array = array

    def __dlpack__(self, **options):
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()


class OnlyArray:
    """An array of another library: ``__array__`` and nothing else."""

    def __init__(self, array):
        self._array = array

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self._array, dtype)


@pytest.mark.parametrize("wrap", [OnlyDLPack, OnlyArray, np.ndarray.tolist])
def test_arrays_of_other_libraries_and_lists_are_taken(wrap, rng):
    images = rng.integers(-3, 4, (1, 5, 5, 2)).astype(np.float64)
    filters = rng.integers(-3, 4, (3, 3, 2, 2)).astype(np.float64)
    output = convolite.conv2d(wrap(images), wrap(filters), layout="NHWC")
    assert_exact(output, loops.conv2d(images, filters))


@pytest.mark.parametrize(
    ("dtypes", "expected"),
    [
        ((np.float32, np.float32), np.float32),
        ((np.float32, np.float64), np.float64),
        ((np.uint8, np.float32), np.float64),
        ((np.int64, np.int64), np.float64),
        ((bool, np.float32), np.float64),
    ],
)
def test_result_dtypes(dtypes, expected):
    images, filters = np.ones((1, 1, 3, 3), dtypes[0]), np.ones((1, 1, 2, 2), dtypes[1])
    assert convolite.conv2d(images, filters).dtype == expected


def test_signatures_are_the_contract():
    assert (
        str(inspect.signature(convolite.conv2d))
        .replace("'", "")
        .startswith(
            "(input: Any, filters: Any, stride: Any = 1, padding: Any = 0, bias: Any = None, "
            "dilation: Any = 1, groups: int = 1, layout: str = NCHW)"
        )
    )
    assert list(inspect.signature(convolite.max_pooling).parameters.values()) == [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=d, annotation=a)
        for name, d, a in [
            ("input", inspect.Parameter.empty, "Any"),
            ("pool_size", 2, "Any"),
            ("stride", 2, "Any"),
            ("padding", 0, "Any"),
            ("layout", "NCHW", "str"),
        ]
    ]
    assert str(inspect.signature(convolite.batch_normalization)).startswith(
        "(input: 'Any', gamma: 'Any', beta: 'Any', epsilon: 'float' = 1e-05, "
        "layout: 'str' = 'NCHW')"
    )


IMAGE = np.zeros((1, 3, 6, 6), np.float32)
FILTERS = np.zeros((8, 3, 3, 3), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: convolite.conv2d(IMAGE, FILTERS[:, :2]), ValueError, "conv2d: input has 3 chan"),
        (
            lambda: convolite.conv2d(IMAGE[0, 0], FILTERS),
            ValueError,
            r"conv2d: input must be \(N, C, H, W\) or \(C, H, W\), got input.shape = \(6, 6\)",
        ),
        (
            lambda: convolite.conv2d(IMAGE[0, 0], FILTERS, layout="NHWC"),
            ValueError,
            r"conv2d: input must be \(N, H, W, C\) or \(H, W, C\)",
        ),
        (
            lambda: convolite.conv2d(IMAGE, FILTERS[0]),
            ValueError,
            "conv2d: filters must have 4 axes",
        ),
        (
            lambda: convolite.conv2d(IMAGE, FILTERS, layout="CHW"),
            ValueError,
            "conv2d: layout must be one of 'NCHW', 'NHWC', got 'CHW'",
        ),
        (
            lambda: convolite.conv2d(IMAGE, FILTERS, layout=None),
            TypeError,
            "conv2d: layout must be",
        ),
        (
            lambda: convolite.conv2d(IMAGE.astype(complex), FILTERS),
            TypeError,
            "conv2d: input must be real numbers, got complex128",
        ),
        (
            lambda: convolite.conv2d(None, FILTERS),
            TypeError,
            "conv2d: input must be real numbers, got None",
        ),
        (lambda: convolite.conv2d(IMAGE, "text"), TypeError, "conv2d: filters must be real"),
        (lambda: convolite.conv2d(IMAGE, FILTERS, 1.5), TypeError, "conv2d: stride must be an int"),
        (
            lambda: convolite.conv2d(IMAGE, FILTERS, 0),
            ValueError,
            "conv2d: stride must be positive",
        ),
        (lambda: convolite.max_pooling(IMAGE, "a"), TypeError, "max_pooling: pool_size must be"),
        (lambda: convolite.max_pooling(IMAGE[0, 0]), ValueError, "max_pooling: input must be"),
        (
            lambda: convolite.batch_normalization(IMAGE[0], 1, 0),
            ValueError,
            "batch_normalization: input must have 2 or 4 axes",
        ),
        (
            lambda: convolite.batch_normalization(IMAGE, np.ones(4), 0),
            ValueError,
            r"batch_normalization: gamma must have shape \(3,\), got \(4,\)",
        ),
    ],
)
def test_wrong_calls_say_what_is_wrong(call, error, text):
    with pytest.raises(error, match=text):
        call()


def floats(*shape):
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: convolite.conv2d(floats(2, 9, 9, 3), floats(3, 3, 4, 8), layout="NHWC"),
            "conv2d: input has 3 channels but filters expect 4 "
            "(filters.shape = (3, 3, 4, 8), groups = 1)",
        ),
        (
            lambda: convolite.conv2d(floats(2, 9, 9, 3), floats(11, 3, 3, 8), layout="NHWC"),
            "(input.shape = (2, 9, 9, 3), padding = ((0, 0), (0, 0)))",
        ),
        (
            lambda: convolite.conv2d(floats(3, 9, 9), floats(8, 3, 11, 3)),
            "(input.shape = (3, 9, 9), padding = ((0, 0), (0, 0)))",
        ),
        (
            lambda: convolite.max_pooling(floats(8, 8, 3), 9, layout="NHWC"),
            "max_pooling: window does not fit, pool_size 9x9 spans 9x9 but the padded input is "
            "8x8 (input.shape = (8, 8, 3), padding = (0, 0))",
        ),
        (
            lambda: convolite.max_pooling(floats(1, 1, 8, 8), 3, padding=2),
            "max_pooling: padding must be at most half the pool_size "
            "(pool_size = (3, 3), padding = (2, 2))",
        ),
    ],
)
def test_errors_speak_of_what_was_given(call, text):
    with pytest.raises(ValueError, match=re.escape(text) + "$"):
        call()
