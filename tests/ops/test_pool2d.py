"""Max, average and adaptive average pooling: the core on every instruction set, `functional`."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convolite import _core, functional, reference, tensor
from support.arrays import awkward_layouts, distinct, integers, normals
from support.cases import case_parameters, load_cases
from support.compare import assert_close, assert_exact, assert_same_bits
from support.gradcheck import assert_gradients
from support.strategies import window_columns

DTYPES = [np.float32, np.float64]
AVERAGE_RULES = [(True, 0), (False, 0), (True, 3), (False, -2)]
NO_PADDING = (0, 0, 0, 0)


def make_problem(make, rng, case, dtype, largest_batch: int = 3) -> SimpleNamespace:
    """Images, and the windows as max pooling takes them; `average` is the part without dilation."""
    kernel, stride = (case.kh, case.kw), (case.stride_h, case.stride_w)
    padding = (case.pad_top, case.pad_bottom, case.pad_left, case.pad_right)
    ceil_mode = bool(case.ceil_mode)
    shape = (min(case.n, largest_batch), case.c, case.h, case.w)
    return SimpleNamespace(
        input=make(rng, shape, dtype),
        geometry=(kernel, stride, padding, (case.dil_h, case.dil_w), ceil_mode),
        average=(kernel, stride, padding, ceil_mode),
        dilated=max(case.dil_h, case.dil_w) > 1,
    )


def max_pool(problem):
    return _core.max_pool2d_forward(problem.input, *problem.geometry)


def max_pool_backward(problem, grad_output, offsets):
    return _core.max_pool2d_backward(grad_output, offsets, problem.input.shape, *problem.geometry)


def assert_max_pool_is_reference(problem, rng) -> None:
    output, offsets = max_pool(problem)
    expected, expected_offsets = reference.max_pool2d(problem.input, *problem.geometry)
    assert output.dtype == problem.input.dtype
    assert offsets.dtype == (np.uint8 if np.prod(problem.geometry[0]) <= 256 else np.int32)
    assert_exact(output, expected)
    np.testing.assert_array_equal(offsets, expected_offsets)
    grad_output = integers(rng, output.shape, problem.input.dtype)
    grad_input = max_pool_backward(problem, grad_output, offsets)
    arguments = (expected_offsets, problem.input.shape, *problem.geometry[:4])
    assert_exact(grad_input, reference.max_pool2d_backward(grad_output, *arguments))


def assert_average_pool_is_exact(problem, rng) -> None:
    """Divided by 1, averages of integers are sums without rounding."""
    output = _core.avg_pool2d_forward(problem.input, *problem.average, True, 1)
    assert output.dtype == problem.input.dtype
    assert_exact(output, reference.avg_pool2d(problem.input, *problem.average, True, 1))
    grad_output = integers(rng, output.shape, problem.input.dtype)
    shape = problem.input.shape
    grad_input = _core.avg_pool2d_backward(grad_output, shape, *problem.average, True, 1)
    geometry = (*problem.average[:3], True, 1)
    assert_exact(grad_input, reference.avg_pool2d_backward(grad_output, shape, *geometry))


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", case_parameters("pool2d"))
def test_integers_give_exactly_the_reference(case, dtype, isa: str, rng) -> None:
    problem = make_problem(integers, rng, case, dtype)
    assert_max_pool_is_reference(problem, rng)
    if not problem.dilated:
        assert_average_pool_is_exact(problem, rng)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", AVERAGE_RULES, ids=str)
@pytest.mark.parametrize("case", case_parameters("pool2d"))
def test_averages_err_by_rounding_only(case, rule, dtype, isa: str, rng) -> None:
    problem = make_problem(normals, rng, case, dtype)
    if problem.dilated:
        problem.input = problem.input[:, :, ::2, ::2]  # averages know no dilation: other sizes
    wide = problem.input.astype(np.float64)
    positive = (rule[0], abs(rule[1]))
    output = _core.avg_pool2d_forward(problem.input, *problem.average, *rule)
    scale = reference.avg_pool2d(np.abs(wide), *problem.average, *positive)
    assert_close(output, reference.avg_pool2d(wide, *problem.average, *rule), scale)
    grad_output = normals(rng, output.shape, dtype)
    geometry = (wide.shape, *problem.average[:3])
    grad_input = _core.avg_pool2d_backward(grad_output, wide.shape, *problem.average, *rule)
    expected = reference.avg_pool2d_backward(grad_output, *geometry, *rule)
    scale = reference.avg_pool2d_backward(np.abs(grad_output), *geometry, *positive)
    assert_close(grad_input, expected, scale)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("output_size", [(1, 1), (2, 3), (7, 5), (13, 17), (20, 30), (0, 2)])
@pytest.mark.parametrize("size", [(13, 17), (7, 7), (1, 40)])
def test_adaptive_averages_err_by_rounding_only(size, output_size, dtype, isa, rng) -> None:
    input = normals(rng, (2, 3, *size), dtype)
    output = _core.adaptive_avg_pool2d_forward(input, output_size)
    scale = reference.adaptive_avg_pool2d(np.abs(input), output_size)
    assert_close(output, reference.adaptive_avg_pool2d(input, output_size), scale)
    grad_output = normals(rng, output.shape, dtype)
    grad_input = _core.adaptive_avg_pool2d_backward(grad_output, input.shape)
    expected = reference.adaptive_avg_pool2d_backward(grad_output, input.shape)
    scale = reference.adaptive_avg_pool2d_backward(np.abs(grad_output), input.shape)
    assert_close(grad_input, expected, scale)


@pytest.mark.parametrize("case", case_parameters("pool2d", use="bench"))
def test_gradients_are_adjoint_at_full_size(case, isa: str, rng) -> None:
    problem = make_problem(integers, rng, case, np.float32)
    wide = problem.input.astype(np.float64)
    output, offsets = max_pool(problem)
    grad_output = integers(rng, output.shape)
    total = np.vdot(output.astype(np.float64), grad_output)
    assert np.vdot(wide, max_pool_backward(problem, grad_output, offsets)) == total
    output = _core.avg_pool2d_forward(problem.input, *problem.average, True, 1)
    total = np.vdot(output.astype(np.float64), grad_output)
    arguments = (problem.input.shape, *problem.average, True, 1)
    assert np.vdot(wide, _core.avg_pool2d_backward(grad_output, *arguments)) == total


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("kernel", "offsets"), [(2, [4, 200]), (3, [9, 255]), (17, [289, 2**31 - 1]), (17, [-1, -290])]
)
def test_offsets_beyond_the_window_pass_nothing_on(kernel, offsets, dtype, isa) -> None:
    side = 2 * kernel
    output, found = _core.max_pool2d_forward(
        np.ones((1, 1, side, side), dtype), (kernel,) * 2, (kernel,) * 2, (0,) * 4, (1, 1), False
    )
    found[0, 0, 0] = offsets
    grad_input = _core.max_pool2d_backward(
        np.ones_like(output),
        found,
        (1, 1, side, side),
        (kernel,) * 2,
        (kernel,) * 2,
        (0,) * 4,
        (1, 1),
        False,
    )
    assert grad_input[:, :, :kernel].sum() == 0
    assert grad_input.sum() == 2


@pytest.mark.parametrize("case", case_parameters("pool2d"))
def test_gradients_equal_differences(case, isa: str, rng) -> None:
    problem = make_problem(distinct, rng, case, np.float64, largest_batch=2)
    output, offsets = max_pool(problem)
    grad_output = normals(rng, output.shape, np.float64)
    gradient = max_pool_backward(problem, grad_output, offsets)
    assert_gradients(
        lambda input: _core.max_pool2d_forward(input, *problem.geometry)[0],
        [problem.input],
        [gradient],
        grad_output,
        rng,
    )
    if problem.dilated:
        return
    for rule in AVERAGE_RULES:
        shape = problem.input.shape
        gradient = _core.avg_pool2d_backward(grad_output, shape, *problem.average, *rule)
        assert_gradients(
            lambda input, rule=rule: _core.avg_pool2d_forward(input, *problem.average, *rule),
            [problem.input],
            [gradient],
            grad_output,
            rng,
        )


@st.composite
def axes(draw: st.DrawFn) -> tuple[int, int, int, int, int, int]:
    """One axis of a pooling window: padding is at most half of what the kernel spans."""
    kernel = draw(st.integers(1, 5), label="kernel")
    dilation = draw(st.sampled_from([1, 1, 2, 3]), label="dilation")
    span = dilation * (kernel - 1) + 1
    before = draw(st.integers(0, span // 2), label="padding before")
    after = draw(st.integers(0, span // 2), label="padding after")
    stride = draw(st.integers(1, 7), label="stride")
    smallest = max(1, span - before - after)
    size = draw(st.integers(smallest, max(smallest, 40)), label="size")
    return size, kernel, stride, before, after, dilation


@st.composite
def pool2d_cases(draw: st.DrawFn) -> SimpleNamespace:
    """A problem with the columns of cases/pool2d.csv as attributes; the batch may be empty."""
    windows = draw(axes(), label="rows"), draw(axes(), label="columns")
    return SimpleNamespace(
        n=draw(st.integers(0, 3), label="n"),
        c=draw(st.integers(1, 4), label="c"),
        ceil_mode=draw(st.booleans(), label="ceil_mode"),
        **window_columns(*windows),
    )


@given(case=pool2d_cases(), dtype=st.sampled_from(DTYPES), seed=st.integers(0, 2**32 - 1))
def test_any_window_gives_exactly_the_reference(isa: str, case, dtype, seed: int) -> None:
    rng = np.random.default_rng(seed)
    problem = make_problem(integers, rng, case, dtype)
    assert_max_pool_is_reference(problem, rng)
    if not problem.dilated:
        assert_average_pool_is_exact(problem, rng)


@given(case=pool2d_cases(), dtype=st.sampled_from(DTYPES), seed=st.integers(0, 2**32 - 1))
def test_max_pool_with_special_values_is_the_reference(isa: str, case, dtype, seed: int) -> None:
    rng = np.random.default_rng(seed)
    problem = make_problem(integers, rng, case, dtype)
    if problem.input.size:
        special = rng.choice([np.nan, np.inf, -np.inf], max(1, problem.input.size // 5))
        problem.input.ravel()[rng.integers(0, problem.input.size, special.size)] = special
    assert_max_pool_is_reference(problem, rng)


@pytest.mark.parametrize("kernel", [(2, 2), (3, 3)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_max_pool_passes_nan_on(kernel, dtype, isa: str) -> None:
    for position in np.ndindex(*kernel):
        input = np.arange(2 * 36.0, dtype=dtype).reshape(1, 2, 6, 6)
        input[0, 1][position] = np.nan
        output, offsets = _core.max_pool2d_forward(input, kernel, kernel, NO_PADDING, (1, 1), False)
        assert np.isnan(output[0, 1, 0, 0])
        assert np.isnan(output).sum() == 1
        assert offsets[0, 1, 0, 0] == position[0] * kernel[1] + position[1]


@pytest.mark.parametrize("kernel", [(2, 2), (3, 3), (3, 4), (17, 17)])
@pytest.mark.parametrize("fill", [0.0, -np.inf])
def test_max_pool_routes_gradient_to_first_of_equal_maxima(kernel, fill, isa: str) -> None:
    input = np.full((2, 3, 34, 36), fill, np.float32)
    geometry = (kernel, kernel, NO_PADDING, (1, 1), False)
    output, offsets = _core.max_pool2d_forward(input, *geometry)
    assert not offsets.any()
    ones = np.ones_like(output)
    grad_input = _core.max_pool2d_backward(ones, offsets, input.shape, *geometry)
    rows, columns = (kernel[axis] * output.shape[2 + axis] for axis in range(2))
    assert_exact(grad_input[:, :, : rows : kernel[0], : columns : kernel[1]], ones)
    assert grad_input.sum() == ones.sum()


def test_windows_between_the_pixels_give_minus_infinity(isa: str) -> None:
    input = np.ones((1, 1, 2, 9), np.float32)
    geometry = ((2, 2), (1, 1), (2, 2, 0, 0), (3, 1), False)
    output, offsets = _core.max_pool2d_forward(input, *geometry)
    assert_exact(output[0, 0, :, 0], [1.0, -np.inf, 1.0])
    np.testing.assert_array_equal(offsets[0, 0, :, 0], [2, 0, 0])
    grad_input = _core.max_pool2d_backward(np.ones_like(output), offsets, input.shape, *geometry)
    assert grad_input.sum() == 2 * output.shape[3]


def test_offsets_that_lead_out_of_the_image_pass_nothing_on(isa: str) -> None:
    geometry = ((3, 3), (2, 2), (1, 1, 1, 1), (1, 1), False)
    grad_output = np.ones((1, 1, 3, 3), np.float32)
    for value in (0, 2, 6, 8):
        offsets = np.full((1, 1, 3, 3), value, np.uint8)
        grad_input = _core.max_pool2d_backward(grad_output, offsets, (1, 1, 5, 5), *geometry)
        assert grad_input.sum() == 4
    offsets = np.full((1, 1, 3, 3), 255, np.uint8)
    assert _core.max_pool2d_backward(grad_output, offsets, (1, 1, 5, 5), *geometry).sum() <= 9
    geometry = ((17, 17), (9, 9), NO_PADDING, (1, 1), False)
    for value in (-1, 17 * 17, 2**31 - 1, -(2**31)):
        offsets = np.full((1, 1, 1, 1), value, np.int32)
        arguments = (offsets, (1, 1, 17, 17), *geometry)
        assert _core.max_pool2d_backward(grad_output[:, :, :1, :1], *arguments).sum() == 0


@pytest.mark.parametrize("count_include_pad", [False, True])
def test_average_of_ones_counts_the_pixels(count_include_pad: bool, isa: str) -> None:
    ones = np.ones((1, 2, 5, 7), np.float32)
    geometry = ((3, 3), (2, 2), (1, 1, 1, 1), True)
    output = _core.avg_pool2d_forward(ones, *geometry, count_include_pad, 0)
    inside = [4 / 9, 6 / 9, 6 / 9, 4 / 9] if count_include_pad else [1, 1, 1, 1]
    assert_exact(output[0, 1, 0], np.array(inside, np.float32))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["halves_odd", "overlapping_stride_2", "large_window"])
def test_awkward_layouts_change_nothing(name: str, dtype, isa: str, rng) -> None:
    case = next(case for case in load_cases("pool2d") if case.name == name)
    problem = make_problem(integers, rng, case, dtype)
    output, offsets = max_pool(problem)
    average = _core.avg_pool2d_forward(problem.input, *problem.average, True, 0)
    for _, awkward in awkward_layouts(problem.input):
        results = _core.max_pool2d_forward(awkward, *problem.geometry)
        assert_same_bits(results[0], output)
        assert_same_bits(results[1], offsets)
        assert_same_bits(_core.avg_pool2d_forward(awkward, *problem.average, True, 0), average)
    grad_output = integers(rng, output.shape, dtype)
    grad_input = max_pool_backward(problem, grad_output, offsets)
    pairs = zip(awkward_layouts(grad_output), awkward_layouts(offsets), strict=True)
    for (_, awkward), (_, awkward_offsets) in pairs:
        assert_same_bits(max_pool_backward(problem, awkward, awkward_offsets), grad_input)


@pytest.mark.parametrize("threads", [3], indirect=True)
@pytest.mark.parametrize("case", case_parameters("pool2d", use="bench"))
def test_bits_do_not_depend_on_threads_or_run(case, threads: int, isa: str, rng) -> None:
    problem = make_problem(normals, rng, case, np.float32)

    def run():
        output, offsets = max_pool(problem)
        average = _core.avg_pool2d_forward(problem.input, *problem.average, True, 0)
        part = _core.adaptive_avg_pool2d_forward(problem.input, (3, 2))
        shape = problem.input.shape
        return (
            output,
            offsets,
            max_pool_backward(problem, output, offsets),
            average,
            _core.avg_pool2d_backward(output, shape, *problem.average, True, 0),
            part,
            _core.adaptive_avg_pool2d_backward(part, shape),
        )

    expected = run()
    for count in (threads, 2, 1):
        _core.set_num_threads(count)
        for result, former in zip(run(), expected, strict=True):
            assert_same_bits(result, former)


@pytest.mark.parametrize("batch", [(2,), ()], ids=["images", "one_image"])
def test_functional_max_pool_follows_its_arguments(batch, rng) -> None:
    image = tensor(distinct(rng, (*batch, 3, 9, 8)), requires_grad=True)
    output, indices = functional.max_pool2d(
        image, (2, 3), 2, (1, 1), dilation=2, ceil_mode=True, return_indices=True
    )
    geometry = ((2, 3), (2, 2), (1, 1, 1, 1), (2, 2))
    data = image.numpy().reshape(-1, 3, 9, 8)
    expected, offsets = reference.max_pool2d(data, *geometry, True)
    assert_exact(output.numpy(), expected.reshape(*batch, *expected.shape[1:]))
    flat = image.numpy().reshape(*batch, 3, 72)
    chosen = np.take_along_axis(flat, indices.numpy().reshape(*batch, 3, -1), axis=-1)
    assert indices.dtype == np.int64
    assert_exact(chosen.reshape(output.shape), output.numpy())
    grad = integers(rng, output.shape, np.float64)
    output.backward(grad)
    expected = reference.max_pool2d_backward(
        grad.reshape(offsets.shape), offsets, data.shape, *geometry
    )
    assert_exact(image.grad.numpy(), expected.reshape(image.shape))


@pytest.mark.parametrize("batch", [(2,), ()], ids=["images", "one_image"])
def test_functional_avg_pool_follows_its_arguments(batch, rng) -> None:
    image = tensor(normals(rng, (*batch, 3, 9, 8), np.float64), requires_grad=True)
    data = image.numpy().reshape(-1, 3, 9, 8)
    output = functional.avg_pool2d(
        image, (2, 3), padding=1, ceil_mode=True, count_include_pad=False
    )
    geometry = ((2, 3), (2, 3), (1, 1, 1, 1))
    expected = reference.avg_pool2d(data, *geometry, True, False)
    assert_close(output.numpy(), expected.reshape(output.shape), 4.0)
    grad = normals(rng, output.shape, np.float64)
    output.backward(grad)
    expected = reference.avg_pool2d_backward(
        grad.reshape(expected.shape), data.shape, *geometry, False
    )
    assert_close(image.grad.numpy(), expected.reshape(image.shape), 4.0)
    doubled = functional.avg_pool2d(image, 2, 1, divisor_override=2)
    assert_exact(doubled.numpy(), 2 * functional.avg_pool2d(image, 2, 1).numpy())


@pytest.mark.parametrize("batch", [(2,), ()], ids=["images", "one_image"])
def test_functional_adaptive_pool_follows_its_arguments(batch, rng) -> None:
    image = tensor(normals(rng, (*batch, 3, 9, 8), np.float64), requires_grad=True)
    data = image.numpy().reshape(-1, 3, 9, 8)
    output = functional.adaptive_avg_pool2d(image, (None, 3))
    assert output.shape == (*batch, 3, 9, 3)
    expected = reference.adaptive_avg_pool2d(data, (9, 3))
    assert_close(output.numpy(), expected.reshape(output.shape), 4.0)
    grad = normals(rng, output.shape, np.float64)
    output.backward(grad)
    expected = reference.adaptive_avg_pool2d_backward(grad.reshape(expected.shape), data.shape)
    assert_close(image.grad.numpy(), expected.reshape(image.shape), 4.0)
    assert functional.adaptive_avg_pool2d(image, 2).shape == (*batch, 3, 2, 2)


def test_a_window_larger_than_the_image_fits_in_ceil_mode() -> None:
    image = np.arange(4.0, dtype=np.float32).reshape(1, 1, 2, 2)
    pooled = functional.max_pool2d(image, 3, 2, ceil_mode=True).numpy()
    assert_exact(pooled, [[[[3.0]]]])
    assert_exact(functional.avg_pool2d(image, 3, 2, ceil_mode=True).numpy(), [[[[1.5]]]])


def test_kernels_that_dwarf_the_image_cost_nothing_extra() -> None:
    image = np.arange(12.0, dtype=np.float32).reshape(1, 1, 3, 4)
    wide = functional.max_pool2d(image, (1, 2**30), 1, (0, 2**29)).numpy()
    assert_exact(wide, np.full((1, 1, 3, 5), 1) * np.array([3, 7, 11]).reshape(1, 1, 3, 1))
    average = functional.avg_pool2d(image, (2**14, 2**14), 1, 2**13, divisor_override=2).numpy()
    assert_exact(average[0, 0, 2], [33.0] * 5)


@pytest.mark.parametrize("activation", ["relu", "relu6"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", case_parameters("pool2d"))
def test_an_activation_in_the_same_pass_changes_no_bit(case, dtype, activation, isa, rng) -> None:
    p = make_problem(lambda *wanted: 4 * normals(*wanted), rng, case, dtype)
    output, offsets = _core.max_pool2d_forward(p.input, *p.geometry, activation)
    pooled, taps = max_pool(p)
    assert_same_bits(output, _core.activation_forward(activation, pooled, 0.0))
    np.testing.assert_array_equal(offsets, taps)
    grad_output = normals(rng, output.shape, dtype)
    rules = offsets, p.input.shape, *p.geometry
    passed = _core.activation_backward(activation, grad_output, output, 0.0)
    assert_same_bits(
        _core.max_pool2d_backward(grad_output, *rules, activation, output),
        _core.max_pool2d_backward(passed, *rules),
    )
