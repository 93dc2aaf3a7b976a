"""Training with Winograd's convolutions and with the plain sum: the same course within rounding."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import convolite
from convolite import functional, models, nn, optim
from convolite.data import load_digits

STEPS = 200


def losses(create: Callable[[], nn.Module], fast: bool, images, labels) -> np.ndarray:
    """Loss before each of 200 steps of SGD on batches of 64."""
    convolite.set_fast_math(fast)
    try:
        convolite.manual_seed(7)
        model = create()
        optimizer = optim.SGD(model.parameters(), lr=0.03)
        course = []
        for step in range(STEPS):
            rows = np.arange(step * 64, (step + 1) * 64) % len(images)
            loss = functional.cross_entropy(model(convolite.tensor(images[rows])), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            course.append(loss.item())
        return np.array(course)
    finally:
        convolite.set_fast_math(True)


def small_resnet20() -> nn.Module:
    return models.resnet20(in_channels=1)


@pytest.mark.parametrize(
    ("create", "every", "alike", "rtol", "level", "learnt"),
    [(models.sample_cnn, 1, 60, 1e-3, 0.1, 0.6), (small_resnet20, 2, 20, 5e-2, 0.15, 0.2)],
    ids=["sample_cnn", "resnet20"],
)
def test_the_course_of_training_is_the_same_within_rounding(
    create, every, alike, rtol, level, learnt
) -> None:
    """On every pixel of the images, or every second.

    In the deeper network a ReLU opens or closes by rounding alone in the first steps, and gradients
    then differ by 0.5 % (by as much from float64, either way).
    """
    digits = load_digits(train=True)
    images = (digits.images[:640, :, ::every, ::every] / 255).astype(np.float32)
    labels = digits.labels[:640]
    fast, plain = (losses(create, on, images, labels) for on in (True, False))
    assert (fast != plain).any()
    np.testing.assert_allclose(fast[:alike], plain[:alike], rtol=rtol)
    # Later training amplifies any rounding: single losses part, their level must not.
    fast_level, plain_level = (course.reshape(10, 20).mean(axis=1) for course in (fast, plain))
    np.testing.assert_allclose(fast_level, plain_level, rtol=level)
    assert plain[:20].mean() > 2.0
    assert fast[-20:].mean() < learnt


@pytest.mark.parametrize("value", [1, None, "no"])
def test_only_a_bool_turns_it_on_or_off(value) -> None:
    with pytest.raises(TypeError, match="set_fast_math: on must be a bool, got"):
        convolite.set_fast_math(value)
    assert convolite.get_fast_math() is True
