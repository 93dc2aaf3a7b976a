"""Mean and standard deviation of the pixels of each channel, for `transforms.Normalize`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from convolite.interop import numpys_array

_IMAGES_AT_ONCE = 1024  # keeps the float64 copies below a few megabytes


def channel_statistics(images: npt.NDArray[Any]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of every channel over all images and pixels.

    Parameters
    ----------
    images : ndarray, shape (N, C, H, W)
        uint8 pixels count as pixel / 255, as `DataLoader` delivers them.

    Returns
    -------
    mean, std : list of float, one for each channel
        A channel that is constant gets std 1, so that one can divide by it.

    Raises
    ------
    TypeError, ValueError
        If there are no images, or no four axes.
    """
    images = numpys_array(images, "channel_statistics", "images")
    if images.ndim != 4 or images.size == 0:
        raise ValueError(
            f"channel_statistics: images must have shape (N, C, H, W) and not be empty, "
            f"got {images.shape}"
        )
    scale = 255.0 if images.dtype == np.uint8 else 1.0
    count = images.size // images.shape[1]
    mean = _channel_sums(images, np.zeros(images.shape[1]), 1) / count
    variance = _channel_sums(images, mean, 2) / count
    std = np.where(variance > 0, np.sqrt(variance) / scale, 1.0)
    return (mean / scale).tolist(), std.tolist()


def _channel_sums(
    images: npt.NDArray[Any], centre: npt.NDArray[np.float64], power: int
) -> npt.NDArray[np.float64]:
    """Sum of ``(value - centre) ** power`` for each channel."""
    total = np.zeros(images.shape[1])
    for start in range(0, len(images), _IMAGES_AT_ONCE):
        part = images[start : start + _IMAGES_AT_ONCE] - centre.reshape(1, -1, 1, 1)
        total += (part**power).sum(axis=(0, 2, 3))
    return total
