"""Fetching published files: from the first mirror that has the right content, atomically.

A file gets its name only after its content was verified. What an interrupted transfer left in
``.<name>.part`` is continued by the next one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tqdm import tqdm

from convolite.data.published import PublishedFile
from convolite.errors import FormatError

_CHUNK = 1 << 16
_SECONDS_OF_SILENCE = 30
_RANGE_NOT_SATISFIABLE = 416
_PARTIAL_CONTENT = 206


class DownloadError(OSError):
    """No mirror delivered the file; the message says for each one why."""


def fetch(file: PublishedFile, folder: Path, mirrors: Sequence[str]) -> Path:
    """Download ``<name>.gz`` into a folder, which is made if needed.

    Parameters
    ----------
    file : PublishedFile
    folder : Path
    mirrors : sequence of str
        Addresses that the file's name is added to, in the order in which they are tried.

    Returns
    -------
    Path
        The verified file.

    Raises
    ------
    DownloadError
        If no mirror delivers the published content.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{file.name}.gz"
    partial = folder / f".{target.name}.part"
    failures = []
    for mirror in mirrors:
        url = f"{mirror.rstrip('/')}/{target.name}"
        try:
            _fetch_verified(url, file, partial)
        except (OSError, HTTPException, ValueError) as error:
            failures.append(f"{url}: {_reason(error)}")
        else:
            os.replace(partial, target)
            return target
    raise DownloadError(f"{target.name}: no mirror delivered it ({'; '.join(failures)})")


def mirrors_from_environment() -> list[str]:
    """Addresses in ``CONVOLITE_MIRRORS``, separated by spaces; an empty list if it is not set."""
    return os.environ.get("CONVOLITE_MIRRORS", "").split()


def _fetch_verified(url: str, file: PublishedFile, partial: Path) -> None:
    """Transfer and verify; a continued file that proves wrong is fetched again from its start."""
    continued = partial.exists()
    _transfer(url, partial)
    try:
        file.read(partial)
    except FormatError:
        partial.unlink()
        if not continued:
            raise
        _fetch_verified(url, file, partial)


def _transfer(url: str, partial: Path) -> None:
    """Append to `partial` what it lacks, or write it anew if the server cannot continue."""
    have = partial.stat().st_size if partial.exists() else 0
    request = Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urlopen(request, timeout=_SECONDS_OF_SILENCE)
    except HTTPError as error:
        error.close()
        if error.code == _RANGE_NOT_SATISFIABLE:
            return  # nothing is lacking; whether it is right shows when it is verified
        raise
    with response:
        _save(response, partial, have if response.status == _PARTIAL_CONTENT else 0)


def _save(response: HTTPResponse, partial: Path, have: int) -> None:
    length = int(response.headers.get("Content-Length", -1))
    received = 0
    name = partial.name.removeprefix(".").removesuffix(".part")
    with (
        partial.open("r+b" if have else "wb") as stream,
        tqdm(desc=name, total=max(length, 0) + have, initial=have, unit="B", disable=None) as bar,
    ):
        stream.seek(have)
        while chunk := response.read(_CHUNK):
            received += stream.write(chunk)
            bar.update(len(chunk))
        stream.flush()
        os.fsync(stream.fileno())
    if length not in (-1, received):
        raise ConnectionError(f"connection closed after {received} of {length} bytes")


def _reason(error: Exception) -> str:
    if isinstance(error, HTTPError):
        return f"HTTP status {error.code}"
    reason = getattr(error, "reason", None)  # URLError wraps the socket's error
    return " ".join(str(reason or error).split()) or type(error).__name__
