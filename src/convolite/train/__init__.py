"""Training: `Trainer`, its callbacks and its history."""

from convolite.train.callbacks import Callback, Checkpoint, CSVLogger, EarlyStopping
from convolite.train.history import History
from convolite.train.progress import ProgressBar
from convolite.train.trainer import Trainer

__all__ = [
    "CSVLogger",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "History",
    "ProgressBar",
    "Trainer",
]
