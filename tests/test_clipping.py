"""Gradient clipping, by norm and by value."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest

import convolite
from convolite import optim
from support.compare import assert_close

pytestmark = pytest.mark.smoke


def parameter_with_gradient(*values):
    parameter = convolite.tensor(np.zeros(len(values)), requires_grad=True)
    parameter.grad = list(values)
    return parameter


@pytest.mark.parametrize(
    ("norm_type", "norm"), [(2.0, 13.0), (1.0, 19.0), (inf, 12.0), (3, (27 + 64 + 1728) ** (1 / 3))]
)
def test_clip_grad_norm_scales_all_gradients_together(norm_type, norm):
    parameters = [parameter_with_gradient(3.0, 4.0), parameter_with_gradient(12.0)]
    bare = convolite.tensor([1.0], requires_grad=True)
    result = optim.clip_grad_norm_([*parameters, bare], 1.0, norm_type)
    assert_close(result.numpy(), norm, norm)
    for parameter, values in zip(parameters, ([3.0, 4.0], [12.0]), strict=True):
        expected = np.array(values) / (norm + 1e-6)
        assert_close(parameter.grad.numpy(), expected, expected, units=16.0)


def test_clip_grad_norm_leaves_small_gradients_and_empty_lists_alone():
    parameter = parameter_with_gradient(3.0, 4.0)
    assert optim.clip_grad_norm_(parameter, 6.0).item() == 5.0
    assert parameter.grad.tolist() == [3.0, 4.0]
    assert optim.clip_grad_norm_([], 1.0).item() == 0.0
    with pytest.raises(RuntimeError, match="the norm of the gradients is nan"):
        optim.clip_grad_norm_(parameter_with_gradient(np.nan), 1.0, error_if_nonfinite=True)


def test_clip_grad_value_limits_each_element():
    parameter = parameter_with_gradient(-3.0, 0.5, 4.0)
    optim.clip_grad_value_([parameter], 1.0)
    assert parameter.grad.tolist() == [-1.0, 0.5, 1.0]
