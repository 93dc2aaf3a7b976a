"""A published idx file: its name, what it must contain, and finding it in a list of folders."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from convolite.data.idx import read_idx


@dataclass(frozen=True)
class PublishedFile:
    """One file of a data set.

    Attributes
    ----------
    name : str
        Without ``.gz``; it may lie on the disk gzipped, with ``.gz`` added, or plain.
    sha256 : str
        Of the uncompressed content, in hexadecimal.
    shape : tuple of int
        Of the array in it.
    """

    name: str
    sha256: str
    shape: tuple[int, ...]

    def find(self, folders: Iterable[Path]) -> Path | None:
        """Return the file in the first folder that has it, or None."""
        for folder in folders:
            for path in (folder / self.name, folder / f"{self.name}.gz"):
                if path.is_file():
                    return path
        return None

    def read(self, path: Path) -> npt.NDArray[Any]:
        """Return the array in the file at `path`.

        Raises
        ------
        FormatError
            If its format, its size or its checksum is not that of the published file.
        """
        return read_idx(path, self.shape, self.sha256)
