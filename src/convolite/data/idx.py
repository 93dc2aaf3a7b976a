"""The idx format of MNIST: a header of big-endian sizes, then the numbers; plain or gzipped.

Reads any idx file. Which files exist and what they must contain is known in `mnist`.
"""

from __future__ import annotations

import gzip
import hashlib
import struct
import zlib
from math import prod
from os import PathLike
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from convolite import _args
from convolite.errors import FormatError

# Third byte of the file -> element type (http://yann.lecun.com/exdb/mnist, "the IDX file format").
_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP_MAGIC = b"\x1f\x8b"
_PIECE = 1 << 22


def read_idx(
    path: str | PathLike[str], shape: tuple[int, ...] | None = None, sha256: str | None = None
) -> npt.NDArray[Any]:
    """Read an array from an idx file.

    Parameters
    ----------
    path : path
        The file; whether it is gzipped is seen from its content.
    shape : tuple of int, optional
        Required shape.
    sha256 : str, optional
        Required SHA-256 of the uncompressed content, in hexadecimal.

    Returns
    -------
    ndarray
        Of native byte order.

    Raises
    ------
    FormatError
        If the file is not idx, is shorter or longer than its header says, is a damaged gzip
        file, or has another shape or checksum.
    TypeError
        If `path` is no path.
    OSError
        If it cannot be read.
    """
    path = _args.path("read_idx", "path", path)
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == _GZIP_MAGIC
            raw.seek(0)
            if not zipped:
                return _read(path.name, raw, shape, sha256)
            with gzip.GzipFile(fileobj=raw) as stream:
                return _read(path.name, stream, shape, sha256)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        reason = str(error).rstrip(".")
        raise FormatError(f"{path.name}: damaged gzip file ({reason})") from None


def _read(
    name: str,
    stream: IO[bytes] | gzip.GzipFile,
    required_shape: tuple[int, ...] | None,
    sha256: str | None,
) -> npt.NDArray[Any]:
    header, dtype, shape = _read_header(name, stream)
    if required_shape not in (None, shape):
        raise FormatError(
            f"{name}: holds {_sizes(shape)} values but must hold {_sizes(required_shape or ())}"
        )
    expected = prod(shape) * dtype.itemsize
    content = _read_at_most(stream, expected + 1)  # one more byte tells a file that is too long
    if len(content) != expected:
        follows = "more" if len(content) > expected else str(len(content))
        raise FormatError(
            f"{name}: header says {_sizes(shape)} = {expected} bytes but {follows} follow"
        )
    if sha256 is not None:
        _check_sha256(name, header, content, sha256)
    array = np.frombuffer(content, dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _read_at_most(stream: IO[bytes] | gzip.GzipFile, limit: int) -> bytearray:
    """Read in pieces: a header that promises too much must not reserve the memory for it."""
    content = bytearray()
    while piece := stream.read(min(limit - len(content), _PIECE)):
        content += piece
    return content


def _check_sha256(name: str, header: bytes, content: bytearray, expected: str) -> None:
    found = hashlib.sha256(header)
    found.update(content)
    if found.hexdigest() != expected:
        raise FormatError(
            f"{name}: content is not that of the published file "
            f"(SHA-256 {found.hexdigest()}, expected {expected})"
        )


def _read_header(
    name: str, stream: IO[bytes] | gzip.GzipFile
) -> tuple[bytes, np.dtype[Any], tuple[int, ...]]:
    magic = stream.read(4)
    if len(magic) < 4:
        raise FormatError(f"{name}: file ends after {len(magic)} bytes, within the idx header")
    if magic[:2] != b"\0\0" or magic[2] not in _DTYPES or magic[3] == 0:
        raise FormatError(f"{name}: not an idx file, it begins with {magic.hex(' ')}")
    sizes = stream.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise FormatError(f"{name}: file ends after {4 + len(sizes)} bytes, within the idx header")
    return magic + sizes, np.dtype(_DTYPES[magic[2]]), struct.unpack(f">{magic[3]}I", sizes)


def _sizes(shape: tuple[int, ...]) -> str:
    return "x".join(str(length) for length in shape)
