"""Tensor: construction, arithmetic with gradients, shapes, indexing, numpy and DLPack."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import mutually_broadcastable_shapes

import convolite
from convolite import Tensor
from support.compare import assert_close, assert_exact
from support.gradcheck import assert_gradients

pytestmark = pytest.mark.smoke


def check_gradients(function, arrays, rng):
    """Compares the gradients of a function of Tensors with numerical ones, in float64."""
    inputs = [convolite.tensor(array, requires_grad=True) for array in arrays]
    output = function(*inputs)
    grad_output = rng.standard_normal(output.shape)
    output.backward(grad_output)
    gradients = [input.grad.numpy() for input in inputs]

    def on_arrays(*values):
        return function(*(Tensor(value) for value in values)).numpy()

    assert_gradients(on_arrays, arrays, gradients, grad_output, rng)


BINARY = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "power": lambda a, b: a**b,
}


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize(
    ("left", "right"),
    [((3, 4), (3, 4)), ((2, 3, 4), (4,)), ((3, 1), (1, 5)), ((), (2, 2)), ((1,), (3, 1, 1))],
)
def test_arithmetic_has_numpys_values_and_numerical_gradients(name, left, right, rng):
    function = BINARY[name]
    arrays = [rng.uniform(0.5, 2.0, shape) for shape in (left, right)]
    output = function(*(Tensor(array) for array in arrays)).numpy()
    expected = function(*arrays)
    assert_close(output, expected, np.abs(expected) + 2.0)
    check_gradients(function, arrays, rng)


@given(mutually_broadcastable_shapes(num_shapes=2, min_side=0, max_side=4))
def test_sums_of_broadcast_integers_are_exact(shapes):
    rng = np.random.default_rng(1)
    arrays = [rng.integers(-4, 5, shape).astype(np.float32) for shape in shapes.input_shapes]
    left, right = (convolite.tensor(array, requires_grad=True) for array in arrays)
    output = left * right - left
    assert_exact(output.numpy(), arrays[0] * arrays[1] - arrays[0])
    output.backward(np.ones(output.shape))
    ones = np.ones(shapes.result_shape)
    assert_exact(left.grad.numpy(), summed_to(ones * arrays[1] - 1, left.shape))
    assert_exact(right.grad.numpy(), summed_to(ones * arrays[0], right.shape))


def summed_to(array, shape):
    """The sum over the axes along which an array of `shape` was broadcast."""
    added = array.ndim - len(shape)
    array = array.sum(axis=tuple(range(added)))
    repeated = tuple(i for i, size in enumerate(shape) if size != array.shape[i])
    return array.sum(axis=repeated, keepdims=True)


def test_numbers_stand_on_either_side_and_keep_the_dtype():
    tensor = convolite.tensor([1.0, 2.0])
    for result, expected in [
        (tensor + 1, [2, 3]),
        (1 + tensor, [2, 3]),
        (tensor - 3.0, [-2, -1]),
        (3.0 - tensor, [2, 1]),
        (tensor * np.float64(2), [2, 4]),
        (np.float64(2) * tensor, [2, 4]),
        (tensor / 2, [0.5, 1]),
        (2 / tensor, [2, 1]),
        (tensor**2, [1, 4]),
        (2**tensor, [2, 4]),
        (-tensor, [-1, -2]),
        (tensor + True, [2, 3]),
    ]:
        assert isinstance(result, Tensor)
        assert result.dtype == np.float32
        assert_exact(result.numpy(), np.array(expected, np.float32))


def test_an_array_on_the_left_gives_a_tensor():
    tensor = convolite.tensor([1.0, 2.0], requires_grad=True)
    result = np.array([10.0, 20.0], np.float32) * tensor
    assert isinstance(result, Tensor)
    result.backward(np.ones(2))
    assert_exact(tensor.grad.numpy(), np.array([10, 20], np.float32))


def test_dtypes_mix_as_in_pytorch():
    single = convolite.tensor([1.0, 2.0], requires_grad=True)
    double = convolite.tensor(np.array([3.0, 4.0]), requires_grad=True)
    result = single * double
    assert result.dtype == np.float64
    result.backward(np.ones(2))
    assert single.grad.dtype == np.float32
    assert double.grad.dtype == np.float64
    assert (single * convolite.tensor(np.array(2.0))).dtype == np.float32
    assert (single * (single > 1.5)).dtype == np.float32
    assert (convolite.tensor(np.array([1, 2])) + 1).dtype == np.float32


@pytest.mark.parametrize("value", ["text", 1j, np.array([1j]), object()])
def test_things_that_are_not_numbers_are_refused(value):
    with pytest.raises(TypeError, match="cannot be combined"):
        convolite.tensor([1.0]) + value


def test_power_has_no_nan_gradient_where_the_slope_is_known():
    base = convolite.tensor([0.0, 2.0], requires_grad=True)
    (base**0.0).backward(np.ones(2))
    assert_exact(base.grad.numpy(), np.zeros(2))
    exponent = convolite.tensor([2.0, 2.0], requires_grad=True)
    (convolite.tensor([0.0, 1.0]) ** exponent).backward(np.ones(2))
    assert_exact(exponent.grad.numpy(), np.zeros(2))


@pytest.mark.parametrize("name", ["exp", "log", "__neg__"])
def test_functions_of_one_tensor(name, rng):
    array = rng.uniform(0.5, 2.0, (3, 4))
    expected = {"exp": np.exp, "log": np.log, "__neg__": np.negative}[name](array)
    assert_close(getattr(Tensor(array), name)().numpy(), expected, np.abs(expected) + 1.0)
    check_gradients(lambda tensor: getattr(tensor, name)(), [array], rng)


@pytest.mark.parametrize("name", ["sum", "mean", "max", "min"])
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), ()])
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions_have_numpys_values_and_numerical_gradients(name, axis, keepdims, rng):
    array = rng.permutation(24).reshape(2, 3, 4).astype(np.float64)
    output = getattr(Tensor(array), name)(axis, keepdims)
    assert_close(output.numpy(), getattr(array, name)(axis=axis, keepdims=keepdims), 300.0)
    check_gradients(lambda tensor: getattr(tensor, name)(axis, keepdims), [array], rng)


def test_equal_maxima_share_the_gradient():
    tensor = convolite.tensor([[3.0, 1.0, 3.0]], requires_grad=True)
    tensor.max().backward()
    assert_exact(tensor.grad.numpy(), np.array([[0.5, 0.0, 0.5]]))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((3, 4), (4, 5)),
        ((4,), (4,)),
        ((4,), (4, 5)),
        ((3, 4), (4,)),
        ((2, 3, 4), (4, 5)),
        ((2, 3, 4), (2, 4, 5)),
        ((2, 1, 3, 4), (5, 4, 2)),
        ((2, 3, 4), (4,)),
        ((0, 4), (4, 5)),
        ((3, 0), (0, 5)),
    ],
)
def test_matrix_product(left, right, rng):
    arrays = [rng.integers(-3, 4, shape).astype(np.float64) for shape in (left, right)]
    assert_exact((Tensor(arrays[0]) @ Tensor(arrays[1])).numpy(), arrays[0] @ arrays[1])
    check_gradients(lambda a, b: a @ b, arrays, rng)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (lambda t: t.reshape(4, 6), lambda a: a.reshape(4, 6)),
        (lambda t: t.reshape((-1, 2)), lambda a: a.reshape(-1, 2)),
        (lambda t: t.flatten(), lambda a: a.reshape(-1)),
        (lambda t: t.flatten(1), lambda a: a.reshape(2, 12)),
        (lambda t: t.flatten(0, 1), lambda a: a.reshape(6, 4)),
        (lambda t: t.transpose(0, 2), lambda a: a.swapaxes(0, 2)),
        (lambda t: t.transpose(-1, 1), lambda a: a.swapaxes(1, 2)),
        (lambda t: t.permute(2, 0, 1), lambda a: a.transpose(2, 0, 1)),
        (lambda t: t.T, lambda a: a.T),
        (lambda t: t[0], lambda a: a[0]),
        (lambda t: t[:, 1:3, ::-2], lambda a: a[:, 1:3, ::-2]),
        (lambda t: t[..., None, 2], lambda a: a[..., None, 2]),
        (lambda t: t[1, 2, 3], lambda a: a[1, 2, 3]),
        (lambda t: t[[0, 1, 1, 0]], lambda a: a[[0, 1, 1, 0]]),
        (lambda t: t[np.array([1, 1]), np.array([2, 2])], lambda a: a[[1, 1], [2, 2]]),
        (
            lambda t: t[np.arange(24).reshape(2, 3, 4) % 3 == 0],
            lambda a: a[np.arange(24).reshape(2, 3, 4) % 3 == 0],
        ),
    ],
)
def test_changes_of_shape_and_indexing(change, same, rng):
    array = rng.standard_normal((2, 3, 4))
    assert_exact(change(Tensor(array)).numpy().astype(np.float64), same(array))
    check_gradients(change, [array], rng)


def test_gradients_of_indexing_and_stacked_products_lie_in_the_cores_aligned_memory():
    stack = convolite.tensor(np.ones((3, 40, 50), np.float32), requires_grad=True)
    product = stack @ convolite.tensor(np.ones((50, 60), np.float32))
    rows, picked = (Tensor(np.ones((300, 400)), requires_grad=True) for _ in range(2))
    rows[1:7].sum().backward()
    picked[[0, 2, 2]].sum().backward()
    product.sum().backward()
    for array in (product.numpy(), *(each.grad.numpy() for each in (stack, rows, picked))):
        assert type(array.base).__name__ == "PyCapsule"
        assert array.ctypes.data % 64 == 0


def test_iteration_gives_rows_with_gradients():
    tensor = convolite.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    first, second = tensor
    (first * second).sum().backward()
    assert_exact(tensor.grad.numpy(), np.array([[3, 4], [1, 2]]))
    assert len(tensor) == 2


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1, np.float32),
        ([1, 2], np.float32),
        ([[1.5], [2.5]], np.float32),
        (np.array([1.0]), np.float64),
        (np.array([1.0], np.float32), np.float32),
        (np.array([1, 2]), np.int64),
        (np.float64(3.0), np.float64),
        (np.array([True]), np.bool_),
    ],
)
def test_tensor_keeps_array_dtypes_and_makes_numbers_float32(data, dtype):
    tensor = convolite.tensor(data)
    assert tensor.dtype == dtype
    assert_exact(tensor.numpy(), np.asarray(data, dtype))


def test_tensor_copies_and_the_class_shares():
    array = np.ones(3, np.float32)
    copied, shared = convolite.tensor(array), Tensor(array)
    array[0] = 5.0
    assert copied.numpy()[0] == 1.0
    assert shared.numpy() is array


def test_tensor_takes_a_dtype_and_other_tensors():
    tensor = convolite.tensor(convolite.tensor([1.0, 2.0]), dtype=np.float64, requires_grad=True)
    assert tensor.dtype == np.float64
    assert tensor.requires_grad
    assert tensor.is_leaf


def test_properties():
    tensor = convolite.tensor(np.zeros((2, 3)))
    assert (tensor.shape, tensor.ndim, tensor.size, tensor.dtype) == ((2, 3), 2, 6, np.float64)
    assert tensor.grad is None
    assert not tensor.requires_grad


def test_detach_shares_memory_and_forgets_the_graph():
    tensor = convolite.tensor([1.0], requires_grad=True)
    detached = (tensor * 1.0).detach()
    assert not detached.requires_grad
    assert detached.is_leaf
    assert tensor.detach().numpy() is tensor.numpy()


def test_astype_passes_gradients_between_floats():
    tensor = convolite.tensor([1.5, 2.5], requires_grad=True)
    tensor.astype(np.float64).sum().backward()
    assert tensor.grad.dtype == np.float32
    assert tensor.astype(np.float32) is tensor
    assert tensor.astype(np.int64).dtype == np.int64


def test_item_float_int_and_bool():
    tensor = convolite.tensor([[2.5]])
    assert tensor.item() == float(tensor) == 2.5
    assert int(tensor) == 2
    assert bool(tensor)
    assert convolite.tensor([[1.0, 2.0]]).tolist() == [[1.0, 2.0]]


def test_comparisons_give_arrays():
    tensor = convolite.tensor([1.0, 2.0, 3.0])
    assert (tensor > 2).tolist() == [False, False, True]
    assert (tensor <= tensor).all()
    assert (tensor == np.array([1.0, 0.0, 3.0])).tolist() == [True, False, True]
    assert (tensor != 1).tolist() == [False, True, True]
    assert (tensor >= 2).tolist() == [False, True, True]
    assert (tensor < 2).tolist() == [True, False, False]
    assert tensor.argmax() == 2
    assert len({tensor, tensor}) == 1


def test_numpy_functions_take_tensors():
    tensor = convolite.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    array = tensor.numpy()
    assert_exact(np.exp(tensor), np.exp(array))
    assert np.sum(tensor) == 10.0
    assert_exact(np.mean(tensor, axis=0), array.mean(axis=0))
    assert_exact(np.concatenate([tensor, tensor]), np.concatenate([array, array]))
    assert_exact(np.transpose(tensor), array.T)
    np.testing.assert_array_equal(tensor, array)


def test_array_conversion_copies_when_asked():
    tensor = convolite.tensor([1.0, 2.0])
    assert np.asarray(tensor) is tensor.numpy()
    assert np.array(tensor) is not tensor.numpy()
    assert np.asarray(tensor, dtype=np.float64).dtype == np.float64
    assert tensor.__array__(copy=False) is tensor.numpy()
    with pytest.raises(ValueError, match="without a copy"):
        tensor.__array__(np.float64, copy=False)


def test_dlpack_shares_memory_both_ways():
    tensor = convolite.tensor([1.0, 2.0])
    seen = np.from_dlpack(tensor)
    tensor.numpy()[0] = 7.0
    assert seen[0] == 7.0
    array = np.array([1.0, 2.0])
    back = convolite.from_dlpack(array)
    array[1] = 9.0
    assert back.numpy()[1] == 9.0


def test_copies_and_pickles_keep_values_and_requires_grad():
    tensor = convolite.tensor([1.0, 2.0], requires_grad=True)
    for duplicate in (copy.deepcopy(tensor), pickle.loads(pickle.dumps(tensor))):
        assert_exact(duplicate.numpy(), tensor.numpy())
        assert duplicate.requires_grad
        assert not np.shares_memory(duplicate.numpy(), tensor.numpy())


def test_repr_shows_values_dtype_and_origin():
    assert repr(convolite.tensor([1.0, 2.5])) == "tensor([1. , 2.5])"
    assert repr(convolite.tensor(np.array([1]))) == "tensor([1], dtype=int64)"
    tensor = convolite.tensor([1.0], requires_grad=True)
    assert repr(tensor) == "tensor([1.], requires_grad=True)"
    assert repr(tensor * 2) == "tensor([2.], made_by=Multiply)"


def test_gradient_can_be_assigned_and_cleared():
    tensor = convolite.tensor([1.0, 2.0], requires_grad=True)
    tensor.grad = [3.0, 4.0]
    assert isinstance(tensor.grad, Tensor)
    assert tensor.grad.dtype == np.float32
    tensor.grad = convolite.tensor(np.array([5.0, 6.0]))
    assert tensor.grad.dtype == np.float32
    tensor.zero_grad(set_to_none=False)
    assert tensor.grad.tolist() == [0.0, 0.0]
    tensor.grad = None
    assert tensor.grad is None


TENSOR = convolite.tensor(np.zeros((2, 3)), requires_grad=True)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: TENSOR.item(), ValueError, r"item: the tensor must have one element, .*\(2, 3\)"),
        (lambda: TENSOR.reshape(4), ValueError, r"reshape: shape \(4,\) does not hold 6 elements"),
        (lambda: TENSOR.reshape(-1, -1), ValueError, r"reshape: shape may hold one -1"),
        (lambda: TENSOR.flatten(1, 0), ValueError, "flatten: start_dim 1 comes after end_dim 0"),
        (lambda: TENSOR.flatten(2), ValueError, "flatten: start_dim 2 is out of range for 2 axes"),
        (lambda: TENSOR.transpose(0, 5), ValueError, "transpose: dim1 5 is out of range"),
        (lambda: TENSOR.permute(0, 0), ValueError, "permute: axes must name every axis once"),
        (lambda: TENSOR.sum(axis=2), ValueError, "sum: axis 2 is out of range for 2 axes"),
        (lambda: TENSOR.mean(axis=1.5), TypeError, "mean: axis must be an int, got 1.5"),
        (lambda: TENSOR.max(axis=(0, -2)), ValueError, "max: axis names an axis twice"),
        (lambda: TENSOR + np.zeros(4), ValueError, r"\(2, 3\).*\(4,\)"),
        (lambda: TENSOR @ TENSOR, ValueError, "matmul: left has 3 columns but right has 2 rows"),
        (lambda: TENSOR @ 2.0, ValueError, "matmul: both operands need axes"),
        (lambda: len(convolite.tensor(1.0)), TypeError, "has no length"),
        (lambda: list(convolite.tensor(1.0)), TypeError, "cannot be iterated over"),
        (lambda: TENSOR[5], IndexError, "out of bounds"),
        (lambda: convolite.tensor("text"), TypeError, "tensor: data must be real numbers"),
        (lambda: convolite.tensor([1j]), TypeError, "tensor: data must be real numbers"),
        (lambda: Tensor(np.array([1j])), TypeError, "tensor: data must be real numbers"),
        (lambda: Tensor(np.array([{}])), TypeError, "tensor: data must be real numbers"),
        (lambda: convolite.from_dlpack(3), TypeError, "from_dlpack: source has no __dlpack__"),
        (
            lambda: convolite.tensor(np.array([1]), requires_grad=True),
            TypeError,
            "only float tensors can require a gradient, got int64",
        ),
        (
            lambda: setattr(TENSOR * 2, "requires_grad", False),
            RuntimeError,
            "only a leaf can stop requiring a gradient",
        ),
        (
            lambda: setattr(TENSOR, "grad", np.zeros(3)),
            ValueError,
            r"grad: must have shape \(2, 3\), got \(3,\)",
        ),
    ],
)
def test_wrong_calls_say_what_is_wrong(call, error, text):
    with pytest.raises(error, match=text):
        call()


@pytest.mark.parametrize("name", ["sum", "mean", "max", "min"])
def test_reductions_know_the_names_dim_and_keepdim(name):
    values = Tensor(np.arange(12.0).reshape(3, 4))
    reduce = getattr(values, name)
    assert_exact(reduce(dim=1).numpy(), reduce(1).numpy())
    assert_exact(reduce(dim=(0, -1), keepdim=True).numpy(), reduce((0, 1), True).numpy())
    with pytest.raises(TypeError, match=f"^{name}: axis and dim are two names of one argument"):
        reduce(0, dim=0)


def test_one_number_is_formatted_and_more_are_not():
    assert f"{Tensor(np.array([[1.25]])):.1f} {Tensor(np.array(7)):03d}" == "1.2 007"
    pair = Tensor([1.0, 2.0])
    assert f"{pair}" == str(pair)
    with pytest.raises(TypeError, match=r"^format: .* one element for '.3f', got shape \(2,\)$"):
        format(pair, ".3f")


def test_abs_and_its_gradient():
    values = Tensor(np.array([-2.0, 0.0, 3.0]), requires_grad=True)
    output = abs(values)
    assert_exact(output.numpy(), np.array([2.0, 0.0, 3.0]))
    output.backward(np.array([10.0, 10.0, 10.0]))
    assert_exact(values.grad.numpy(), np.array([-10.0, 0.0, 10.0]))
