"""What `Trainer` accepts as data, turned into loaders, and checked before any work."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from convolite import random
from convolite._args import excerpt, kind
from convolite.autograd import no_grad
from convolite.data import ArrayDataset, DataLoader, Subset
from convolite.data.dataset import as_dataset
from convolite.functional import cross_entropy
from convolite.nn import Conv2d, CrossEntropyLoss, Sequential
from convolite.tensor import Tensor
from convolite.train.metrics import Metric
from convolite.train.modes import evaluation_mode

Array = npt.NDArray[Any]

_IGNORED_LABEL = -100  # cross_entropy's default ignore_index
_TRIED = 8  # samples, with which loss and metrics are tried before any work


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


def image_batches(op: str, model: Any, data: Any, batch_size: int) -> Iterator[Array]:
    """Yield batches of images, in order, from all that `as_loader` takes or an array of images.

    An array without images gives one batch, as empty as it is.
    """
    if isinstance(data, (np.ndarray, Tensor)):
        images = np.asarray(data)
        if images.shape[:1] == (0,):
            _check_axes(op, "data", model, images.shape)
            yield match_dtype(model, images)
            return
        data = ArrayDataset(images, np.zeros(images.shape[:1], np.int64))
    if isinstance(data, list) and data and not _is_pair(data[0]):
        raise TypeError(
            f"{op}: data must be an array of images, a Dataset or a pair (images, labels), "
            f"got a list of {kind(data[0])}; numpy.array(data) makes an array"
        )
    loader = as_loader(op, data, batch_size, shuffle=False)
    if len(loader) > 0:
        first, _ = loader.first_samples(1)
        _check_axes(op, "data", model, (len(loader.dataset), *first.shape[1:]))
    for batch, _ in loader:
        yield match_dtype(model, batch)


def _is_pair(sample: Any) -> bool:
    return isinstance(sample, (tuple, list)) and len(sample) == 2


def _check_axes(op: str, name: str, model: Any, shape: tuple[int, ...]) -> None:
    """Refuse images that lack an axis, where the model's first layer tells which they need."""
    first = model
    while type(first) is Sequential and len(first) > 0:
        first = first[0]
    if isinstance(first, Conv2d) and len(shape) != 4:
        hint = "; of one image take image[numpy.newaxis]" if len(shape) == 3 else ""
        raise ValueError(f"{op}: {name} must be images (N, C, H, W), got shape {shape}{hint}")


def match_dtype(model: Any, images: Array) -> Array:
    """Return images in the float dtype of the model's parameters."""
    parameter = next(iter(model.parameters()), None)
    return images if parameter is None else images.astype(parameter.dtype, copy=False)


def check_fits(
    op: str,
    name: str,
    model: Any,
    loader: DataLoader,
    loss: Callable[..., Any],
    metrics: Mapping[str, Metric],
) -> None:
    """Try a few samples with model, loss and metrics, and compare all labels with the outputs.

    Nothing changes: the model is in evaluation mode meanwhile, and the loader's position and the
    global random generator stay.

    Raises
    ------
    ValueError, TypeError
        From the layer that the images do not fit, for a label that is not a class, and for a loss
        or a metric that cannot compare the outputs with the labels.
    """
    if len(loader) == 0:
        raise ValueError(
            f"{op}: {name} gives no batch, drop_last leaves out its {len(loader.dataset)} samples "
            f"(batch_size = {loader.batch_size})"
        )
    images, labels = loader.first_samples(min(loader.batch_size, _TRIED))
    _check_axes(op, name, model, (len(loader.dataset), *images.shape[1:]))
    state = random.get_state()
    try:
        with no_grad(), evaluation_mode(model):
            output = model(Tensor(match_dtype(model, images)))
            if _takes_classes(loss) and output.ndim > 1:
                ignored = getattr(loss, "ignore_index", _IGNORED_LABEL)
                _check_targets(op, name, loader.dataset, labels, output.shape, ignored)
            _try(op, name, "loss", lambda *pair: _require_number(loss(*pair)), output, labels)
        for metric_name, metric in metrics.items():
            _try(op, name, f"metric {metric_name}", metric, output.numpy(), labels)
    finally:
        random.set_state(state)


def _takes_classes(loss: Any) -> bool:
    return loss is cross_entropy or type(loss) is CrossEntropyLoss


def _try(
    op: str, name: str, part: str, measure: Callable[..., Any], output: Any, labels: Array
) -> None:
    try:
        float(measure(output, labels))
    except (ValueError, TypeError, IndexError) as error:
        raise ValueError(
            f"{op}: {part} cannot be computed for {name}, tried on {len(labels)} samples: {error}"
        ) from error


def _require_number(loss: Any) -> Any:
    if not isinstance(loss, Tensor) or loss.size != 1:
        raise TypeError(f"loss must return a Tensor with one element, got {excerpt(loss)}")
    return loss


def _check_targets(
    op: str, name: str, dataset: Any, first: Array, output_shape: tuple[int, ...], ignored: int
) -> None:
    """Compare the labels, all where they can be had at once, with what cross-entropy takes."""
    labels = _all_labels(dataset)
    labels = first if labels is None else labels
    count = len(labels)
    classes, probabilities = (count, *output_shape[2:]), (count, *output_shape[1:])
    if labels.dtype.kind == "f":
        _check_finite(op, name, labels)
    if labels.shape != (probabilities if labels.dtype.kind == "f" else classes):
        hint = ""
        if labels.dtype.kind == "f" and labels.shape == classes:
            hint = "; if they are classes, use labels.astype(np.int64)"
        raise ValueError(
            f"{op}: {name} must have classes as labels, integers of shape {classes}, or "
            f"probabilities, floats of shape {probabilities}, got {labels.dtype} of shape "
            f"{labels.shape}{hint}"
        )
    if labels.dtype.kind != "f":
        _check_labels(op, name, labels, output_shape[1], ignored)


def _check_finite(op: str, name: str, labels: Array) -> None:
    if not np.isfinite(labels).all():
        position = int(np.flatnonzero(~np.isfinite(labels))[0])
        raise ValueError(
            f"{op}: {name} has label {labels.ravel()[position]} at position {position}, but "
            f"labels must be classes or finite probabilities (labels.shape = {labels.shape})"
        )


def _check_labels(op: str, name: str, labels: Array, classes: int, ignored: int) -> None:
    outside = ((labels < 0) | (labels >= classes)) & (labels != ignored)
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
