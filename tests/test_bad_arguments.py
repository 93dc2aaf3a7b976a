"""Every public callable with wrong values for each of its arguments: it works, or it says why not.

An error must be of a class that docs/errors.md lists, begin with the name of what was called and
name the argument; texts of Python or numpy about their own insides are none.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import convolite
from convolite import data, models, nn, optim, train
from convolite import functional as F
from convolite.data import transforms
from convolite.optim import lr_scheduler

pytestmark = pytest.mark.smoke

BAD = [
    *(None, "a", 5, 1.5, -1, [], True, {}, ("a",), [None], [[1], [1, 2]], float("nan"), 2**70),
    *(SimpleNamespace(shape=5), np.array(1.5), np.ones(3), np.zeros((0, 2, 0))),
]
INSIDES = re.compile(
    "NoneType|has no attribute|not iterable|ambiguous|could not convert|Cannot interpret|"
    "not supported between|unsupported operand|inhomogeneous|incompatible function|os.PathLike"
)


def image() -> np.ndarray:
    return np.ones((2, 4, 6, 6), np.float32)


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def parameters() -> list[nn.Parameter]:
    return [nn.Parameter(ones(3))]


def optimizer() -> optim.Optimizer:
    return optim.SGD(parameters(), lr=0.1, momentum=0.9)


def dataset() -> data.ArrayDataset:
    return data.ArrayDataset(ones(6, 1, 4, 4), np.arange(6) % 3)


def model() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3))


def trainer_parts() -> dict[str, Any]:
    made = model()
    return {"model": made, "optimizer": optim.SGD(made.parameters(), lr=0.1)}


def tensor() -> convolite.Tensor:
    return convolite.tensor(ones(2, 3), requires_grad=True)


def first_batch(**arguments: Any) -> None:
    next(iter(data.DataLoader(**arguments)))


def composed(**arguments: Any) -> None:
    transforms.Compose(**arguments)(image())


first_batch.__name__, composed.__name__ = "DataLoader", "Compose"
first_batch.__signature__ = inspect.signature(data.DataLoader)  # type: ignore[attr-defined]
composed.__signature__ = inspect.signature(transforms.Compose)  # type: ignore[attr-defined]

CONVOLUTION = {"in_channels": 4, "out_channels": 4, "kernel_size": 2}
LOSS = {"input": ones(3, 4), "target": np.array([0, 1, 2]), "weight": ones(4)}
PLAIN = ["relu", "relu6", "elu", "gelu", "silu", "tanh", "leaky_relu", "dropout", "dropout2d"]
LAYERS = ["ReLU", "LeakyReLU", "ELU", "GELU", "Softmax", "LogSoftmax", "Flatten", "Dropout"]
CASES: list[tuple[Callable[..., Any], dict[str, Any]]] = [
    (convolite.conv2d, {"input": image(), "filters": ones(4, 4, 3, 3)}),
    (convolite.max_pooling, {"input": image()}),
    (convolite.batch_normalization, {"input": image(), "gamma": ones(4), "beta": ones(4)}),
    (convolite.tensor, {"data": [1.0]}),
    (convolite.manual_seed, {"seed": 1}),
    (convolite.explain, {"module": model(), "input_shape": (1, 1, 4, 4)}),
    *((getattr(F, name), {"input": image()}) for name in PLAIN),
    *((getattr(F, name), {"input": image(), "dim": 1}) for name in ("softmax", "log_softmax")),
    *((getattr(F, name), LOSS) for name in ("cross_entropy", "nll_loss")),
    (F.mse_loss, {"input": ones(3), "target": ones(3)}),
    (F.conv2d, {"input": image(), "weight": ones(4, 4, 3, 3)}),
    (F.linear, {"input": ones(2, 3), "weight": ones(4, 3)}),
    (F.max_pool2d, {"input": image(), "kernel_size": 2}),
    (F.avg_pool2d, {"input": image(), "kernel_size": 2}),
    (F.adaptive_avg_pool2d, {"input": image(), "output_size": 2}),
    (F.cat, {"tensors": [ones(3), ones(3)]}),
    (F.pad, {"input": image(), "pad": (1, 1)}),
    (F.flatten, {"input": image()}),
    *((getattr(nn, name), {}) for name in LAYERS),
    *((getattr(nn, name), {}) for name in ("CrossEntropyLoss", "NLLLoss", "MSELoss")),
    (nn.Conv2d, CONVOLUTION),
    (nn.Linear, {"in_features": 2, "out_features": 2}),
    (nn.BatchNorm2d, {"num_features": 3}),
    (nn.MaxPool2d, {"kernel_size": 2}),
    (nn.AvgPool2d, {"kernel_size": 2}),
    (nn.AdaptiveAvgPool2d, {"output_size": 2}),
    (nn.ModuleList, {}),
    (nn.init.uniform_, {"tensor": tensor()}),
    (nn.init.normal_, {"tensor": tensor()}),
    (nn.init.kaiming_uniform_, {"tensor": tensor()}),
    (nn.init.xavier_normal_, {"tensor": tensor()}),
    *((getattr(optim, name), {"params": parameters(), "lr": 0.1}) for name in ("SGD", "RMSprop")),
    *((getattr(optim, name), {"params": parameters()}) for name in ("Adam", "AdamW")),
    (optim.clip_grad_norm_, {"parameters": parameters(), "max_norm": 1.0}),
    (optim.clip_grad_value_, {"parameters": parameters(), "clip_value": 1.0}),
    (lr_scheduler.StepLR, {"optimizer": optimizer(), "step_size": 2}),
    (lr_scheduler.MultiStepLR, {"optimizer": optimizer(), "milestones": [1, 2]}),
    (lr_scheduler.LinearLR, {"optimizer": optimizer()}),
    (lr_scheduler.CosineAnnealingLR, {"optimizer": optimizer(), "T_max": 3}),
    (lr_scheduler.OneCycleLR, {"optimizer": optimizer(), "max_lr": 0.1, "total_steps": 9}),
    (lr_scheduler.ReduceLROnPlateau, {"optimizer": optimizer()}),
    (lr_scheduler.ReduceLROnPlateau(optimizer()).step, {"metrics": 1.0}),
    (lr_scheduler.StepLR(optimizer(), 2).load_state_dict, {"state_dict": {}}),
    (optimizer().load_state_dict, {"state_dict": {}}),
    (data.ArrayDataset, {"images": ones(3, 1, 2, 2), "labels": [0, 1, 2]}),
    (first_batch, {"dataset": dataset()}),
    (data.DataLoader(dataset()).load_state_dict, {"state": {}}),
    (data.random_split, {"dataset": dataset(), "lengths": [4, 2]}),
    (data.load_digits, {}),
    (data.channel_statistics, {"images": image()}),
    (composed, {"transforms": []}),
    (transforms.Normalize, {"mean": 0.5, "std": 1.0}),
    (transforms.Pad, {"padding": 1}),
    (transforms.RandomCrop, {"size": 4}),
    (train.Trainer, trainer_parts()),
    (train.Checkpoint, {"path": "run"}),
    (train.CSVLogger, {"path": "history.csv"}),
    (train.EarlyStopping, {}),
    (train.History, {}),
    (models.create, {"name": "lenet5"}),
    (models.lenet5, {}),
    (models.mobilenet_v2, {}),
    (models.resnet18, {}),
    (models.resnet20, {}),
    (models.sample_cnn, {}),
    (model().summary, {"input_shape": (1, 1, 4, 4)}),
    (model().load_state_dict, {"state": {}}),
    (tensor().sum, {}),
    (tensor().argmax, {}),
    (tensor().flatten, {}),
    (tensor().transpose, {"dim0": 0, "dim1": 1}),
    (tensor().astype, {"dtype": np.float64}),
    (tensor().backward, {"grad": ones(2, 3)}),
]
# Names that a text uses for an argument of another name: the core's, or what a value holds.
ALSO = {"dim": "axis", "modules": "module 0", "last_epoch": "step", "dataset": "sample|lengths"}
ALSO |= {
    "tensors": "axes",
    "input": "pad must hold",
    "state_dict": "the state",
    "strict": "the state",
}


def step(made: Any) -> None:
    """Use an optimizer once: what it cannot work with it refuses before."""
    for parameter in made.param_groups[0]["params"]:
        parameter.grad = convolite.tensor(ones(*parameter.shape))
    with np.errstate(all="ignore"):  # options of 2^70 are refused by nobody
        made.step()


def name_at_the_beginning(call: Callable[..., Any]) -> str:
    name, owner = call.__name__, type(getattr(call, "__self__", None)).__name__
    return rf"^({name}|{owner}|{owner}\.{name}): "


@pytest.mark.parametrize(("call", "good"), CASES, ids=lambda value: getattr(value, "__name__", ""))
def test_wrong_arguments_are_named(call, good):
    for name in inspect.signature(call).parameters.keys() - {"options"}:
        for value in BAD:
            try:
                made = call(**{**good, name: value})
            except (TypeError, ValueError, MemoryError, RuntimeError) as error:
                text = str(error)
                assert re.search(name_at_the_beginning(call), text), (name, value, text)
                assert not INSIDES.search(text), (name, value, text)
                pattern = rf"\b({name}|{ALSO.get(name, name)})\b"
                assert re.search(pattern, text.partition(": ")[2]), (name, value, text)
            else:
                if isinstance(made, optim.Optimizer):
                    step(made)


LAYERS_CALLED = [
    *(nn.Conv2d(2, 2, 1), nn.Linear(2, 2), nn.MaxPool2d(1), nn.AvgPool2d(1)),
    *(nn.AdaptiveAvgPool2d(1), nn.BatchNorm1d(2), nn.BatchNorm2d(2), nn.Dropout2d(), nn.ReLU()),
    *(nn.Softmax(), nn.Flatten(), nn.Identity(), nn.Sequential(nn.BatchNorm2d(2), nn.ReLU())),
]


@pytest.mark.parametrize("layer", LAYERS_CALLED, ids=lambda layer: type(layer).__name__)
@pytest.mark.parametrize("value", [None, "a", {}, [[1], [1, 2]], np.ones(2, complex), object()])
def test_layers_name_an_input_that_is_no_array(layer, value):
    with pytest.raises((TypeError, ValueError), match=r"\w+: input must ") as caught:
        layer(value)
    assert not INSIDES.search(str(caught.value))


def test_data_of_other_kinds_is_named():
    subset = data.Subset(dataset(), [0, 1])
    with pytest.raises(IndexError, match=r"^Subset: index 2 is out of range for 2 samples"):
        subset[2]
    with pytest.raises(TypeError, match=r"^Subset: index must be an int, got None"):
        subset[None]
    with pytest.raises(TypeError, match=r"^History: history\['loss'\] must be a sequence, got 5"):
        train.History([0], {"loss": 5})
    with pytest.raises(ValueError, match=r"^ArrayDataset: images must have a sample axis"):
        train.Trainer(**trainer_parts()).predict(np.array(1.0))


@pytest.mark.parametrize("value", [None, 5, 1.5, [], b"a"])
def test_paths_are_paths(value, tmp_path):
    made = train.Trainer(**trainer_parts())
    calls = {
        "save": lambda: convolite.save({}, value),
        "load": lambda: convolite.load(value),
        "Trainer.save": lambda: made.save(value),
        "Trainer.resume": lambda: train.Trainer.resume(value, **trainer_parts()),
    }
    for name, call in calls.items():
        with pytest.raises(TypeError, match=f"^{name}: path must be a path, got "):
            call()


@pytest.mark.parametrize("value", ["a", 1.5, -2, None, (2, None), (-2, 3), (-1, -1)])
def test_reshape_wants_sizes(value):
    with pytest.raises((TypeError, ValueError), match=r"^reshape: shape "):
        tensor().reshape(value)


def test_what_a_transform_returns_is_looked_at():
    def forgets(images: np.ndarray) -> None:
        images += 1

    loader = data.DataLoader(dataset(), transform=forgets)
    with pytest.raises(TypeError, match=r"^forgets: a transform must return images, got None"):
        next(iter(loader))


@pytest.mark.parametrize("index", ["a", 5, 1.5, (0, 0, 0), [[1], [1, 2]], 2**63, 2**70])
def test_indices_are_named_with_the_shape(index):
    with pytest.raises(IndexError, match=r"^tensor: index .* does not fit shape \(2, 3\)"):
        tensor()[index]


@pytest.mark.parametrize("other", [None, "a", {}, [[1], [1, 2]]])
def test_what_is_no_number_is_not_combined_or_compared(other):
    with pytest.raises(TypeError, match=r"^a tensor cannot be combined with"):
        tensor() + other
    with pytest.raises((TypeError, ValueError), match=r"^a tensor cannot be compared|^lt: shapes"):
        assert tensor() < other


@pytest.mark.parametrize("widths", [[1, 2, 3], [-9, 0], [1] * 6])
def test_widths_of_a_generator_are_shown(widths):
    with pytest.raises(ValueError, match=rf"^pad: .*{re.escape(str(tuple(widths)))}"):
        F.pad(ones(2, 2), (width for width in widths))
