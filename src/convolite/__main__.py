"""``python -m convolite`` is the command ``convolite``."""

from __future__ import annotations

from convolite.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
