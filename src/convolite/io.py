"""save and load: arrays by name in safetensors files, written atomically. Nothing is unpickled."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from convolite._args import excerpt, kind
from convolite._args import path as checked_path
from convolite.autograd import Array
from convolite.errors import FormatError
from convolite.interop import numpys_array

AnyPath = str | os.PathLike[str]

_ITEM_SIZES = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "U16": 2,
    "I16": 2,
    "F16": 2,
    "U32": 4,
    "I32": 4,
    "F32": 4,
    "U64": 8,
    "I64": 8,
    "F64": 8,
}  # what numpy can hold


def save(module_or_dict: Any, path: AnyPath, metadata: Mapping[str, str] | None = None) -> None:
    """Write a module's state, or arrays by name, to a safetensors file.

    The file appears complete or not at all: it is written beside `path`, forced to the disk,
    and then renamed.

    Parameters
    ----------
    module_or_dict : Module or mapping of str to array_like
    path : path
    metadata : mapping of str to str, optional
        Text stored beside the arrays.

    Raises
    ------
    TypeError
        If it is neither, if a value is not an array of numbers, or if `path` or `metadata` is
        of another type.
    FileNotFoundError
        If the folder is missing.
    OSError
        If the file cannot be written.
    """
    from safetensors.numpy import save as serialized

    target, notes = checked_path("save", "path", path), _notes(metadata)
    state = getattr(module_or_dict, "state_dict", lambda: module_or_dict)()
    if not isinstance(state, Mapping):
        raise TypeError(
            f"save: module_or_dict must be a Module or a dict of arrays, got {kind(module_or_dict)}"
        )
    arrays = {_name(name): _storable(name, value) for name, value in state.items()}
    write_atomically(target, serialized(arrays, notes))


def load(path: AnyPath) -> dict[str, Array]:
    """Read a safetensors file into arrays by name.

    Parameters
    ----------
    path : path

    Returns
    -------
    dict of str to ndarray
        `Module.load_state_dict` takes it.

    Raises
    ------
    TypeError
        If `path` is no path.
    FormatError
        If the file is damaged, truncated or something else; with its name and what is wrong.
    OSError
        If it cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load as parsed

    source = checked_path("load", "path", path)
    content = source.read_bytes()
    _check(source.name, content)
    try:
        return dict(parsed(content))
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{source.name}: {error}") from error


def write_atomically(path: AnyPath, content: bytes) -> None:
    """Write a file so that a reader, or a crash, finds the old content or the new, never a part.

    Raises
    ------
    OSError
        If the file cannot be written; no temporary file is left then.
    """
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    temporary = target.with_name(f".{target.name}.{os.urandom(8).hex()}.part")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except OSError as error:
        # The user never asked for the temporary name, so the message must not show it.
        raise type(error)(error.errno, error.strerror, str(target)) from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.errno and not error.filename:  # as a full disk
            error.filename = str(target)
        raise
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Force the new name to the disk, where the system lets a folder be opened."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _notes(metadata: Any) -> dict[str, str] | None:
    if metadata is None:
        return None
    if not isinstance(metadata, Mapping) or not all(
        isinstance(part, str) for pair in metadata.items() for part in pair
    ):
        raise TypeError(f"save: metadata must map strings to strings, got {excerpt(metadata)}")
    return dict(metadata) or None


def _name(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"save: names must be strings, got {name!r}")
    return name


def _storable(name: str, value: Any) -> Array:
    array = numpys_array(value, "save", name)
    if array.dtype.itemsize > 8:
        raise TypeError(f"save: {name} must be an array of numbers, got {array.dtype}")
    return np.asarray(array, array.dtype.newbyteorder("="), order="C")


def _check(name: str, content: bytes) -> None:
    """Raise FormatError with a sentence for people; the parser's own messages are terse."""
    if len(content) < 8:
        raise FormatError(f"{name}: not a safetensors file, it has only {len(content)} bytes")
    header_size = int.from_bytes(content[:8], "little")
    if header_size > len(content) - 8:
        raise FormatError(
            f"{name}: not a safetensors file or truncated, its header needs {header_size} bytes "
            f"but the file ends after {len(content) - 8}"
        )
    try:
        header = json.loads(content[8 : 8 + header_size])
    except (ValueError, RecursionError):
        raise FormatError(f"{name}: not a safetensors file, its header is not JSON") from None
    if not isinstance(header, dict):
        raise FormatError(f"{name}: not a safetensors file, its header is not a JSON object")
    available = len(content) - 8 - header_size
    for tensor, entry in header.items():
        if tensor != "__metadata__":
            _check_entry(name, tensor, entry, available)


def _check_entry(name: str, tensor: str, entry: Any, available: int) -> None:
    try:
        kind, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        items = int(np.prod([int(size) for size in shape], dtype=object))
        needed = items * _ITEM_SIZES.get(kind, 0)
        begin, end = int(begin), int(end)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise FormatError(f'{name}: the entry of tensor "{tensor}" is damaged') from None
    if kind not in _ITEM_SIZES:
        raise FormatError(f'{name}: tensor "{tensor}" has the dtype {kind}, which numpy lacks')
    if end > available:
        raise FormatError(
            f'{name}: tensor "{tensor}" needs {end} bytes but the file ends after {available}'
        )
    if not 0 <= begin <= end:
        raise FormatError(f'{name}: tensor "{tensor}" is said to lie at bytes {begin} to {end}')
    if end - begin != needed:
        raise FormatError(
            f'{name}: tensor "{tensor}" of shape {tuple(shape)} needs {needed} bytes '
            f"but has {end - begin}"
        )
