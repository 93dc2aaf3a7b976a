"""What a wrong call must say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


def assert_error(call: Callable[[], Any], kind: type[Exception], text: str) -> None:
    """call() raises `kind` with exactly this text."""
    with pytest.raises(kind) as error:
        call()
    assert str(error.value) == text
