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
from convolite.cli.target import stopping_at_target, target_outcome
from convolite.data import channel_statistics
from convolite.train import Callback, Checkpoint, CSVLogger, EarlyStopping, History, Trainer
from convolite.train.checkpoint import has_checkpoint

_SETTINGS = (
    *("model", "data", "epochs", "batch_size", "optimizer", "lr", "momentum", "seed"),
    "target_accuracy",
)


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
    stopping = stopping_at_target(settings)
    results, history = _fit(run, configuration, training, test, stopping, arguments.save_every)
    run.write_results(results)
    if stopping is not None:
        print(target_outcome(stopping, history))
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
    """The run to resume; only the target may be another one and the number of epochs larger."""
    if arguments.out is not None:
        raise ValueError("--out and --resume exclude each other: a resumed run stays in its folder")
    run = RunFolder(Path(arguments.resume))
    configuration = run.read_configuration()
    settings = configuration.settings
    changes = {name: value for name, value in given.items() if value is not None}
    for name, value in changes.items():
        former = getattr(settings, name)
        allowed = name == "target_accuracy" or (name == "epochs" and value > former)
        if value != former and not allowed:
            option = name.replace("_", "-")
            raise ValueError(f"--{option} {value} differs from the run's {former}; leave it out")
    return run, replace(configuration, settings=replace(settings, **changes))


def _fit(
    run: RunFolder,
    configuration: Configuration,
    training: Any,
    test: Any,
    stopping: EarlyStopping | None,
    save_every: int | None,
) -> tuple[dict[str, float], History]:
    settings = configuration.settings
    convolite.manual_seed(settings.seed)
    model = make_model(settings.model, len(configuration.classes))
    optimizer = make_optimizer(settings, model)
    loader = training_loader(training, configuration)
    test_loader = evaluation_loader(test, configuration)
    schedule = make_schedule(settings, optimizer, len(loader))
    callbacks: list[Callback] = [
        CSVLogger(run.history),
        Checkpoint(run.path, every_batches=save_every),
    ]
    callbacks += [] if stopping is None else [stopping]
    parts = (model, optimizer, None, ("accuracy",), callbacks, schedule)
    if has_checkpoint(run.path):
        total_steps = schedule.total_steps
        trainer = Trainer.resume(run.path, *parts)
        if schedule.total_steps != total_steps:  # more epochs: the cycle is laid out over them
            schedule.total_steps = total_steps
        trainer.stop_training = False
    else:
        trainer = Trainer(*parts)
    run.write_configuration(configuration)  # a resumed run's changes count once it can go on
    try:
        trainer.fit(loader, test_loader, epochs=settings.epochs)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"interrupted; go on with: convolite train --resume {run.path}"
        ) from None
    # Without any epoch the untrained network is the result; and users may have moved the weights.
    if not (has_checkpoint(run.path) and run.weights.is_file()):
        trainer.save(run.path)
    return trainer.evaluate(test_loader), trainer.history
