"""A model in evaluation mode for a while."""

from __future__ import annotations

from typing import Any


class EvaluationMode:
    """The model in evaluation mode inside a with block, and in its former mode after it."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._training = model.training

    def __enter__(self) -> None:
        """Leave training mode."""
        self._model.eval()

    def __exit__(self, *error: object) -> None:
        """Bring the former mode back."""
        self._model.train(self._training)
