"""``convolite evaluate``, ``predict`` and ``info``: using and looking at a finished run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import convolite
from convolite.cli.datasets import evaluation_loader, load_split
from convolite.cli.recipe import make_model, make_optimizer
from convolite.cli.run_folder import Configuration, RunFolder
from convolite.data import ArrayDataset
from convolite.errors import FormatError
from convolite.io import load
from convolite.train import Trainer

Pixels = npt.NDArray[np.uint8]

_SIDE = 28  # of the images that the models of the command line take


def evaluate(arguments: argparse.Namespace) -> None:
    """Print loss and accuracy of a run's network over a test set."""
    _set_threads(arguments)
    trainer, configuration = _open(arguments.run)
    name = arguments.data or configuration.settings.data
    test = load_split(name, False, arguments.data_dir, arguments.download)
    results = trainer.evaluate(evaluation_loader(test, configuration))
    print(f"test loss {results['loss']:.4f}")
    print(f"test accuracy {results['accuracy']:.4f}")


def predict(arguments: argparse.Namespace) -> None:
    """Print the likeliest classes of each image, with their probabilities."""
    _set_threads(arguments)
    trainer, configuration = _open(arguments.run)
    pixels = np.stack([_read_image(Path(name)) for name in arguments.images])[:, np.newaxis]
    if arguments.invert:
        pixels = 255 - pixels
    images = ArrayDataset(pixels, np.zeros(len(pixels), np.int64))
    loader = evaluation_loader(images, configuration)
    probabilities = trainer.predict(loader, probabilities=True)
    for name, row in zip(arguments.images, probabilities, strict=True):
        best = np.argsort(-row, kind="stable")[: arguments.top]
        found = ", ".join(f"{configuration.classes[index]} ({row[index]:.4f})" for index in best)
        print(f"{name}: {found}")


def info(arguments: argparse.Namespace) -> None:
    """Print what convolite runs on, or the configuration and the results of a run."""
    if arguments.run is None:
        convolite.show_config()
        return
    run = RunFolder(Path(arguments.run))
    rows: dict[str, Any] = run.read_configuration().settings.to_dict()
    results = run.read_results()
    rows["state"] = "training is not finished" if results is None else "finished"
    if results is not None:
        rows["test loss"] = f"{results['loss']:.4f}"
        rows["test accuracy"] = f"{results['accuracy']:.4f}"
    convolite.show_config()
    for name, value in rows.items():
        print(f"{name.replace('_', ' '):<16} {value}")


def _open(folder: str) -> tuple[Trainer, Configuration]:
    run = RunFolder(Path(folder))
    configuration = run.read_configuration()
    if not run.weights.is_file():
        raise FileNotFoundError(f"{folder}: no weights.safetensors yet, nothing was trained")
    model = make_model(configuration.settings.model, len(configuration.classes))
    model.load_state_dict(load(run.weights))
    return Trainer(model, make_optimizer(configuration.settings, model)), configuration


def _set_threads(arguments: argparse.Namespace) -> None:
    if arguments.threads is not None:
        convolite.set_num_threads(arguments.threads)


def _read_image(path: Path) -> Pixels:
    """Grey pixels (28, 28) of an image file."""
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a folder, not an image")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    if path.suffix == ".npy":
        raise FormatError(f"{path.name}: not an image; Trainer.predict takes arrays")
    try:
        from PIL import Image
    except ImportError:
        raise ImportError('predict needs Pillow: pip install "convolite[image]"') from None
    try:
        with Image.open(path) as image:
            grey = image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise FormatError(f"{path.name}: not an image that Pillow can read ({error})") from None
    return np.asarray(grey, dtype=np.uint8)
