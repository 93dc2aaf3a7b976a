"""The command ``convolite``: how it ends. What its commands do is in the files beside this one."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from convolite._load import core

BAD_INPUT = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of the process.

    Returns
    -------
    int
        Exit status: 0, 2 for bad usage or input, 130 after Ctrl-C. Other than 0 it comes after
        one line on standard error.
    """
    name = "convolite"
    try:
        core.config()  # reads CONVOLITE_ISA and CONVOLITE_NUM_THREADS
        from convolite.cli.arguments import build_parser  # takes a while: Ctrl-C may come

        parsed = build_parser().parse_args(arguments)
        name = f"convolite {parsed.name}"
        parsed.command(parsed)
    except (ValueError, OSError, ImportError) as error:
        return _report(f"{name}: {_one_line(error)}")
    except KeyboardInterrupt as interrupt:
        _report(f"{name}: {_one_line(interrupt) or 'interrupted'}")
        return INTERRUPTED
    return 0


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        named = f"{error.filename}: " if error.filename else ""
        return f"{named}{error.strerror}"
    return " ".join(str(error).split())


def _report(line: str) -> int:
    print(line, file=sys.stderr)
    return BAD_INPUT
