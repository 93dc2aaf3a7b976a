"""Random choices of the data pipeline, each a function of (seed, epoch, sample index) alone.

Nothing here keeps state, so the order of calls, threads and interruptions cannot change a choice.
Only where no seed is given does one come from the global generator.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from convolite.random import generator

Keys = npt.NDArray[np.uint64]

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15  # 2**64 / golden ratio, the increment of SplitMix64


def draw_seed() -> int:
    """A seed from the global generator, so that `convolite.manual_seed` decides it."""
    return int(generator().integers(2**63))


def epoch_order(seed: int, epoch: int, count: int) -> npt.NDArray[np.int64]:
    """Shuffled indices 0 ... count-1 for one epoch.

    The raw stream of Philox4x64 keyed by (seed, epoch) is sorted: numpy promises that stream for
    ever, which it does not for `Generator.permutation`.
    """
    key = np.array([seed & _MASK, epoch], dtype=np.uint64)
    raw = np.random.Philox(key=key).random_raw(count)
    return np.argsort(raw, kind="stable").astype(np.int64, copy=False)


def sample_keys(seed: int, epoch: int, indices: npt.NDArray[np.int64]) -> Keys:
    """One key for each sample of this epoch: what its augmentation is drawn from."""
    start = _mix_int(_mix_int(seed & _MASK) + epoch)
    return _mix(indices.astype(np.uint64) * np.uint64(_GOLDEN) + np.uint64(start))


def derive_keys(keys: Keys, stream: int) -> Keys:
    """Keys for one transform among several: different streams are independent."""
    return _mix(keys + np.uint64(_mix_int(stream + 1)))


def uniform_integers(keys: Keys, count: int) -> npt.NDArray[np.int64]:
    """An integer in [0, count) for each key; count is at most 2**31."""
    integers = ((keys >> np.uint64(32)) * np.uint64(count)) >> np.uint64(32)
    return np.asarray(integers, dtype=np.int64)


def uniform_floats(keys: Keys) -> npt.NDArray[np.float64]:
    """A float64 in [0, 1) for each key, of 53 random bits."""
    return np.asarray((keys >> np.uint64(11)) * 2.0**-53, dtype=np.float64)


def _mix(values: Keys) -> Keys:
    """Finaliser of SplitMix64 (Steele, Lea and Flood, 2014) on an array."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(values ^ (values >> np.uint64(31)), dtype=np.uint64)


def _mix_int(value: int) -> int:
    """The next output of SplitMix64 on one Python integer."""
    value = (value + _GOLDEN) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
