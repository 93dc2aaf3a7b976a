"""MNIST from its published files: where they are looked for and what they must contain.

The format itself is read in `idx`, files are fetched in `download`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from convolite import _args
from convolite.data.dataset import ArrayDataset
from convolite.data.published import PublishedFile

_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)

# Images, then labels. SHA-256 of the uncompressed content.
_TRAIN_FILES = (
    PublishedFile(
        "train-images-idx3-ubyte",
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        (60000, 28, 28),
    ),
    PublishedFile(
        "train-labels-idx1-ubyte",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        (60000,),
    ),
)
_TEST_FILES = (
    PublishedFile(
        "t10k-images-idx3-ubyte",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        (10000, 28, 28),
    ),
    PublishedFile(
        "t10k-labels-idx1-ubyte",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        (10000,),
    ),
)


class MNIST(ArrayDataset):
    """The MNIST digits: 60,000 images to train with and 10,000 to test with, 28x28 pixels.

    Parameters
    ----------
    root : path, optional
        Folder of the published idx files, plain or gzipped, or the folder above it. The files are
        looked for in ``root``, ``root/mnist`` and ``data_folder()/mnist``.
    train : bool, default True
        The training images, or the test images.
    download : bool, default False
        Fetch files that are found nowhere to ``root/mnist``, or to ``data_folder()/mnist`` where
        no root is given.
    mirrors : sequence of str, optional
        Addresses to fetch from, in order. Default: ``CONVOLITE_MIRRORS`` (separated by spaces),
        else two public copies.

    Attributes
    ----------
    images : ndarray, uint8 (N, 1, 28, 28)
    labels : ndarray, int64 (N,)

    Raises
    ------
    FileNotFoundError
        If a file is missing; the message names the folders and the ways to get it.
    FormatError
        If a file is not the published one.
    DownloadError
        If it could be fetched from no mirror.
    TypeError
        If `root` is no path or `mirrors` no sequence of strings.

    Notes
    -----
    Source: Y. LeCun, C. Cortes and C. Burges, http://yann.lecun.com/exdb/mnist (CC BY-SA 3.0).
    """

    train_files = _TRAIN_FILES
    test_files = _TEST_FILES

    def __init__(
        self,
        root: str | PathLike[str] | None = None,
        train: bool = True,
        download: bool = False,
        mirrors: Sequence[str] | None = None,
    ) -> None:
        folders = _search_folders(root)
        given = [] if mirrors is None else _args.items("MNIST", "mirrors", mirrors)
        for i, address in enumerate(given):
            _args.text("MNIST", f"mirrors[{i}]", address)
        name = type(self).__name__
        files = self.train_files if _args.flag(name, "train", train) else self.test_files
        found = [(file, file.find(folders)) for file in files]
        if _args.flag(name, "download", download):
            from convolite.data.download import fetch, mirrors_from_environment

            target = folders[-1] if root is None else Path(root) / "mnist"
            addresses = given or mirrors_from_environment() or _MIRRORS
            found = [(file, path or fetch(file, target, addresses)) for file, path in found]
        paths = _present(found, folders)
        images, labels = (file.read(path) for file, path in zip(files, paths, strict=True))
        super().__init__(images.reshape(-1, 1, *images.shape[1:]), labels)


def data_folder() -> Path:
    """Folder of data sets: ``CONVOLITE_DATA``, else ``convolite`` in the user's cache folder."""
    named = os.environ.get("CONVOLITE_DATA")
    if named:
        return Path(named)
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "convolite"


def _search_folders(root: str | PathLike[str] | None) -> list[Path]:
    given = None if root is None else _args.path("MNIST", "root", root)
    folders = [] if given is None else [given, given / "mnist"]
    return [*folders, data_folder() / "mnist"]


def _present(
    found: Sequence[tuple[PublishedFile, Path | None]], folders: Sequence[Path]
) -> list[Path]:
    missing = [f"{file.name}[.gz]" for file, path in found if path is None]
    if missing:
        raise FileNotFoundError(
            f"MNIST: {' and '.join(missing)} not found in {', '.join(map(str, folders))}; "
            "put the published files there, name their folder (root, --data-dir or "
            "CONVOLITE_DATA), or fetch them with download=True (--download)"
        )
    return [path for _, path in found if path is not None]
