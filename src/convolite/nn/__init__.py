"""Layers, losses and containers, with PyTorch's names, arguments and state_dict keys."""

from __future__ import annotations

from convolite.nn import init
from convolite.nn.activation import (
    ELU,
    GELU,
    Hardsigmoid,
    Hardswish,
    LeakyReLU,
    LogSoftmax,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Tanh,
)
from convolite.nn.container import ModuleList, Sequential
from convolite.nn.conv import Conv2d
from convolite.nn.linear import Identity, Linear
from convolite.nn.loss import CrossEntropyLoss, MSELoss, NLLLoss
from convolite.nn.module import Module
from convolite.nn.norm import BatchNorm1d, BatchNorm2d
from convolite.nn.parameter import Parameter
from convolite.nn.pooling import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d
from convolite.nn.shape import Dropout, Dropout2d, Flatten

__all__ = [
    "ELU",
    "GELU",
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv2d",
    "CrossEntropyLoss",
    "Dropout",
    "Dropout2d",
    "Flatten",
    "Hardsigmoid",
    "Hardswish",
    "Identity",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "MSELoss",
    "MaxPool2d",
    "Module",
    "ModuleList",
    "NLLLoss",
    "Parameter",
    "ReLU",
    "ReLU6",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "init",
]
