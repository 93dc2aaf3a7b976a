"""What runs underneath: version, instruction set, threads and the buffer cache."""

from __future__ import annotations

from typing import Any

from convolite import _core
from convolite._args import size

_fusion = True


def get_num_threads() -> int:
    """Return how many threads the core uses."""
    return _core.get_num_threads()


def set_num_threads(threads: int) -> None:
    """Set how many threads the core uses. Results do not depend on it, only speed does.

    Raises
    ------
    TypeError, ValueError
        If it is not a positive int.
    """
    count = size("set_num_threads", "threads", threads)
    if count < 1:
        raise ValueError(f"set_num_threads: threads must be positive, got {count}")
    _core.set_num_threads(count)


def get_fast_math() -> bool:
    """Return whether float32 convolutions may run by faster methods with other rounding."""
    return _core.get_fast_math()


def set_fast_math(on: bool) -> None:
    """Allow float32 convolutions to run by Winograd's method, as they may unless told otherwise.

    It rounds about twice as much as the plain sum: the root mean square of the errors stays below
    3e-6 of that of the results, 1e-5 for the gradient of the filters.  float64 never uses it.

    Raises
    ------
    TypeError
        If `on` is no bool.
    """
    if not isinstance(on, bool):
        raise TypeError(f"set_fast_math: on must be a bool, got {on!r}")
    _core.set_fast_math(on)


def get_fusion() -> bool:
    """Return whether modules that follow each other may run in one pass over memory."""
    return _fusion


def set_fusion(on: bool) -> None:
    """Allow modules that follow each other to run in one pass over memory, as they do at first.

    `nn.Sequential` and the models then compute an activation, and a residual network its addition,
    along with the layer in front of it, max pooling before ReLU, and max pooling along with a
    convolution or batch norm. Losses and gradients are the same bits either way; without it every
    layer's own output exists, as hooks and debuggers may want. It holds for all threads.

    Where nothing needs a gradient, a batch norm that uses its running statistics is also folded
    into the convolution in front of it, along with a residual. That changes results by rounding:
    outputs of the models differ by less than 1e-5 of their largest value in float32, 1e-13 in
    float64.

    Raises
    ------
    TypeError
        If `on` is no bool.
    """
    global _fusion
    if not isinstance(on, bool):
        raise TypeError(f"set_fusion: on must be a bool, got {on!r}")
    _fusion = on


def show_config() -> None:
    """Print the version, the compiler, the instruction sets and the number of threads."""
    print(_described(_core.config()))


def memory_stats() -> dict[str, Any]:
    """Return how many bytes of results are in use and how many are kept for reuse.

    Results and scratch of more than 256 KiB are cut from regions of memory; smaller ones are blocks
    of their own.

    Returns
    -------
    dict
        In bytes: `in_use`; `peak_in_use`, the most since the start or the last `release_memory`;
        and `cached`, used before and kept, at most the greater of 64 MiB and 9/8 of `peak_in_use`
        apart from the gaps in regions that are in use. How often since the start: `allocated`, the
        system was asked for a block or a region, where a region counts as one whatever is cut
        from it later; and `reused`, it was not asked. The first use of a part of a region is
        reuse as well, although its pages are new.
    """
    return _core.memory_stats()


def release_memory() -> None:
    """Give the memory that is kept for reuse back to the system."""
    _core.release_memory()


def _described(config: dict[str, Any]) -> str:
    rows = {
        "convolite": config["version"],
        "compiler": config["compiler"],
        "instruction set": config["isa"],
        "compiled for": ", ".join(config["compiled_isas"]),
        "supported here": ", ".join(config["supported_isas"]),
        "threads": config["threads"],
    }
    return "\n".join(f"{name:<16} {value}" for name, value in rows.items())
