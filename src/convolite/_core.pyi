# The compiled module: what csrc/python/ binds. Arrays in and out; no Tensor is known here.
# Results are fresh, C-contiguous arrays; gradients are overwritten, never accumulated.
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Pair = tuple[int, int]
Quadruple = tuple[int, int, int, int]

def config() -> dict[str, Any]: ...
def get_num_threads() -> int: ...
def set_num_threads(threads: int) -> None: ...
def get_fast_math() -> bool: ...
def set_fast_math(on: bool) -> None: ...
def set_isa(name: str) -> None: ...
def memory_stats() -> dict[str, int]: ...
def release_memory() -> None: ...
def set_buffer_poison(enabled: bool) -> None: ...
def empty(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array: ...
def zeros(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array: ...
def conv2d_forward(
    input: Array,
    weight: Array,
    bias: Array | None,
    stride: Pair,
    padding: Quadruple,
    dilation: Pair,
    groups: int,
    activation: str,
    norm: tuple[Array | None, Array | None, Array, Array, float] | None = None,
    residual: Array | None = None,
) -> Array: ...
def pooled_conv2d_forward(
    input: Array,
    weight: Array,
    bias: Array | None,
    stride: Pair,
    padding: Quadruple,
    dilation: Pair,
    groups: int,
    activation: str,
    window: tuple[Pair, Pair, Quadruple, Pair, bool],
    norm: tuple[Array | None, Array | None, Array, Array, float] | None = None,
) -> tuple[Array, Array, tuple[int, int, int, int]]: ...
def conv2d_backward_input(
    grad_output: Array,
    weight: Array,
    input_shape: tuple[int, ...],
    stride: Pair,
    padding: Quadruple,
    dilation: Pair,
    groups: int,
) -> Array: ...
def conv2d_backward_weight(
    grad_output: Array,
    input: Array,
    weight_shape: tuple[int, ...],
    stride: Pair,
    padding: Quadruple,
    dilation: Pair,
    groups: int,
) -> Array: ...
def conv2d_backward_bias(grad_output: Array) -> Array: ...
def conv2d_backward_epilogue(
    activation: str,
    grad_output: Array,
    output: Array,
    wants_passed: bool,
    wants_bias: bool,
    in_place: bool,
) -> tuple[Array | None, Array | None]: ...
def conv2d_explain(
    input_shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    stride: Pair,
    padding: Quadruple,
    dilation: Pair,
    groups: int,
    dtype: npt.DTypeLike,
) -> list[tuple[str, str, str]]: ...
def pooled_conv2d_is_one_pass(
    input_shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    stride: Pair,
    padding: Quadruple,
    dilation: Pair,
    groups: int,
    window: tuple[Pair, Pair, Quadruple, Pair, bool],
    dtype: npt.DTypeLike,
) -> bool: ...
def linear_forward(input: Array, weight: Array, bias: Array | None, activation: str) -> Array: ...
def linear_backward_input(grad_output: Array, weight: Array) -> Array: ...
def linear_backward_weight(grad_output: Array, input: Array) -> Array: ...
def linear_backward_bias(grad_output: Array) -> Array: ...
def linear_backward_epilogue(
    activation: str,
    grad_output: Array,
    output: Array,
    wants_passed: bool,
    wants_bias: bool,
    in_place: bool,
) -> tuple[Array | None, Array | None]: ...
def matmul(left: Array, right: Array) -> Array: ...
def max_pool2d_forward(
    input: Array,
    kernel: Pair,
    stride: Pair,
    padding: Quadruple,
    dilation: Pair,
    ceil_mode: bool,
    activation: str = "none",
) -> tuple[Array, Array]: ...
def max_pool2d_backward(
    grad_output: Array,
    offsets: Array,
    input_shape: tuple[int, ...],
    kernel: Pair,
    stride: Pair,
    padding: Quadruple,
    dilation: Pair,
    ceil_mode: bool,
    activation: str = "none",
    output: Array | None = None,
    grad_bias: Array | None = None,
) -> Array: ...
def avg_pool2d_forward(
    input: Array,
    kernel: Pair,
    stride: Pair,
    padding: Quadruple,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int,
) -> Array: ...
def avg_pool2d_backward(
    grad_output: Array,
    input_shape: tuple[int, ...],
    kernel: Pair,
    stride: Pair,
    padding: Quadruple,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int,
) -> Array: ...
def adaptive_avg_pool2d_forward(input: Array, output_size: Pair) -> Array: ...
def adaptive_avg_pool2d_backward(grad_output: Array, input_shape: tuple[int, ...]) -> Array: ...
def batch_norm_forward_training(
    input: Array,
    weight: Array | None,
    bias: Array | None,
    running_mean: Array | None,
    running_var: Array | None,
    momentum: float,
    eps: float,
    activation: str,
    residual: Array | None = None,
) -> tuple[Array, Array, Array]: ...
def batch_norm_forward_inference(
    input: Array,
    weight: Array | None,
    bias: Array | None,
    running_mean: Array,
    running_var: Array,
    eps: float,
    activation: str,
    residual: Array | None = None,
) -> Array: ...
def batch_norm_statistics(
    running_mean: Array, running_var: Array, eps: float
) -> tuple[Array, Array]: ...
def batch_norm_backward(
    grad_output: Array,
    input: Array,
    weight: Array | None,
    mean: Array,
    inv_std: Array,
    training: bool,
    bias: Array | None = None,
    activation: str = "none",
    output: Array | None = None,
) -> tuple[Array, Array, Array, Array | None]: ...
def pooled_batch_norm_forward_training(
    input: Array,
    weight: Array | None,
    bias: Array | None,
    running_mean: Array | None,
    running_var: Array | None,
    momentum: float,
    eps: float,
    activation: str,
    kernel: Pair,
    stride: Pair,
    padding: Quadruple,
    dilation: Pair,
    ceil_mode: bool,
) -> tuple[Array, Array, Array, Array]: ...
def pooled_batch_norm_forward_inference(
    input: Array,
    weight: Array | None,
    bias: Array | None,
    running_mean: Array,
    running_var: Array,
    eps: float,
    activation: str,
    kernel: Pair,
    stride: Pair,
    padding: Quadruple,
    dilation: Pair,
    ceil_mode: bool,
) -> tuple[Array, Array]: ...
def activation_forward(name: str, input: Array, parameter: float) -> Array: ...
def activation_backward(name: str, grad_output: Array, saved: Array, parameter: float) -> Array: ...
def softmax_forward(input: Array, axis: int) -> Array: ...
def softmax_backward(grad_output: Array, output: Array, axis: int) -> Array: ...
def log_softmax_forward(input: Array, axis: int) -> Array: ...
def log_softmax_backward(grad_output: Array, output: Array, axis: int) -> Array: ...
def cross_entropy_forward(
    input: Array,
    target: Array,
    weight: Array | None,
    label_smoothing: float,
    ignore_index: int,
    reduction: str,
) -> tuple[Array, Array, float]: ...
def cross_entropy_backward(
    grad_loss: Array,
    log_probabilities: Array,
    target: Array,
    weight: Array | None,
    label_smoothing: float,
    ignore_index: int,
    reduction: str,
    total_weight: float,
) -> Array: ...
def nll_loss_forward(
    input: Array, target: Array, weight: Array | None, ignore_index: int, reduction: str
) -> tuple[Array, float]: ...
def nll_loss_backward(
    grad_loss: Array,
    input_shape: tuple[int, ...],
    target: Array,
    weight: Array | None,
    ignore_index: int,
    reduction: str,
    total_weight: float,
) -> Array: ...
def dropout_forward(input: Array, noise: Array, p: float) -> tuple[Array, Array]: ...
def dropout_backward(grad_output: Array, kept: Array, p: float) -> Array: ...
def concatenate(arrays: Sequence[Array], axis: int) -> Array: ...
def split(
    array: Array, shapes: Sequence[tuple[int, ...]], axis: int, wanted: Sequence[bool]
) -> tuple[Array | None, ...]: ...
def pad(input: Array, widths: Sequence[int], value: float) -> Array: ...
def pad_backward(grad_output: Array, widths: Sequence[int]) -> Array: ...
def binary(op: str, a: Array, b: Array) -> Array: ...
def are_apart(arrays: Sequence[Array | None]) -> bool: ...
def add_in_place(total: Array, addend: Array) -> None: ...
def unary(op: str, a: Array) -> Array: ...
def reduce(op: str, a: Array, axes: tuple[int, ...] | None, keepdims: bool) -> Array: ...
def reduce_backward(
    op: str, grad_output: Array, input_shape: tuple[int, ...], axes: tuple[int, ...]
) -> Array: ...
def sgd_step(
    parameters: list[Array],
    gradients: list[Array],
    momentum_buffers: list[Array],
    first_step: bool,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
) -> None: ...
def adam_step(
    parameters: list[Array],
    gradients: list[Array],
    exp_avgs: list[Array],
    exp_avg_sqs: list[Array],
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
) -> None: ...
def rmsprop_step(
    parameters: list[Array],
    gradients: list[Array],
    square_avgs: list[Array],
    grad_avgs: list[Array],
    momentum_buffers: list[Array],
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
    momentum: float,
    centered: bool,
) -> None: ...
def gather_rows(array: Array, indices: npt.NDArray[np.int64]) -> Array: ...
def gather_images(
    images: Array,
    indices: npt.NDArray[np.int64],
    mean: Array,
    std: Array,
    shift_y: Array | None,
    shift_x: Array | None,
    flip: Array | None,
) -> npt.NDArray[np.float32]: ...
