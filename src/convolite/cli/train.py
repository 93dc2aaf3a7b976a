"""``convolite train``: one training, from its arguments to its run folder."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import convolite
from convolite.cli.datasets import evaluation_loader, load_split, training_loader
from convolite.cli.recipe import (
    CLASSES,
    Settings,
    choose_settings,
    make_model,
    make_optimizer,
    make_schedule,
)
from convolite.cli.run_folder import Configuration, RunFolder
from convolite.data import channel_statistics
from convolite.train import Callback, Checkpoint, CSVLogger, Trainer
from convolite.train.checkpoint import has_checkpoint

_SETTINGS = ("model", "data", "epochs", "batch_size", "optimizer", "lr", "momentum", "seed")


def train(arguments: argparse.Namespace) -> None:
    """Train, or go on training, and print the test accuracy."""
    if arguments.threads is not None:
        convolite.set_num_threads(arguments.threads)
    given = {name: getattr(arguments, name) for name in _SETTINGS}
    if arguments.resume is None:
        settings = choose_settings(given)
        training, test = _load(settings, arguments)
        run = RunFolder.create(arguments.out, settings)
        mean, std = channel_statistics(training.images)
        configuration = Configuration(settings, CLASSES, mean, std)
        run.write_configuration(configuration)
    else:
        run, configuration = _open_run(arguments, given)
        training, test = _load(configuration.settings, arguments)
    settings = configuration.settings
    threads = convolite.get_num_threads()
    print(
        f"{settings.model} on {settings.data}: {len(training)} training and {len(test)} test "
        f"images, {threads} thread{'s' if threads > 1 else ''}, run folder {run.path}",
        flush=True,
    )
    results = _fit(run, configuration, training, test, arguments)
    run.write_results(results)
    print(f"test loss {results['loss']:.4f}")
    print(f"test accuracy {results['accuracy']:.4f}")


def _load(settings: Settings, arguments: argparse.Namespace) -> tuple[Any, Any]:
    return (
        load_split(settings.data, True, arguments.data_dir, arguments.download),
        load_split(settings.data, False, arguments.data_dir, arguments.download),
    )


def _open_run(
    arguments: argparse.Namespace, given: dict[str, Any]
) -> tuple[RunFolder, Configuration]:
    """The run to resume; its settings stay, only the number of epochs may grow."""
    if arguments.out is not None:
        raise ValueError("--out and --resume exclude each other: a resumed run stays in its folder")
    run = RunFolder(Path(arguments.resume))
    configuration = run.read_configuration()
    settings = configuration.settings
    for name, value in given.items():
        former = getattr(settings, name)
        longer = name == "epochs" and value is not None and value > former
        if value not in (None, former) and not longer:
            option = name.replace("_", "-")
            raise ValueError(f"--{option} {value} differs from the run's {former}; leave it out")
    epochs = given["epochs"]
    if epochs is not None and epochs > settings.epochs:
        configuration = replace(configuration, settings=replace(settings, epochs=epochs))
        run.write_configuration(configuration)
    return run, configuration


def _fit(
    run: RunFolder,
    configuration: Configuration,
    training: Any,
    test: Any,
    arguments: argparse.Namespace,
) -> dict[str, float]:
    settings = configuration.settings
    convolite.manual_seed(settings.seed)
    model = make_model(settings.model, len(configuration.classes))
    optimizer = make_optimizer(settings, model)
    loader = training_loader(training, configuration)
    test_loader = evaluation_loader(test, configuration)
    schedule = make_schedule(settings, optimizer, len(loader))
    parts = (model, optimizer, None, ("accuracy",), _callbacks(run, arguments), schedule)
    if has_checkpoint(run.path):
        total_steps = schedule.total_steps
        trainer = Trainer.resume(run.path, *parts)
        if schedule.total_steps != total_steps:  # more epochs: the cycle is laid out over them
            schedule.total_steps = total_steps
        trainer.stop_training = False
    else:
        trainer = Trainer(*parts)
    try:
        trainer.fit(loader, test_loader, epochs=settings.epochs)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"interrupted; go on with: convolite train --resume {run.path}"
        ) from None
    # Without any epoch the untrained network is the result; and users may have moved the weights.
    if not (has_checkpoint(run.path) and run.weights.is_file()):
        trainer.save(run.path)
    return trainer.evaluate(test_loader)


def _callbacks(run: RunFolder, arguments: argparse.Namespace) -> list[Callback]:
    callbacks: list[Callback] = [
        CSVLogger(run.history),
        Checkpoint(run.path, every_batches=arguments.save_every),
    ]
    if arguments.target_accuracy is not None:
        callbacks.append(_TargetAccuracy(arguments.target_accuracy))
    return callbacks


class _TargetAccuracy(Callback):
    """Ends the training when the test accuracy is high enough."""

    def __init__(self, target: float) -> None:
        self._target = target

    def on_fit_begin(self, trainer: Trainer) -> None:
        reached = trainer.history.get("val_accuracy", [])
        trainer.stop_training = bool(reached) and reached[-1] >= self._target

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: dict[str, float]) -> None:
        if logs["val_accuracy"] >= self._target:
            trainer.stop_training = True
