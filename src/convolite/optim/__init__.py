"""Update rules, learning-rate schedules and gradient clipping, with PyTorch's names and numbers."""

from __future__ import annotations

from convolite.optim import lr_scheduler
from convolite.optim.adam import Adam, AdamW
from convolite.optim.clip import clip_grad_norm_, clip_grad_value_
from convolite.optim.optimizer import Optimizer
from convolite.optim.rmsprop import RMSprop
from convolite.optim.sgd import SGD

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Optimizer",
    "RMSprop",
    "clip_grad_norm_",
    "clip_grad_value_",
    "lr_scheduler",
]
