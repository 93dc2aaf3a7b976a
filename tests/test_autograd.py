"""The reverse walk: what is recorded, in which order it is visited, what it adds to `.grad`."""

from __future__ import annotations

import gc
import threading
import weakref
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

import convolite
from convolite import Tensor
from convolite.autograd import Function, gradient_of


class Scale(Function):
    """input * factor, with a log of the gradients that were asked for."""

    asked: ClassVar[list[list[bool]]] = []

    @staticmethod
    def forward(ctx, input, factor):
        ctx.factor = factor
        return input * factor

    @staticmethod
    def backward(ctx, grad_output):
        Scale.asked.append(ctx.needs_input_grad)
        return grad_output * ctx.factor, None


class Square(Function):
    """input ** 2, which needs its saved input."""

    @staticmethod
    def forward(ctx, input):
        ctx.save(input=input)
        return input * input

    @staticmethod
    def backward(ctx, grad_output):
        return (2.0 * ctx.saved.input * grad_output,)


class Both(Function):
    """left + right; hands the same array to both inputs."""

    @staticmethod
    def forward(ctx, left, right):
        return left + right

    @staticmethod
    def backward(ctx, grad_output):
        return grad_output, grad_output


def leaf(*values: float) -> Tensor:
    return convolite.tensor(np.array(values), requires_grad=True)


def test_gradient_of_a_chain_reaches_the_leaf():
    input = leaf(1.0, 2.0, 3.0)
    Square.apply(Scale.apply(input, 3.0)).backward(np.ones(3))
    np.testing.assert_array_equal(input.grad.numpy(), 18.0 * input.numpy())


def test_a_tensor_used_twice_gets_the_sum_of_both_gradients():
    input = leaf(1.0, -2.0)
    Both.apply(Scale.apply(input, 3.0), Square.apply(input)).backward(np.ones(2))
    np.testing.assert_array_equal(input.grad.numpy(), 3.0 + 2.0 * input.numpy())


def test_an_intermediate_result_used_twice_is_visited_once():
    Scale.asked.clear()
    input = leaf(2.0)
    middle = Scale.apply(input, 5.0)
    Both.apply(Square.apply(middle), Square.apply(middle)).backward()
    assert len(Scale.asked) == 1
    assert input.grad.item() == 2 * 2 * 10.0 * 5.0


def test_backward_twice_accumulates_into_grad():
    input = leaf(2.0)
    Square.apply(input).backward()
    first = input.grad
    Square.apply(input).backward()
    assert input.grad.item() == 8.0
    assert input.grad is first


def test_assigned_gradients_are_added_to_and_read_only_ones_left_alone():
    input = leaf(2.0)
    frozen = np.array([1.0])
    frozen.flags.writeable = False
    input.grad = frozen
    Square.apply(input).backward()
    assert input.grad.item() == 5.0
    assert frozen[0] == 1.0


def test_gradients_of_two_leaves_do_not_share_memory():
    left, right = leaf(1.0), leaf(2.0)
    Both.apply(left, right).backward()
    left.grad.numpy()[...] = 7.0
    assert right.grad.item() == 1.0


def test_the_gradient_given_to_backward_is_not_shared():
    input, given = leaf(1.0, 2.0), np.ones(2)
    Both.apply(input, np.zeros(2)).backward(given)
    input.grad.numpy()[...] = 7.0
    np.testing.assert_array_equal(given, np.ones(2))
    given = np.ones(2)
    other = leaf(1.0, 2.0)
    other.backward(given)
    other.grad.numpy()[...] = 7.0
    np.testing.assert_array_equal(given, np.ones(2))


@pytest.mark.parametrize("second", [Square, Both], ids=lambda each: each.__name__)
def test_adding_gradients_up_leaves_those_alone_that_others_see(second):
    input, given = leaf(1.0, 2.0), np.ones(2)
    middle = Scale.apply(input, 3.0)
    branch = Square.apply(middle) if second is Square else middle
    Both.apply(middle, branch).backward(given)
    np.testing.assert_array_equal(given, np.ones(2))
    slope = 2 * 3.0 * input.numpy() if second is Square else 1.0
    np.testing.assert_array_equal(input.grad.numpy(), 3.0 * (1.0 + slope))


class Handing(Function):
    """input + 0, whose backward hands on what `handed` makes of the gradient."""

    handed = staticmethod(lambda ctx, grad: grad)

    @staticmethod
    def forward(ctx, input):
        ctx.save(input=input)
        return input + 0.0

    @classmethod
    def backward(cls, ctx, grad_output):
        return (cls.handed(ctx, grad_output),)


class New(Handing):
    gives_new_arrays = True


FIXED = np.full((2, 3), 5.0)
HANDED = {
    "the gradient": lambda ctx, grad: grad,
    "a view": lambda ctx, grad: grad[:],
    "a strided view": lambda ctx, grad: np.lib.stride_tricks.as_strided(grad),
    "the same memory by another way": lambda ctx, grad: np.from_dlpack(grad),
    "a saved array": lambda ctx, grad: ctx.saved.input,
    "a constant": lambda ctx, grad: FIXED,
}


@pytest.mark.parametrize("what", HANDED)
def test_only_arrays_promised_as_new_are_summed_in_place(what, monkeypatch):
    monkeypatch.setattr(Handing, "handed", staticmethod(HANDED[what]))
    input = leaf(*np.arange(6.0))
    given = np.ones((2, 3))
    middle = Scale.apply(input, 3.0).reshape(2, 3)
    total = Both.apply(Handing.apply(middle), Handing.apply(middle))
    for _ in range(2):
        total.backward(given, retain_graph=True)
    once = HANDED[what](SimpleNamespace(saved=SimpleNamespace(input=middle.numpy())), given)
    np.testing.assert_array_equal(input.grad.numpy(), 2 * 2 * 3.0 * np.ravel(once))
    np.testing.assert_array_equal(given, np.ones((2, 3)))
    np.testing.assert_array_equal(FIXED, np.full((2, 3), 5.0))
    np.testing.assert_array_equal(middle.numpy(), 3.0 * np.arange(6.0).reshape(2, 3))


@pytest.mark.parametrize("what", HANDED)
def test_only_arrays_promised_as_new_become_a_leafs_gradient(what, monkeypatch):
    monkeypatch.setattr(Handing, "handed", staticmethod(HANDED[what]))
    input = convolite.tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    given = np.ones((2, 3))
    output = Handing.apply(input)
    for _ in range(2):
        output.backward(given, retain_graph=True)
    once = HANDED[what](SimpleNamespace(saved=SimpleNamespace(input=input.numpy())), given)
    np.testing.assert_array_equal(input.grad.numpy(), 2 * once)
    np.testing.assert_array_equal(given, np.ones((2, 3)))
    np.testing.assert_array_equal(FIXED, np.full((2, 3), 5.0))
    np.testing.assert_array_equal(input.numpy(), np.arange(6.0).reshape(2, 3))


def test_a_new_array_becomes_a_leafs_gradient_without_a_copy(monkeypatch):
    made = np.full(2, 5.0)
    monkeypatch.setattr(New, "handed", staticmethod(lambda ctx, grad: made))
    input = leaf(1.0, 2.0)
    New.apply(input).backward(np.ones(2))
    assert np.shares_memory(input.grad.numpy(), made)


def test_a_new_array_with_a_view_beside_it_is_left_alone():
    class AndView(Function):
        gives_new_arrays = True

        @staticmethod
        def forward(ctx, left, right):
            return left + right.reshape(left.shape)

        @staticmethod
        def backward(ctx, grad_output):
            new = 2.0 * grad_output
            return new, new.reshape(2, 1)

    left, right = leaf(1.0, 2.0), convolite.tensor(np.ones((2, 1)), requires_grad=True)
    first, second = Scale.apply(left, 1.0), Scale.apply(right, 1.0)
    Both.apply(AndView.apply(first, second), Scale.apply(first, 10.0)).backward(np.ones(2))
    np.testing.assert_array_equal(left.grad.numpy(), [12.0, 12.0])
    np.testing.assert_array_equal(right.grad.numpy(), [[2.0], [2.0]])


@pytest.mark.parametrize("what", ["the gradient", "a view"])
def test_a_new_array_is_not_the_gradient_itself_nor_a_view(what, monkeypatch):
    monkeypatch.setattr(Handing, "handed", staticmethod(HANDED[what]))
    input, given = leaf(1.0, 2.0), np.ones(2)
    middle = Scale.apply(input, 3.0)
    Both.apply(New.apply(middle), New.apply(middle)).backward(given)
    np.testing.assert_array_equal(given, np.ones(2))
    np.testing.assert_array_equal(input.grad.numpy(), [6.0, 6.0])


@pytest.mark.parametrize("first_is_new", [True, False])
def test_a_new_array_takes_the_sum(first_is_new, monkeypatch):
    made = np.full(2, 5.0)
    monkeypatch.setattr(New, "handed", staticmethod(lambda ctx, grad: made))
    input = leaf(1.0, 2.0)
    middle = Scale.apply(input, 3.0)
    if first_is_new:  # the walk comes to the later call first
        branches = [Scale.apply(middle, 2.0), New.apply(middle)]
    else:
        branches = [New.apply(middle), Scale.apply(middle, 2.0)]
    Both.apply(*branches).backward(np.ones(2))
    np.testing.assert_array_equal(made, [7.0, 7.0])
    np.testing.assert_array_equal(input.grad.numpy(), [21.0, 21.0])


@pytest.mark.parametrize(
    "made",
    [np.float64(5.0), np.array(5.0), np.array(5.0, ">f8"), np.array([5.0])],
    ids=["a scalar", "no axes beside a scalar", "swapped bytes", "another shape"],
)
@pytest.mark.parametrize("other", [New, Square], ids=["both", "one"])
def test_new_arrays_that_cannot_take_the_sum_are_added_all_the_same(made, other, monkeypatch):
    monkeypatch.setattr(New, "handed", staticmethod(lambda ctx, grad: made.copy()))
    input = convolite.tensor(np.array(1.0), requires_grad=True)
    middle = Scale.apply(input, 3.0)
    for kinds in ((New, other), (other, New)):
        input.grad = None
        branches = [kind.apply(middle) for kind in kinds]
        Both.apply(*branches).sum().backward(retain_graph=True)
        slope = 5.0 if other is New else 2 * 3.0
        np.testing.assert_array_equal(input.grad.numpy(), 3.0 * (5.0 + slope))


def test_a_new_array_of_another_shape_is_broadcast(monkeypatch):
    monkeypatch.setattr(New, "handed", staticmethod(lambda ctx, grad: np.array([5.0])))
    input = leaf(1.0, 2.0)
    middle = Scale.apply(input, 3.0)
    Both.apply(Square.apply(middle), New.apply(middle)).backward(np.ones(2))
    np.testing.assert_array_equal(input.grad.numpy(), 3.0 * (5.0 + 2 * 3.0 * input.numpy()))


def test_a_new_array_for_two_inputs_is_left_alone():
    class Twice(Both):
        gives_new_arrays = True

        @staticmethod
        def backward(ctx, grad_output):
            new = 5.0 * grad_output
            return new, new

    left, right = leaf(1.0, 2.0), leaf(3.0, 4.0)
    first, second = Scale.apply(left, 1.0), Scale.apply(right, 1.0)
    Both.apply(Twice.apply(first, second), Square.apply(first)).backward(np.ones(2))
    np.testing.assert_array_equal(left.grad.numpy(), 5.0 + 2 * left.numpy())
    np.testing.assert_array_equal(right.grad.numpy(), [5.0, 5.0])


def test_a_new_array_that_is_not_contiguous_is_left_alone(monkeypatch):
    made = []

    def transposed(ctx, grad):
        made.append(np.full((3, 2), 5.0, order="F"))
        return made[-1]

    monkeypatch.setattr(New, "handed", staticmethod(transposed))
    input = convolite.tensor(np.ones((3, 2)), requires_grad=True)
    middle = Scale.apply(input, 3.0)
    Both.apply(New.apply(middle), New.apply(middle)).backward(np.ones((3, 2)))
    np.testing.assert_array_equal(input.grad.numpy(), np.full((3, 2), 30.0))
    assert all((each == 5.0).all() for each in made)


@pytest.mark.parametrize("looked_at", [False, True])
def test_a_second_backward_adds_to_the_same_array(looked_at):
    input = leaf(1.0, 2.0)
    total = Square.apply(input)
    total.backward(np.ones(2), retain_graph=True)
    memory = gradient_of(input)
    assert not looked_at or input.grad.numpy() is memory
    total.backward(np.ones(2))
    assert input.grad.numpy() is memory
    np.testing.assert_array_equal(memory, 2 * 2 * input.numpy())


def test_a_second_backward_leaves_a_gradient_that_is_read_only():
    input, given = leaf(1.0, 2.0), np.ones(2)
    given.setflags(write=False)
    input.grad = given
    Square.apply(input).backward(np.ones(2))
    np.testing.assert_array_equal(given, np.ones(2))
    np.testing.assert_array_equal(input.grad.numpy(), 1.0 + 2 * input.numpy())


def test_only_the_gradients_that_matter_are_asked_for():
    Scale.asked.clear()
    Scale.apply(leaf(1.0), 2.0).backward()
    assert Scale.asked == [[True, False]]


def test_nothing_is_recorded_for_inputs_without_gradient():
    output = Square.apply(convolite.tensor([1.0]))
    assert not output.requires_grad
    assert output.is_leaf


def test_arrays_stand_where_tensors_may():
    output = Both.apply(leaf(1.0), np.array([2.0]))
    assert output.requires_grad
    assert output.item() == 3.0


def test_no_grad_records_nothing_and_ends_after_an_exception():
    input = leaf(1.0)
    outputs = []
    with pytest.raises(ZeroDivisionError), convolite.no_grad():
        outputs.append(Square.apply(input)) or 1 / 0
    assert not outputs[0].requires_grad
    assert Square.apply(input).requires_grad


def test_no_grad_nests_with_enable_grad_and_decorates():
    input = leaf(1.0)

    @convolite.no_grad()
    def evaluate(depth: int) -> Tensor:
        assert not convolite.is_grad_enabled()
        return evaluate(depth - 1) if depth else Square.apply(input)

    assert not evaluate(3).requires_grad
    assert convolite.is_grad_enabled()
    with convolite.no_grad(), convolite.enable_grad():
        assert Square.apply(input).requires_grad
    assert convolite.is_grad_enabled()


def test_no_grad_belongs_to_one_thread():
    seen = []
    with convolite.no_grad():
        thread = threading.Thread(target=lambda: seen.append(convolite.is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_a_chain_of_100000_operations_is_walked_without_recursion():
    input = leaf(1.0)
    output = input
    for _ in range(100_000):
        output = Scale.apply(output, 1.0)
    output.backward()
    assert input.grad.item() == 1.0


def test_a_long_chain_that_is_never_walked_is_freed_without_recursion():
    output = leaf(1.0)
    for _ in range(100_000):
        output = Scale.apply(output, 1.0)
    del output
    gc.collect()


def test_saved_arrays_are_freed_by_backward():
    class Payload(np.ndarray):
        pass

    class Keep(Function):
        @staticmethod
        def forward(ctx, input):
            payload = np.ones(3).view(Payload)
            ctx.save(payload=payload)
            Keep.reference = weakref.ref(payload)
            return input + 0.0

        @staticmethod
        def backward(ctx, grad_output):
            return (grad_output,)

    output = Keep.apply(leaf(1.0))
    assert Keep.reference() is not None
    output.backward()
    gc.collect()
    assert Keep.reference() is None


def test_second_backward_says_that_the_graph_is_gone():
    output = Square.apply(leaf(1.0))
    output.backward()
    with pytest.raises(RuntimeError, match="were freed by an earlier backward"):
        output.backward()


def test_retain_graph_allows_a_second_backward():
    input = leaf(3.0)
    output = Square.apply(input)
    output.backward(retain_graph=True)
    output.backward()
    assert input.grad.item() == 12.0


def test_backward_without_gradient_needs_a_single_element():
    with pytest.raises(RuntimeError, match=r"grad must be given .* \(shape = \(2,\)\)"):
        Square.apply(leaf(1.0, 2.0)).backward()


def test_backward_of_something_without_gradient_is_an_error():
    with pytest.raises(RuntimeError, match="does not depend on anything with requires_grad"):
        convolite.tensor([1.0]).backward()


def test_backward_checks_the_shape_of_the_gradient():
    with pytest.raises(ValueError, match=r"grad must have shape \(2,\), got \(3,\)"):
        Square.apply(leaf(1.0, 2.0)).backward(np.ones(3))


def test_a_gradient_too_many_is_noticed():
    class Wrong(Function):
        @staticmethod
        def forward(ctx, input):
            return input

        @staticmethod
        def backward(ctx, grad_output):
            return grad_output, None

    with pytest.raises(ValueError, match="zip"):
        Wrong.apply(leaf(1.0)).backward()


@pytest.mark.parametrize("behind", [lambda input: input, convolite.functional.relu])
@pytest.mark.parametrize("times", [1, 2])
def test_a_gradient_that_numpy_made_a_scalar_is_an_array_to_all_others(behind, times):
    class Double(Function):
        @staticmethod
        def forward(ctx, input):
            return input * 2

        @staticmethod
        def backward(ctx, grad_output):
            assert ctx.saved is None
            return (grad_output * 2,)

    input = convolite.tensor(np.float32(3), requires_grad=True)
    for _ in range(times):
        Double.apply(behind(input)).backward()
    convolite.optim.SGD([input], lr=0.5).step()
    assert (input.grad.item(), input.item()) == (2 * times, 3 - times)


@pytest.mark.parametrize("dtype", [np.float16, np.longdouble])
def test_other_kinds_of_float_add_up_too(dtype):
    input = convolite.tensor(np.ones(3, dtype), requires_grad=True)
    for _ in range(2):
        input.backward(np.ones(3, dtype))
    np.testing.assert_array_equal(input.grad.numpy(), np.full(3, 2, dtype))


def test_a_gradient_may_overlap_the_one_that_is_there():
    numbers = np.arange(2**18 + 1, dtype=np.float32) % 97
    expected = numbers[1:] + numbers[:-1]
    input = convolite.tensor(np.zeros(2**18, np.float32), requires_grad=True)
    input.grad = numbers[1:]
    input.backward(numbers[:-1])
    np.testing.assert_array_equal(input.grad.numpy(), expected)
