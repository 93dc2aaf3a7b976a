"""Loads the compiled core so that its idle threads soon sleep.

libgomp lets a waiting thread spin for milliseconds. On an idle machine that gains nothing that can
be measured; beside other busy processes the spinning thread keeps the core that the awaited one
needs, and a training step takes several times as long. How many turns were measured is in
docs/decisions/0007-thread-placement.md, by benchmarks/waiting.py. The setting is read once, when
libgomp is loaded, and does not stay in the environment, where other programs would find it.
"""

from __future__ import annotations

import os

_SETTING = "GOMP_SPINCOUNT"
_SPINS = "3000"  # some tens of microseconds

_is_ours = _SETTING not in os.environ and "OMP_WAIT_POLICY" not in os.environ
if _is_ours:
    os.environ[_SETTING] = _SPINS
try:
    from convolite import _core as core
finally:
    if _is_ours:
        del os.environ[_SETTING]

__all__ = ["core"]
