"""Transforms: what each does to a batch, what it refuses, and that the core's pass agrees."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import convolite
from convolite import _core
from convolite.data import ArrayDataset, DataLoader
from convolite.data.gather import BatchMaker
from convolite.data.sampling import sample_keys
from convolite.data.transforms import (
    Compose,
    Normalize,
    Pad,
    RandomCrop,
    RandomHorizontalFlip,
    ToFloat,
    Transform,
)

pytestmark = pytest.mark.smoke


def keys_for(count: int) -> Any:
    return sample_keys(9, 0, np.arange(count))


def test_to_float_divides_pixels_by_255_and_leaves_floats_alone(rng):
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    floats = ToFloat()(pixels)
    assert floats.dtype == np.float32
    np.testing.assert_array_equal(floats, pixels / np.float32(255))
    values = rng.standard_normal((2, 1, 3, 3))
    assert ToFloat()(values) is values


def test_normalize_works_channel_by_channel(rng):
    images = rng.standard_normal((4, 3, 5, 5)) * 3 + 1
    mean, std = images.mean(axis=(0, 2, 3)), images.std(axis=(0, 2, 3))
    normalized = Normalize(mean, std)(images)
    np.testing.assert_allclose(normalized.mean(axis=(0, 2, 3)), 0, atol=1e-12)
    np.testing.assert_allclose(normalized.std(axis=(0, 2, 3)), 1, rtol=1e-12)
    assert Normalize(0.5, 2)(images.astype(np.float32)).dtype == np.float32


def test_pad_adds_a_border_on_four_sides():
    images = np.ones((2, 1, 2, 3), np.uint8)
    padded = Pad(((1, 2), (3, 4)), fill=7)(images)
    assert padded.shape == (2, 1, 5, 10)
    assert padded.dtype == np.uint8
    np.testing.assert_array_equal(padded[:, :, 1:3, 3:6], images)
    assert (padded == 7).sum() == padded.size - images.size


def test_random_crop_takes_a_window_of_the_padded_image():
    images = np.arange(1, 5 * 7 + 1, dtype=np.float32).reshape(1, 1, 5, 7).repeat(200, axis=0)
    crops = RandomCrop((4, 6), padding=(2, 1))(images, keys_for(200))
    padded = Pad((2, 1))(images[:1])[0, 0]
    windows = {padded[y : y + 4, x : x + 6].tobytes(): (y, x) for y in range(6) for x in range(4)}
    places = [windows[crop.tobytes()] for crop in crops[:, 0].copy()]
    assert set(places) == set(windows.values())


def test_flip_mirrors_about_the_given_share_of_images():
    images = np.arange(12, dtype=np.float32).reshape(1, 1, 3, 4).repeat(2000, axis=0)
    mirrored = RandomHorizontalFlip(0.25)(images, keys_for(2000))
    is_mirrored = (mirrored == images[..., ::-1]).all(axis=(1, 2, 3))
    assert ((mirrored == images).all(axis=(1, 2, 3)) ^ is_mirrored).all()
    assert 430 < is_mirrored.sum() < 570
    np.testing.assert_array_equal(RandomHorizontalFlip(0)(images), images)
    np.testing.assert_array_equal(RandomHorizontalFlip(1)(images), images[..., ::-1])


def test_parts_of_a_compose_draw_independently():
    images = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4).repeat(500, axis=0)
    flip = RandomHorizontalFlip()
    twice = Compose([flip, flip])(images, keys_for(500))
    unchanged = (twice == images).all(axis=(1, 2, 3)).sum()
    assert 190 < unchanged < 310


def test_without_keys_the_global_generator_decides():
    images = np.arange(64, dtype=np.float32).reshape(1, 1, 8, 8).repeat(20, axis=0)
    crop = RandomCrop(5)
    convolite.manual_seed(1)
    first = crop(images)
    assert not np.array_equal(crop(images), first)
    convolite.manual_seed(1)
    np.testing.assert_array_equal(crop(images), first)


def test_images_are_not_changed_in_place(rng):
    images = rng.standard_normal((3, 2, 6, 6)).astype(np.float32)
    images.flags.writeable = False
    Compose([Pad(1), RandomCrop(6), RandomHorizontalFlip(1), Normalize(0, 2)])(images)


CHAINS = [
    [],
    [ToFloat()],
    [ToFloat(), Normalize(0.3, 0.4)],
    [ToFloat(), Normalize([0.3, 0.1], [0.4, 2.0])],
    [RandomCrop((5, 6), padding=2), ToFloat(), Normalize(0.3, 0.4)],
    [ToFloat(), RandomCrop((5, 6), padding=((3, 1), (0, 4))), RandomHorizontalFlip()],
    [Compose([RandomCrop((5, 6), 9), RandomHorizontalFlip()]), ToFloat(), Normalize(0.3, 0.4)],
    [ToFloat(), Normalize(0.3, 0.4), RandomHorizontalFlip(0.7)],
]
UNFUSABLE = [
    [ToFloat(), Normalize(0.3, 0.4), RandomCrop((5, 6), padding=2)],
    [RandomHorizontalFlip(), RandomCrop((5, 6), padding=2)],
    [RandomCrop((4, 4))],
    [RandomHorizontalFlip(), RandomHorizontalFlip()],
    [Pad(1)],
]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("chain", CHAINS + UNFUSABLE)
def test_the_cores_pass_gives_the_same_bits_as_the_transforms(rng, chain, dtype):
    images = rng.integers(0, 256, (30, 2, 5, 6)).astype(dtype)
    indices = rng.permutation(30)[:20]
    transform = Compose(chain)
    made, labels = BatchMaker(ArrayDataset(images, np.arange(30)), transform, seed=5)(3, indices)
    expected = transform(images[indices], sample_keys(5, 3, indices))
    if expected.dtype == np.uint8:
        expected = expected.astype(np.float32) / np.float32(255)
    assert made.dtype == expected.dtype
    np.testing.assert_array_equal(made, expected)
    np.testing.assert_array_equal(labels, indices)


@pytest.mark.parametrize("chain", CHAINS)
def test_common_chains_use_the_cores_pass(rng, chain, monkeypatch):
    calls = []
    native = _core.gather_images
    monkeypatch.setattr(_core, "gather_images", lambda *args: calls.append(1) or native(*args))
    images = np.zeros((4, 2, 5, 6), np.uint8)
    list(DataLoader((images, np.arange(4)), 2, transform=Compose(chain)))
    assert len(calls) == 2


def test_extreme_shifts_leave_only_what_comes_from_outside():
    images = np.full((1, 1, 3, 3), 255, np.uint8)
    one = np.ones(1, np.float32)
    for shift in (3, -3, 2**31 - 1, -(2**31)):
        for y, x in ((shift, 0), (0, shift)):
            moved = _core.gather_images(
                images,
                np.zeros(1, np.int64),
                one,
                one,
                np.array([y], np.int32),
                np.array([x], np.int32),
                None,
            )
            np.testing.assert_array_equal(moved, np.full((1, 1, 3, 3), -1, np.float32))


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: Normalize(0, 0), ValueError, r"Normalize: std must be positive, got \[0\.0\]"),
        (
            lambda: Normalize([0, 1], [1, 1, 1]),
            ValueError,
            "Normalize: mean has 2 values but std has 3",
        ),
        (
            lambda: Normalize("a", 1),
            TypeError,
            "Normalize: mean must be real numbers, got 'a'",
        ),
        (
            lambda: Normalize(0, float("inf")),
            ValueError,
            "Normalize: std must be finite, got inf",
        ),
        (lambda: Pad(-1), ValueError, "Pad: padding must not be negative, got -1"),
        (
            lambda: RandomCrop(2, "a"),
            ValueError,
            "RandomCrop: padding must be given in pixels, got 'a'",
        ),
        (lambda: RandomCrop(2, -1), ValueError, "RandomCrop: padding must not be negative, got -1"),
        (lambda: Pad("same"), ValueError, "Pad: padding must be given in pixels, got 'same'"),
        (lambda: RandomCrop(0), ValueError, r"RandomCrop: size must be positive, got \(0, 0\)"),
        (
            lambda: RandomHorizontalFlip(1.5),
            ValueError,
            r"RandomHorizontalFlip: p must be in \[0, 1\], got 1.5",
        ),
        (lambda: Compose([3]), TypeError, "Compose: .* callables, but number 0 is 3"),
    ],
)
def test_bad_arguments_are_refused(make, error, text):
    with pytest.raises(error, match=f"^{text}$"):
        make()


@pytest.mark.parametrize(
    ("transform", "images", "error", "text"),
    [
        (
            ToFloat(),
            np.zeros((2, 3)),
            ValueError,
            r"ToFloat: images must have shape \(N, C, H, W\), got \(\d, 3\)",
        ),
        (
            Normalize(0, 1),
            np.zeros((1, 1, 2, 2), np.uint8),
            TypeError,
            "Normalize: images must be floats, got uint8; put ToFloat before it",
        ),
        (
            Normalize([0, 0], [1, 1]),
            np.zeros((1, 3, 2, 2)),
            ValueError,
            "Normalize: mean has 2 values but images have 3 channels",
        ),
        (
            RandomCrop((4, 2), padding=(0, 1)),
            np.zeros((1, 1, 3, 3)),
            ValueError,
            r"RandomCrop: size \(4, 2\) does not fit, the padded images are 3x5",
        ),
    ],
)
def test_images_that_do_not_fit_are_refused(transform: Transform, images, error, text):
    with pytest.raises(error, match=f"^{text}$"):
        transform(images)
    with pytest.raises(error, match=f"^{text}$"):
        next(iter(DataLoader((images, np.zeros(len(images), int)), transform=transform)))
