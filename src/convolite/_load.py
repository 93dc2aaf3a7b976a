"""Loads the compiled core so that its idle threads soon sleep.

libgomp lets a waiting thread spin for milliseconds. On an idle machine that gains nothing that can
be measured; beside another busy process it made a training step of the sample network ten times
slower (two threads on two cores, load 5), because the spinning thread keeps the core that the
awaited one needs. The setting is read once, when libgomp is loaded, and does not stay in the
environment, where other programs would find it.
"""

from __future__ import annotations

import os

_SETTING = "GOMP_SPINCOUNT"
_SPINS = "10000"  # some microseconds

_is_ours = _SETTING not in os.environ and "OMP_WAIT_POLICY" not in os.environ
if _is_ours:
    os.environ[_SETTING] = _SPINS
try:
    from convolite import _core as core
finally:
    if _is_ours:
        del os.environ[_SETTING]

__all__ = ["core"]
