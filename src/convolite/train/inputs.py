"""What `Trainer` accepts as data, turned into loaders, and checked before any work."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from convolite.autograd import no_grad
from convolite.data import ArrayDataset, DataLoader, Subset
from convolite.data.dataset import as_dataset
from convolite.functional import cross_entropy
from convolite.tensor import Tensor
from convolite.train.modes import EvaluationMode

Array = npt.NDArray[Any]

_IGNORED_LABEL = -100  # cross_entropy's default ignore_index


def as_loader(
    op: str, data: Any, batch_size: int, shuffle: bool, argument: str = "data"
) -> DataLoader:
    """Return `data` if it is a DataLoader, or one over it with a prefetching thread.

    Raises
    ------
    TypeError, ValueError
        If it is no data set, or empty.
    """
    if isinstance(data, DataLoader):
        return data
    dataset = as_dataset(op, data, argument)
    seed = None if shuffle else 0  # without shuffling nothing is drawn, so no seed is either
    return DataLoader(dataset, batch_size, shuffle=shuffle, num_workers=1, seed=seed)


def as_image_loader(op: str, data: Any, batch_size: int) -> DataLoader:
    """Like `as_loader` without shuffling, for images that may come without labels."""
    if isinstance(data, (np.ndarray, Tensor)):
        images = np.asarray(data)
        data = ArrayDataset(images, np.zeros(images.shape[:1], np.int64))
    return as_loader(op, data, batch_size, shuffle=False)


def match_dtype(model: Any, images: Array) -> Array:
    """Return images in the float dtype of the model's parameters."""
    parameter = next(iter(model.parameters()), None)
    return images if parameter is None else images.astype(parameter.dtype, copy=False)


def check_fits(op: str, name: str, model: Any, loader: DataLoader, classes: bool) -> None:
    """Run one sample through the model, and compare all labels with the outputs it has.

    Nothing changes: the model is in evaluation mode meanwhile, and the loader's position stays.

    Parameters
    ----------
    classes : bool
        Whether labels are class numbers.

    Raises
    ------
    ValueError, TypeError
        From the layer that the image does not fit, or for a label that is not a class.
    """
    if len(loader) == 0:
        raise ValueError(
            f"{op}: {name} gives no batch, drop_last leaves out its {len(loader.dataset)} samples "
            f"(batch_size = {loader.batch_size})"
        )
    images, first_label = loader.first_sample()
    with no_grad(), EvaluationMode(model):
        output = model(Tensor(match_dtype(model, images)))
    if not classes:
        return
    labels = _all_labels(loader.dataset)
    if labels is not None and labels.dtype == np.int64 and output.ndim > 1:
        _check_labels(op, name, labels, output.shape[1])
    if labels is not None and not np.isfinite(labels).all():
        position = int(np.flatnonzero(~np.isfinite(labels))[0])
        raise ValueError(
            f"{op}: {name} has label {labels.ravel()[position]} at position {position}, but "
            f"labels must be classes or finite probabilities (labels.shape = {labels.shape})"
        )
    with no_grad():
        cross_entropy(output, first_label)


def _check_labels(op: str, name: str, labels: Array, classes: int) -> None:
    outside = ((labels < 0) | (labels >= classes)) & (labels != _IGNORED_LABEL)
    if outside.any():
        position = int(outside.ravel().argmax())
        raise ValueError(
            f"{op}: {name} has label {labels.ravel()[position]} at position {position}, but the "
            f"model has {classes} outputs (labels.shape = {labels.shape})"
        )


def _all_labels(dataset: Any) -> Array | None:
    """Labels of a data set that holds them in an array."""
    if isinstance(dataset, ArrayDataset):
        return dataset.labels
    if isinstance(dataset, Subset):
        labels = _all_labels(dataset.dataset)
        return None if labels is None else labels[dataset.indices]
    return None
