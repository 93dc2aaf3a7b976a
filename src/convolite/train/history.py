"""History: what was measured in each epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from convolite._args import excerpt, items


class History(Mapping[str, list[float]]):
    """Measurements by name, each a list with one number per epoch.

    ``history["val_accuracy"][-1]`` is the last epoch's.

    Attributes
    ----------
    history : dict of str to list of float
        loss, every metric, the same with ``val_`` in front where there was validation data, lr
        (the last learning rate of the epoch) and seconds (of training, without validation).
    epochs : list of int
        The epochs, counted from 0.
    """

    def __init__(
        self,
        epochs: Sequence[int] = (),
        history: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        if history is not None and not isinstance(history, Mapping):
            raise TypeError(f"History: history must map names to lists, got {excerpt(history)}")
        self.epochs = items("History", "epochs", epochs)
        self.history = {
            name: items("History", f"history[{name!r}]", values)
            for name, values in (history or {}).items()
        }

    def append(self, epoch: int, measured: Mapping[str, float]) -> None:
        """Add one epoch; a name that is new, or absent this time, is filled with NaN."""
        for name in (*self.history, *measured):
            row = self.history.setdefault(name, [float("nan")] * len(self.epochs))
            if len(row) == len(self.epochs):
                row.append(measured.get(name, float("nan")))
        self.epochs.append(epoch)

    def rows(self) -> Iterator[dict[str, float]]:
        """Yield one dictionary per epoch, beginning with the epoch's number, counted from 1."""
        for i, epoch in enumerate(self.epochs):
            yield {"epoch": epoch + 1, **{name: row[i] for name, row in self.history.items()}}

    def __getitem__(self, name: str) -> list[float]:
        """Return the numbers of one measurement."""
        return self.history[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self.history)

    def __len__(self) -> int:
        """Return the number of names."""
        return len(self.history)

    def __repr__(self) -> str:
        """Show the last epoch."""
        last = {name: row[-1] for name, row in self.history.items() if row}
        return f"History(epochs={len(self.epochs)}, last={last})"
