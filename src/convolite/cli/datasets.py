"""Data sets by their names on the command line, and the loaders that a run uses."""

from __future__ import annotations

from convolite.cli.run_folder import Configuration
from convolite.data import MNIST, ArrayDataset, DataLoader, load_digits
from convolite.data.transforms import Compose, Normalize, RandomCrop, ToFloat

_EVALUATION_BATCH = 256


def load_split(name: str, train: bool, folder: str | None, download: bool) -> ArrayDataset:
    """Load the training or the test part of a data set."""
    if name == "mnist":
        return MNIST(folder, train=train, download=download)
    return load_digits(train)


def training_loader(dataset: ArrayDataset, configuration: Configuration) -> DataLoader:
    """Shuffled batches of randomly shifted, normalised images."""
    settings = configuration.settings
    size = dataset.images.shape[2:]
    shifted = RandomCrop(size, padding=settings.shift)
    return DataLoader(
        dataset,
        settings.batch_size,
        shuffle=True,
        num_workers=1,
        seed=settings.seed,
        transform=Compose([shifted, *_normalized(configuration)]),
    )


def evaluation_loader(dataset: ArrayDataset, configuration: Configuration) -> DataLoader:
    """Batches of normalised images, in order."""
    return DataLoader(
        dataset,
        _EVALUATION_BATCH,
        num_workers=1,
        seed=0,
        transform=Compose(_normalized(configuration)),
    )


def _normalized(configuration: Configuration) -> list[ToFloat | Normalize]:
    return [ToFloat(), Normalize(configuration.mean, configuration.std)]
