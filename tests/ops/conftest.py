"""Every op test runs with poisoned buffers: results arrive filled with NaN and fenced."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def poisoned_buffers() -> Iterator[None]:
    """An element that a kernel forgets is NaN, a write outside the result breaks the fence."""
    from convolite import _core

    _core.set_buffer_poison(True)
    yield
    _core.set_buffer_poison(False)
