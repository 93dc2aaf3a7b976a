"""Data sets, loading and transforms; `DataLoader` is where they meet."""

from convolite.data import transforms as transforms
from convolite.data.dataset import ArrayDataset, Dataset, Subset, random_split
from convolite.data.digits import load_digits
from convolite.data.idx import read_idx
from convolite.data.loader import DataLoader
from convolite.data.mnist import MNIST, data_folder
from convolite.data.statistics import channel_statistics

__all__ = [
    "MNIST",
    "ArrayDataset",
    "DataLoader",
    "Dataset",
    "Subset",
    "channel_statistics",
    "data_folder",
    "load_digits",
    "random_split",
    "read_idx",
    "transforms",
]
