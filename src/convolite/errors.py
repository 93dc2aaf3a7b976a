"""Exceptions of the package.

Bad arguments raise the built-in ``ValueError`` and ``TypeError``; only what callers may want to
tell apart from those has a class here.
"""

from __future__ import annotations


class FormatError(ValueError):
    """A file is damaged, truncated or not of the format that was expected.

    The message starts with the file's name and says what is wrong with it.
    """
