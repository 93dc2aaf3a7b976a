"""DataLoader: the epochs of a data set, batch by batch, from prefetching threads.

What a batch holds is decided in `sampling` and `gather`; here is only the order of delivery.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from convolite import _args
from convolite.data.dataset import as_dataset
from convolite.data.gather import Batch, BatchMaker
from convolite.data.sampling import draw_seed, epoch_order

Result = TypeVar("Result")


class DataLoader:
    """Batches of a data set. Each iteration is one epoch.

    Parameters
    ----------
    dataset : Dataset, or pair of arrays (images, labels)
        Anything with ``__len__`` and ``__getitem__``. Arrays are not copied.
    batch_size : int, default 1
    shuffle : bool, default False
        A new order for each epoch.
    drop_last : bool, default False
        Leave out a last batch that is not full.
    num_workers : int, default 0
        Threads that prepare batches ahead; 0 prepares each when it is asked for. The batches are
        the same for every number.
    seed : int, optional
        Order and augmentation depend on (seed, epoch, sample) and on nothing else. Default: drawn
        from the global generator, see `convolite.manual_seed`.
    transform : callable, optional
        Applied to the images of each batch, (N, C, H, W): one of `convolite.data.transforms`, or
        any function from images to images.

    Yields
    ------
    images : ndarray
        Floats: uint8 pixels that no transform turned into floats are divided by 255.
    labels : ndarray
        int64, or the floats of a regression.

    Raises
    ------
    TypeError, ValueError
        For an empty data set, sizes out of range and arguments of other types.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool = False,
        drop_last: bool = False,
        num_workers: int = 0,
        seed: int | None = None,
        transform: Callable[..., Any] | None = None,
    ) -> None:
        self.dataset = as_dataset("DataLoader", dataset)
        self.batch_size = _args.at_least("DataLoader", "batch_size", batch_size, 1)
        self.num_workers = _args.at_least("DataLoader", "num_workers", num_workers, 0)
        self.shuffle = _args.flag("DataLoader", "shuffle", shuffle)
        self.drop_last = _args.flag("DataLoader", "drop_last", drop_last)
        if transform is not None and not callable(transform):
            raise TypeError(
                f"DataLoader: transform must be callable, got {_args.excerpt(transform)}"
            )
        self.transform = transform
        self.seed = draw_seed() if seed is None else _args.at_least("DataLoader", "seed", seed, 0)
        self._next = (0, 0)  # epoch and batch at which the next iteration begins
        self._position = (0, 0)  # epoch, and number of batches delivered of it

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        count = len(self.dataset)
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        """Return an iterator over one epoch; every call begins the next one."""
        epoch, start = self._next
        self._position = (epoch, start)
        self._next = (epoch + 1, 0)
        return self._batches(epoch, start)

    def first_samples(self, count: int) -> Batch:
        """Return a batch of the first samples, or of all; the position of the loader stays."""
        make_batch = BatchMaker(self.dataset, self.transform, self.seed)
        return make_batch(0, np.arange(min(count, len(self.dataset)), dtype=np.int64))

    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration be this epoch, from its first batch."""
        self._next = self._position = (_args.at_least("DataLoader", "epoch", epoch, 0), 0)

    def state_dict(self) -> dict[str, int]:
        """Return where the loader is: seed, epoch, and the batches of it that were delivered.

        After its last batch an epoch is over: the state is then the next one's beginning.
        """
        epoch, batch = self._position
        return {"seed": self.seed, "epoch": epoch, "batch": batch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Make the next iteration go on where `state_dict` was taken.

        Raises
        ------
        TypeError, ValueError
            If a key is missing or its value no int, or the epoch has fewer batches.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"DataLoader: state must be a dict, got {_args.excerpt(state)}")
        missing = {"seed", "epoch", "batch"} - set(state)
        if missing:
            raise ValueError(f"DataLoader: state lacks {', '.join(sorted(missing))}")
        seed, epoch, batch = (
            _args.at_least("DataLoader", f"state[{name!r}]", state[name], 0)
            for name in ("seed", "epoch", "batch")
        )
        if batch >= max(1, len(self)):
            raise ValueError(
                f"DataLoader: state is at batch {batch} but an epoch has {len(self)} "
                f"batches (len(dataset) = {len(self.dataset)}, batch_size = {self.batch_size})"
            )
        self.seed, self._next = seed, (epoch, batch)
        self._position = self._next

    def _batches(self, epoch: int, start: int) -> Iterator[Batch]:
        make_batch = BatchMaker(self.dataset, self.transform, self.seed)
        order = self._order(epoch)

        def make(number: int) -> Batch:
            first = number * self.batch_size
            return make_batch(epoch, order[first : first + self.batch_size])

        for number, batch in enumerate(_ahead(make, start, len(self), self.num_workers), start):
            is_last = number + 1 == len(self)
            self._position = (epoch + 1, 0) if is_last else (epoch, number + 1)
            yield batch

    def _order(self, epoch: int) -> npt.NDArray[np.int64]:
        count = len(self.dataset)
        if self.shuffle:
            return epoch_order(self.seed, epoch, count)
        return np.arange(count, dtype=np.int64)


def _ahead(make: Callable[[int], Result], start: int, stop: int, workers: int) -> Iterator[Result]:
    """``make(start) ... make(stop - 1)`` in order, computed ahead by threads.

    An exception of `make` is raised where its result would have come. Closing the iterator early
    waits for what is being made and drops the rest.
    """
    if workers == 0:
        yield from map(make, range(start, stop))
        return
    from collections import deque
    from concurrent.futures import Future, ThreadPoolExecutor

    pool = ThreadPoolExecutor(workers, thread_name_prefix="convolite-data")
    pending: deque[Future[Result]] = deque()
    try:
        for number in range(start, stop):
            pending.append(pool.submit(make, number))
            if len(pending) > workers + 1:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
