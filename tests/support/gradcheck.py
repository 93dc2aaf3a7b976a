"""Numerical check of gradients in float64: central differences along random directions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

#: Near eps ** (1/3), where truncation (step ** 2) and rounding (eps / step) are both about 1e-10.
STEP = 2.0**-17

#: Relative to the size of the terms; a thousand times the error expected at STEP, and far below
#: the effect of any wrong term.
TOLERANCE = 1e-7

DIRECTIONS = 3


def assert_gradients(
    function: Callable[..., Array],
    inputs: Sequence[Array],
    gradients: Sequence[Array | None],
    grad_output: Array,
    rng: np.random.Generator,
) -> None:
    """Checks the vector-Jacobian products `gradients` of `function(*inputs)` with `grad_output`.

    `gradients[i]` belongs to `inputs[i]`; None means that the input is not checked.  For each
    checked input and a few random directions d the slope of sum(grad_output * function) along d
    must equal sum(gradient * d).
    """
    inputs = [np.asarray(array) for array in inputs]
    output = np.asarray(function(*inputs))
    if output.shape != np.shape(grad_output):
        raise AssertionError(
            f"output {output.shape} and grad_output {np.shape(grad_output)} differ"
        )
    size = float(np.abs(grad_output * output).sum())
    for position, gradient in enumerate(gradients):
        if gradient is None:
            continue
        given = inputs[position]
        if given.dtype != np.float64:
            raise AssertionError(f"input {position} must be float64 for a numerical gradient")
        if gradient.shape != given.shape:
            raise AssertionError(
                f"gradient {position} is {gradient.shape}, its input {given.shape}"
            )
        for _ in range(DIRECTIONS):
            direction = rng.standard_normal(given.shape)
            numerical = _slope(function, inputs, position, direction, grad_output)
            analytic = float((gradient * direction).sum())
            bound = TOLERANCE * (float(np.abs(gradient * direction).sum()) + size)
            if not abs(numerical - analytic) <= bound:
                raise AssertionError(
                    f"gradient of input {position}: slope is {numerical:.12g} by differences, "
                    f"{analytic:.12g} by the backward function (bound {bound:.3g})"
                )


def _slope(
    function: Callable[..., Array],
    inputs: Sequence[Array],
    position: int,
    direction: Array,
    grad_output: Array,
) -> float:
    outputs = []
    for step in (STEP, -STEP):
        moved = list(inputs)
        moved[position] = inputs[position] + step * direction
        outputs.append(np.asarray(function(*moved)))
    return float((grad_output * (outputs[0] - outputs[1])).sum()) / (2.0 * STEP)
