"""Image transforms, applied to a whole batch (N, C, H, W) at once.

Random ones take one key per sample (see `sampling`), so that what happens to an image depends on
(seed, epoch, sample) and never on batch, worker or order. They do not touch labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from convolite import _args
from convolite.data.sampling import (
    Keys,
    derive_keys,
    draw_seed,
    sample_keys,
    uniform_floats,
    uniform_integers,
)
from convolite.interop import numpys_array

Array = npt.NDArray[Any]


class Transform:
    """Base of the transforms that draw from per-sample keys; `apply` is what they do.

    A transform without randomness may as well be a plain function from images to images.
    """

    def __call__(self, images: Any, keys: Keys | None = None) -> Array:
        """Transform a batch.

        Parameters
        ----------
        images : array_like, shape (N, C, H, W)
        keys : ndarray of uint64, shape (N,), optional
            What the random choices are drawn from; `DataLoader` passes them. Default: drawn from
            the global generator.

        Raises
        ------
        ValueError
            If `images` does not have four axes.
        TypeError
            If they are no numbers, or `keys` no array of uint64.
        """
        images = numpys_array(images, type(self).__name__, "images")
        if images.ndim != 4:
            raise ValueError(
                f"{type(self).__name__}: images must have shape (N, C, H, W), got {images.shape}"
            )
        if keys is None:
            keys = sample_keys(draw_seed(), 0, np.arange(len(images)))
        elif not isinstance(keys, np.ndarray) or keys.dtype != np.uint64:
            raise TypeError(
                f"{type(self).__name__}: keys must be an array of uint64, got {_args.excerpt(keys)}"
            )
        return self.apply(images, keys)

    def apply(self, images: Array, keys: Keys) -> Array:
        """Return the transformed batch; the given one is not changed."""
        return images


class Compose(Transform):
    """Several transforms, one after the other."""

    def __init__(self, transforms: Sequence[Callable[..., Any]]) -> None:
        self.transforms = _args.items("Compose", "transforms", transforms)
        for i, transform in enumerate(self.transforms):
            if not callable(transform):
                raise TypeError(
                    "Compose: transforms must hold callables, "
                    f"but number {i} is {_args.excerpt(transform)}"
                )

    def apply(self, images: Array, keys: Keys) -> Array:
        """Apply every transform; each draws from a stream of its own."""
        for stream, transform in enumerate(self.transforms):
            images = call_transform(transform, images, derive_keys(keys, stream))
        return images


class ToFloat(Transform):
    """uint8 pixels to float32 in [0, 1], by dividing by 255; floats pass unchanged."""

    def apply(self, images: Array, keys: Keys) -> Array:
        """Return floats."""
        if images.dtype != np.uint8:
            return images
        return pixels_to_float(images)


class Normalize(Transform):
    """``(images - mean) / std``, channel by channel.

    Parameters
    ----------
    mean, std : float or sequence of float, one for each channel

    Raises
    ------
    ValueError
        If a std is not positive, or their number is not that of the channels.
    TypeError
        For images that are not floats: put `ToFloat` before it.
    """

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float]) -> None:
        self.mean = _channel_values("mean", mean)
        self.std = _channel_values("std", std)
        if len(self.mean) != len(self.std):
            raise ValueError(
                f"Normalize: mean has {len(self.mean)} values but std has {len(self.std)}"
            )
        if not (self.std > 0).all():
            raise ValueError(f"Normalize: std must be positive, got {self.std.tolist()}")

    def apply(self, images: Array, keys: Keys) -> Array:
        """Return normalised images of the same dtype."""
        if images.dtype not in (np.float32, np.float64):
            raise TypeError(
                f"Normalize: images must be floats, got {images.dtype}; put ToFloat before it"
            )
        if len(self.mean) not in (1, images.shape[1]):
            raise ValueError(
                f"Normalize: mean has {len(self.mean)} values but images have "
                f"{images.shape[1]} channels"
            )
        shape = (1, -1, 1, 1)
        mean = self.mean.astype(images.dtype).reshape(shape)
        std = self.std.astype(images.dtype).reshape(shape)
        return np.asarray((images - mean) / std)


class Pad(Transform):
    """A border of `fill` around each image.

    Parameters
    ----------
    padding : int, (h, w) or ((top, bottom), (left, right))
    fill : float, default 0
    """

    def __init__(self, padding: Any, fill: float = 0) -> None:
        self.padding = _border("Pad", padding)
        self.fill = _args.number("Pad", "fill", fill)

    def apply(self, images: Array, keys: Keys) -> Array:
        """Return the larger images."""
        top, bottom, left, right = self.padding
        n, c, h, w = images.shape
        padded = np.full((n, c, top + h + bottom, left + w + right), self.fill, images.dtype)
        padded[:, :, top : top + h, left : left + w] = images
        return padded


class RandomCrop(Transform):
    """A window of `size` at a random place of the image, after padding it with zeros.

    Parameters
    ----------
    size : int or (h, w)
    padding : int, (h, w) or ((top, bottom), (left, right)), default 0

    Raises
    ------
    ValueError
        If the window is larger than the padded image.
    """

    def __init__(self, size: Any, padding: Any = 0) -> None:
        self.size = _args.positive_pair("RandomCrop", "size", size)
        _border("RandomCrop", padding)
        self.pad = Pad(padding)

    def apply(self, images: Array, keys: Keys) -> Array:
        """Return one window of each image."""
        rows, columns = self.offsets(images.shape, keys)
        padded = self.pad.apply(images, keys)
        result = np.empty((*images.shape[:2], *self.size), images.dtype)
        for sample, (y, x) in enumerate(zip(rows, columns, strict=True)):
            result[sample] = padded[sample, :, y : y + self.size[0], x : x + self.size[1]]
        return result

    def offsets(self, shape: tuple[int, ...], keys: Keys) -> tuple[Array, Array]:
        """Upper left corners of the windows in the padded images: rows (N,) and columns (N,)."""
        top, bottom, left, right = self.pad.padding
        spare = (
            shape[2] + top + bottom - self.size[0],
            shape[3] + left + right - self.size[1],
        )
        if min(spare) < 0:
            raise ValueError(
                f"RandomCrop: size {self.size} does not fit, the padded images are "
                f"{shape[2] + top + bottom}x{shape[3] + left + right}"
            )
        rows = uniform_integers(derive_keys(keys, 0), spare[0] + 1)
        return rows, uniform_integers(derive_keys(keys, 1), spare[1] + 1)


class RandomHorizontalFlip(Transform):
    """Mirrors each image left to right with probability `p`."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = _args.number("RandomHorizontalFlip", "p", p)
        if not 0 <= self.p <= 1:
            raise ValueError(f"RandomHorizontalFlip: p must be in [0, 1], got {p}")

    def apply(self, images: Array, keys: Keys) -> Array:
        """Return the images, some of them mirrored."""
        chosen = self.flips(keys)
        result: Array = images.copy()
        result[chosen] = images[chosen, :, :, ::-1]
        return result

    def flips(self, keys: Keys) -> npt.NDArray[np.bool_]:
        """Which samples are mirrored, (N,)."""
        return np.asarray(uniform_floats(keys) < self.p, dtype=np.bool_)


def call_transform(transform: Callable[..., Any], images: Array, keys: Keys) -> Array:
    """Apply a transform of this module, or any function from images to images."""
    if isinstance(transform, Transform):
        return transform(images, keys)
    name = getattr(transform, "__name__", type(transform).__name__)
    result = transform(images)
    if result is None:
        raise TypeError(f"{name}: a transform must return images, got None")
    return numpys_array(result, name, "the result of a transform")


def flatten_transforms(
    transform: Callable[..., Any] | None, keys_of: tuple[int, ...] = ()
) -> Iterator[tuple[Callable[..., Any], tuple[int, ...]]]:
    """Single transforms of a nested Compose, each with its path of key streams."""
    if isinstance(transform, Compose):
        for stream, part in enumerate(transform.transforms):
            yield from flatten_transforms(part, (*keys_of, stream))
    elif transform is not None:
        yield transform, keys_of


def pixels_to_float(pixels: Array) -> npt.NDArray[np.float32]:
    """uint8 pixels as float32 in [0, 1]."""
    floats: npt.NDArray[np.float32] = np.divide(pixels, np.float32(255), dtype=np.float32)
    return floats


def _border(op: str, padding: Any) -> _args.Quadruple:
    if isinstance(padding, str):
        raise ValueError(f"{op}: padding must be given in pixels, got {_args.excerpt(padding)}")
    sides = _args.padding4(op, padding, (1, 1), (1, 1), (1, 1), (1, 1))
    if min(sides) < 0:
        raise ValueError(f"{op}: padding must not be negative, got {_args.excerpt(padding)}")
    return sides


def _channel_values(name: str, values: float | Sequence[float]) -> npt.NDArray[np.float64]:
    array = np.atleast_1d(numpys_array(values, "Normalize", name))
    if array.ndim != 1 or array.dtype.kind not in "iuf":
        raise TypeError(
            f"Normalize: {name} must be a number or one for each channel, "
            f"got {_args.excerpt(values)}"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"Normalize: {name} must be finite, got {_args.excerpt(values)}")
    return array.astype(np.float64)
