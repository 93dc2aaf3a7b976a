"""From a data set, a transform and the indices of a batch to its images and labels.

Arrays are gathered by the core without the GIL; the common transforms (shift, mirror, normalise)
ride on that one pass. What the core cannot do goes through the transforms' own code, with the same
bits for the result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from convolite import _core
from convolite._args import excerpt
from convolite.data.dataset import ArrayDataset, Subset
from convolite.data.sampling import Keys, derive_keys, sample_keys
from convolite.data.transforms import (
    Normalize,
    RandomCrop,
    RandomHorizontalFlip,
    ToFloat,
    call_transform,
    flatten_transforms,
    pixels_to_float,
)
from convolite.interop import numpys_array

Array = npt.NDArray[Any]
Indices = npt.NDArray[np.int64]
Batch = tuple[Array, Array]
TransformFunction = Callable[..., Any]


class BatchMaker:
    """Makes any batch of a data set; safe to call from several threads."""

    def __init__(self, dataset: Any, transform: TransformFunction | None, seed: int) -> None:
        self._transform = transform
        self._seed = seed
        self._dataset, self._positions = _underlying(dataset)
        self._pass: _GatherPass | None = None
        if isinstance(self._dataset, ArrayDataset):
            self._pass = _plan(transform, self._dataset.images)

    def __call__(self, epoch: int, indices: Indices) -> Batch:
        """Return images and labels of the samples `indices`, as they are in this epoch."""
        rows = indices if self._positions is None else self._positions[indices]
        keys = sample_keys(self._seed, epoch, indices)
        if not isinstance(self._dataset, ArrayDataset):
            images, labels = _stack(self._dataset, rows)
            return self._finish(images, keys), labels
        labels = _core.gather_rows(self._dataset.labels, rows)
        if self._pass is not None:
            return self._pass(self._dataset.images, rows, keys), labels
        return self._finish(_core.gather_rows(self._dataset.images, rows), keys), labels

    def _finish(self, images: Array, keys: Keys) -> Array:
        if self._transform is not None:
            images = call_transform(self._transform, images, keys)
        return pixels_to_float(images) if images.dtype == np.uint8 else images


@dataclass(frozen=True)
class _GatherPass:
    """A chain of transforms that the core applies while it gathers."""

    mean: npt.NDArray[np.float32]
    std: npt.NDArray[np.float32]
    crop: RandomCrop | None
    crop_streams: tuple[int, ...]
    flip: RandomHorizontalFlip | None
    flip_streams: tuple[int, ...]

    def __call__(self, images: Array, rows: Indices, keys: Keys) -> Array:
        shift_y = shift_x = flip = None
        if self.crop is not None:
            top, left = self.crop.pad.padding[0], self.crop.pad.padding[2]
            y, x = self.crop.offsets(images.shape, _stream(keys, self.crop_streams))
            shift_y, shift_x = (top - y).astype(np.int32), (left - x).astype(np.int32)
        if self.flip is not None:
            flip = self.flip.flips(_stream(keys, self.flip_streams)).astype(np.uint8)
        return _core.gather_images(images, rows, self.mean, self.std, shift_y, shift_x, flip)


def _plan(transform: TransformFunction | None, images: Array) -> _GatherPass | None:
    """One pass of the core that does all of `transform`, or None where there is none."""
    if images.ndim != 4 or images.dtype not in (np.uint8, np.float32):
        return None
    found: dict[type, tuple[Any, tuple[int, ...]]] = {}
    for part, streams in flatten_transforms(transform):
        if type(part) in found or not _fits(part, images, found):
            return None
        found[type(part)] = part, streams
    crop, crop_streams = found.get(RandomCrop, (None, ()))
    flip, flip_streams = found.get(RandomHorizontalFlip, (None, ()))
    normalize, _ = found.get(Normalize, (Normalize(0.0, 1.0), ()))
    if images.dtype == np.float32 and not found.keys() & {
        Normalize,
        RandomCrop,
        RandomHorizontalFlip,
    }:
        return None
    channels = (images.shape[1],)
    return _GatherPass(
        np.broadcast_to(normalize.mean, channels).astype(np.float32),
        np.broadcast_to(normalize.std, channels).astype(np.float32),
        crop,
        crop_streams,
        flip,
        flip_streams,
    )


def _fits(part: TransformFunction, images: Array, before: dict[type, Any]) -> bool:
    """Whether the core's fixed order (move, mirror, normalise) gives what `part` gives here."""
    if type(part) is ToFloat:
        return True
    if type(part) is Normalize:
        floats = images.dtype == np.float32 or ToFloat in before
        return floats and len(part.mean) in (1, images.shape[1])
    if type(part) is RandomCrop:
        moves_only = part.size == images.shape[2:] and part.pad.fill == 0
        return moves_only and not before.keys() & {Normalize, RandomHorizontalFlip}
    return type(part) is RandomHorizontalFlip


def _stream(keys: Keys, streams: tuple[int, ...]) -> Keys:
    for stream in streams:
        keys = derive_keys(keys, stream)
    return keys


def _underlying(dataset: Any) -> tuple[Any, Indices | None]:
    """The data set below any Subsets, and where in it the samples are; None: where they are."""
    positions: Indices | None = None
    while isinstance(dataset, Subset):
        positions = dataset.indices if positions is None else dataset.indices[positions]
        dataset = dataset.dataset
    return dataset, positions


def _stack(dataset: Any, rows: Indices) -> Batch:
    samples = [dataset[row] for row in rows.tolist()]
    for row, sample in zip(rows, samples, strict=True):
        if not isinstance(sample, (tuple, list)) or len(sample) != 2:
            raise TypeError(
                f"DataLoader: sample {row} must be a pair (image, label), got {excerpt(sample)}"
            )
    arrays = [
        numpys_array(image, "DataLoader", f"the image of sample {row}")
        for row, (image, _) in zip(rows.tolist(), samples, strict=True)
    ]
    shapes = sorted({array.shape for array in arrays})
    if len(shapes) > 1:
        raise ValueError(
            f"DataLoader: images of a batch have different shapes, {shapes[0]} and {shapes[-1]}"
        )
    images = np.stack(arrays)
    labels = numpys_array([label for _, label in samples], "DataLoader", "labels")
    if np.issubdtype(labels.dtype, np.integer):
        labels = labels.astype(np.int64, copy=False)
    return images, labels
