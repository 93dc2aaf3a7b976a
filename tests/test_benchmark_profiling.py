"""benchmarks/profiling.py: where the time of a step goes."""

from __future__ import annotations

import time

import numpy as np
import profiling
import pytest

from convolite import _core, functional, models, optim


def test_a_step_is_taken_apart_into_functions_of_the_core_and_python():
    images, filters = np.ones((8, 16, 64, 64), np.float32), np.ones((16, 16, 3, 3), np.float32)

    def step():
        functional.conv2d(images, filters, padding=1)
        time.sleep(0.05)

    begin = time.perf_counter()
    functions, total = profiling.core_seconds(step, 2)
    assert total <= time.perf_counter() - begin
    assert list(functions) == ["conv2d_forward"]
    assert 0 < functions["conv2d_forward"] < total - 0.1
    found = profiling.shares(step, 2)
    assert sum(found.values()) == pytest.approx(1)
    assert {part for part, share in found.items() if share} == {"conv forward", profiling.PYTHON}


def test_a_training_step_passes_through_every_part():
    model = models.sample_cnn(batch_norm=True)
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    def step():
        functional.cross_entropy(model(np.zeros((2, 1, 28, 28), np.float32)), [1, 2]).backward()
        optimizer.step()

    assert all(profiling.shares(step, 1).values())


def test_the_core_is_as_before_when_a_step_fails():
    def step():
        raise RuntimeError("a step")

    former = _core.conv2d_forward
    with pytest.raises(RuntimeError, match="a step"):
        profiling.core_seconds(step, 1)
    assert _core.conv2d_forward is former


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("pooled_conv2d_forward", "conv forward"),
        ("conv2d_backward_input", "conv, input"),
        ("conv2d_backward_weight", "conv, filters"),
        ("conv2d_backward_bias", "conv, filters"),
        ("pooled_batch_norm_forward_training", "norm forward"),
        ("max_pool2d_backward", "pooling"),
        ("sgd_step", "optimizer"),
        ("binary", profiling.OTHER),
    ],
)
def test_functions_belong_to_parts(name, part):
    assert hasattr(_core, name)
    assert profiling.part_of(name) == part
