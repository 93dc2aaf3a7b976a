"""How much of the CPUs processes other than the measured ones took (Linux only).

On a machine with other users a benchmark that compares settings must know when they were at work.
"""

from __future__ import annotations

from pathlib import Path

_IDLE = (3, 4)  # of the numbers in /proc/stat: idle, and waiting for a disk
_USER_AND_SYSTEM = slice(11, 13)  # of those in /proc/PID/stat behind the name


class Watch:
    """Counts from its making on what all CPUs did, and what these processes did of it."""

    def __init__(self, processes: list[int]) -> None:
        self._processes = processes
        self._start = self._ticks()

    def others(self) -> float:
        """The share of the CPUs' time that other processes and other guests took since then."""
        elapsed, busy, own = (
            now - then for now, then in zip(self._ticks(), self._start, strict=True)
        )
        return max(0.0, busy - own) / max(1, elapsed)

    def _ticks(self) -> tuple[int, int, int]:
        """Time that went by on all CPUs together, that they worked, and that they did for us."""
        counts = [int(word) for word in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
        own = sum(_ticks_of(process) for process in self._processes)
        return sum(counts), sum(counts) - sum(counts[i] for i in _IDLE), own


def _ticks_of(process: int) -> int:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[_USER_AND_SYSTEM]))
