"""Trainer: fit, evaluate, predict, save and resume.

What happens around a training step is in callbacks, files in `checkpoint`, and the data's order
and augmentation in the loader.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from convolite import _args, random
from convolite.autograd import no_grad
from convolite.data import DataLoader
from convolite.errors import FormatError
from convolite.functional import cross_entropy, softmax
from convolite.optim.lr_scheduler import ReduceLROnPlateau
from convolite.optim.schedule import load_together
from convolite.tensor import Tensor
from convolite.train.callbacks import Callback
from convolite.train.checkpoint import SavedState, read_checkpoint, write_checkpoint
from convolite.train.history import History
from convolite.train.inputs import as_loader, check_fits, image_batches, match_dtype
from convolite.train.interrupt import InterruptGuard, SafeInterrupt
from convolite.train.metrics import Metric, RunningMeans, named_metrics
from convolite.train.modes import evaluation_mode
from convolite.train.parts import check_parts
from convolite.train.progress import ProgressBar

Array = npt.NDArray[Any]

_EVALUATION_BATCH = 256


class Trainer:
    """Trains a model with an optimizer, and measures and saves it.

    Parameters
    ----------
    model : nn.Module
    optimizer : Optimizer
        Over the model's parameters.
    loss : callable, optional
        From outputs and labels to the mean loss of the batch. Default: cross-entropy of logits.
    metrics : sequence of str or callable
        ``"accuracy"``, or functions from two ndarrays, outputs and labels, to a number: the mean
        over the batch. Like the loss they are tried on a few samples before any work.
    callbacks : sequence of Callback
    scheduler : LRScheduler, optional
        Stepped after each batch if its class says ``every_batch = True``, as `OneCycleLR` does,
        else after each epoch; `ReduceLROnPlateau` gets the validation loss, or without validation
        the training loss.

    Attributes
    ----------
    history : History
    epoch, batch, step : int
        Epochs finished, batches finished of the current one, and batches in all.
    epochs : int
        The number that `fit` was asked for.
    measured : list of str
        The names that each epoch of `fit` adds to the history.
    stop_training : bool
        Set it to end the training after the current epoch.

    Raises
    ------
    TypeError, ValueError
        For parts that cannot do their work, such as a metric that is not known.
    """

    def __init__(
        self,
        model: Any,
        optimizer: Any,
        loss: Callable[..., Any] | None = None,
        metrics: Iterable[str | Metric] = ("accuracy",),
        callbacks: Sequence[Callback] = (),
        scheduler: Any = None,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.loss = cross_entropy if loss is None else loss
        self.metrics = named_metrics((metrics,) if isinstance(metrics, str) else metrics)
        self.callbacks = _args.items("Trainer", "callbacks", callbacks)
        self.scheduler = scheduler
        check_parts(model, optimizer, self.loss, self.callbacks, scheduler)
        self.history = History()
        self.epoch = self.batch = self.step = self.epochs = 0
        self.measured: list[str] = []
        self.stop_training = False
        self._running = RunningMeans()
        self._loader: DataLoader | None = None
        self._resumed: dict[str, Any] | None = None  # what the next fit must put back
        self._guard = InterruptGuard()

    def fit(
        self,
        train_data: Any,
        validation_data: Any = None,
        epochs: int = 1,
        batch_size: int = 64,
        initial_epoch: int = 0,
        verbose: bool = True,
    ) -> History:
        """Train.

        Parameters
        ----------
        train_data, validation_data : Dataset, (images, labels) or DataLoader
            A data set is loaded by a prefetching thread, the training data shuffled with a seed
            from the global generator. A DataLoader is used as it is.
        epochs : int, default 1
            The epoch to end with, counted from the start of the training: with ``initial_epoch=2``
            and ``epochs=5`` three are trained.
        batch_size : int, default 64
            Not used for a DataLoader.
        initial_epoch : int, default 0
            Not used after `resume`, which knows where to go on.
        verbose : bool, default True
            Show progress, see `ProgressBar`.

        Returns
        -------
        History

        Raises
        ------
        TypeError, ValueError
            Before any work, for data that the model, the loss or a metric cannot take, labels
            outside its classes and numbers out of range.
        KeyboardInterrupt
            After Ctrl-C, at the end of the current batch and after the callbacks' `on_interrupt`.
        """
        _args.at_least("Trainer.fit", "epochs", epochs, 0)
        _args.at_least("Trainer.fit", "initial_epoch", initial_epoch, 0)
        _args.at_least("Trainer.fit", "batch_size", batch_size, 1)
        loader = as_loader("Trainer.fit", train_data, batch_size, True, "train_data")
        validation = None
        self._check("train_data", loader)
        if validation_data is not None:
            validation = as_loader(
                "Trainer.fit", validation_data, _EVALUATION_BATCH, False, "validation_data"
            )
            self._check("validation_data", validation)
        self._begin(loader, initial_epoch)
        self.epochs = epochs
        names = ["loss", *self.metrics]
        validated = [] if validation is None else [f"val_{name}" for name in names]
        self.measured = [*names, *validated, "lr", "seconds"]
        self._run_epochs(loader, validation, self._active_callbacks(verbose))
        return self.history

    def evaluate(self, data: Any, batch_size: int = _EVALUATION_BATCH) -> dict[str, float]:
        """Mean loss and metrics over a data set, with the model in evaluation mode.

        Parameters
        ----------
        data : Dataset, (images, labels) or DataLoader
        batch_size : int, default 256

        Returns
        -------
        dict
            ``"loss"`` and each metric.
        """
        _args.at_least("Trainer.evaluate", "batch_size", batch_size, 1)
        loader = as_loader("Trainer.evaluate", data, batch_size, shuffle=False)
        self._check("data", loader, "evaluate")
        return self._evaluate(loader)

    def predict(
        self, data: Any, batch_size: int = _EVALUATION_BATCH, probabilities: bool = False
    ) -> Array:
        """The model's outputs for every sample, in order, with the model in evaluation mode.

        Parameters
        ----------
        data : array of images, Dataset, (images, labels) or DataLoader
        batch_size : int, default 256
        probabilities : bool, default False
            Apply softmax over axis 1. Without it the outputs are what the model returns: logits.

        Returns
        -------
        ndarray, shape (N, ...)
        """
        _args.at_least("Trainer.predict", "batch_size", batch_size, 1)
        outputs = []
        with no_grad(), evaluation_mode(self.model):
            for images in image_batches("Trainer.predict", self.model, data, batch_size):
                output = self.model(Tensor(images))
                outputs.append((softmax(output, 1) if probabilities else output).numpy())
        return np.concatenate(outputs)

    def save(self, path: str | PathLike[str]) -> None:
        """Save the whole state of the training to a folder, atomically.

        It holds weights, optimizer, schedule, history, the position in the data with its seed, the
        global random generator and the callbacks' states. An older state in the folder is replaced.
        """
        folder = _args.path("Trainer.save", "path", path)
        state = {
            "epoch": self.epoch,
            "batch": self.batch,
            "step": self.step,
            "stop_training": self.stop_training,
            "loader": None if self._loader is None else self._loader.state_dict(),
            "running": self._running.state_dict(),
            "epochs": self.history.epochs,
            "history": self.history.history,
            "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
            "random": random.get_state(),
            "callbacks": [[type(each).__name__, each.state_dict()] for each in self.callbacks],
        }
        saved = SavedState(self.model.state_dict(), self.optimizer.state_dict(), state)
        write_checkpoint(folder, saved)

    @classmethod
    def resume(
        cls,
        path: str | PathLike[str],
        model: Any,
        optimizer: Any,
        loss: Callable[..., Any] | None = None,
        metrics: Iterable[str | Metric] = ("accuracy",),
        callbacks: Sequence[Callback] = (),
        scheduler: Any = None,
    ) -> Trainer:
        """Make a trainer that goes on where `save` was called.

        Parameters
        ----------
        path : path
            The folder given to `save`.
        model, optimizer, loss, metrics, callbacks, scheduler
            Made as for the training that was saved; their states are replaced by the saved ones.

        Returns
        -------
        Trainer
            Its next `fit`, with the same data and settings, continues bit for bit, also in the
            middle of an epoch.

        Raises
        ------
        TypeError
            If an argument has another type.
        FileNotFoundError
            If there is no checkpoint.
        FormatError
            If it is damaged, or does not fit the optimizer, the scheduler or a callback.
        ValueError
            If it does not fit the model. After any of these nothing has been changed.
        """
        trainer = cls(model, optimizer, loss, metrics, callbacks, scheduler)
        folder = _args.path("Trainer.resume", "path", path)
        saved = read_checkpoint(folder)
        former = {name: array.copy() for name, array in trainer.model.state_dict().items()}
        trainer.model.load_state_dict(saved.weights)
        try:
            trainer._restore(saved)
        except BaseException as error:
            trainer.model.load_state_dict(former)
            if isinstance(error, (TypeError, ValueError)):
                message = f"{saved.name}: does not fit the training ({error})"
                raise FormatError(message) from error
            raise
        return trainer

    @property
    def samples_per_epoch(self) -> int:
        """Number of training samples of an epoch."""
        return 0 if self._loader is None else len(self._loader.dataset)

    @property
    def samples_seen(self) -> int:
        """Number of training samples of the current epoch that were used."""
        return self._running.count

    def _check(self, name: str, loader: DataLoader, method: str = "fit") -> None:
        check_fits(f"Trainer.{method}", name, self.model, loader, self.loss, self.metrics)

    def _begin(self, loader: DataLoader, initial_epoch: int) -> None:
        """Put the position where the training starts, or where it was saved."""
        self._loader = loader
        if self._resumed is not None:
            loader.load_state_dict(self._resumed["loader"])
            random.set_state(self._resumed["random"])
            self._resumed = None
            return
        if initial_epoch == 0:
            self.history = History()
        self.epoch, self.batch = initial_epoch, 0
        self.stop_training = False
        self._running = RunningMeans()

    def _active_callbacks(self, verbose: bool) -> list[Callback]:
        callbacks = list(self.callbacks)
        if verbose and not any(isinstance(each, ProgressBar) for each in callbacks):
            callbacks.append(ProgressBar())
        return sorted(callbacks, key=lambda callback: callback.runs_last)

    def _run_epochs(
        self, loader: DataLoader, validation: DataLoader | None, callbacks: list[Callback]
    ) -> None:
        with self._guard:
            try:
                for callback in callbacks:
                    callback.on_fit_begin(self)
                while self.epoch < self.epochs and not self.stop_training:
                    self._train_epoch(loader, callbacks)
                    self._finish_epoch(validation, callbacks)
            except SafeInterrupt:
                for callback in callbacks:
                    callback.on_interrupt(self)
                raise KeyboardInterrupt from None
            finally:
                for callback in callbacks:
                    callback.on_fit_end(self)

    def _train_epoch(self, loader: DataLoader, callbacks: list[Callback]) -> None:
        self.model.train()
        for callback in callbacks:
            callback.on_epoch_begin(self, self.epoch)
        started = perf_counter() - self._running.seconds
        # After a resumed epoch's last batch the loader stands at the next epoch already.
        batches = loader if self.batch < len(loader) else ()
        for images, labels in batches:
            self._train_batch(match_dtype(self.model, images), labels)
            self._running.seconds = perf_counter() - started
            self.batch += 1
            self.step += 1
            logs = self._running.means()
            for callback in callbacks:
                callback.on_batch_end(self, self.batch - 1, logs)
            self._guard.check()

    def _train_batch(self, images: Array, labels: Array) -> None:
        output = self.model(Tensor(images))
        loss = self.loss(output, labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        if getattr(self.scheduler, "every_batch", False):
            self.scheduler.step()
        self._running.add(len(images), self._measure(output, labels, loss))

    def _measure(self, output: Tensor, labels: Array, loss: Tensor) -> dict[str, float]:
        array = output.numpy()
        measured = {name: float(metric(array, labels)) for name, metric in self.metrics.items()}
        return {"loss": loss.item(), **measured}

    def _finish_epoch(self, validation: DataLoader | None, callbacks: list[Callback]) -> None:
        """Validate, record and go on to the next epoch; then tell the callbacks."""
        logs = self._running.means()
        if validation is not None:
            measured = self._evaluate(validation)
            logs.update({f"val_{name}": value for name, value in measured.items()})
        logs["lr"] = float(self.optimizer.param_groups[0]["lr"])
        logs["seconds"] = self._running.seconds
        self._step_scheduler(logs)
        finished = self.epoch
        self.history.append(finished, logs)
        self.epoch, self.batch = finished + 1, 0
        self._running = RunningMeans()
        for callback in callbacks:
            callback.on_epoch_end(self, finished, logs)

    def _step_scheduler(self, logs: dict[str, float]) -> None:
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(logs.get("val_loss", logs["loss"]))
        elif self.scheduler is not None and not getattr(self.scheduler, "every_batch", False):
            self.scheduler.step()

    def _evaluate(self, loader: DataLoader) -> dict[str, float]:
        running = RunningMeans()
        with no_grad(), evaluation_mode(self.model):
            for images, labels in loader:
                output = self.model(Tensor(match_dtype(self.model, images)))
                loss = self.loss(output, labels)
                running.add(len(images), self._measure(output, labels, loss))
                self._guard.check()
        return running.means()

    def _restore(self, saved: SavedState) -> None:
        state = saved.state
        running = RunningMeans.of(state["running"], ["loss", *self.metrics])
        named = zip(self.callbacks, state["callbacks"], strict=False)
        pairs = [(each, value) for each, (name, value) in named if type(each).__name__ == name]
        if (self.scheduler is None) != (state["scheduler"] is None):
            ours, theirs = ("a", "none") if state["scheduler"] is None else ("no", "one")
            raise ValueError(f"{ours} scheduler was given, but {theirs} was saved")
        if self.scheduler is not None:
            pairs.append((self.scheduler, state["scheduler"]))
        # The optimizer comes last, since loading a former state leaves options in its groups that
        # the later one has added.
        load_together([*pairs, (self.optimizer, saved.optimizer)])
        self.history = History(state["epochs"], state["history"])
        self.epoch, self.batch, self.step = state["epoch"], state["batch"], state["step"]
        self.stop_training = state["stop_training"]
        self._running = running
        if state["loader"] is not None:
            self._resumed = {"loader": state["loader"], "random": state["random"]}
