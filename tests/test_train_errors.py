"""Trainer refuses parts and labels that cannot work when it is made or asked, before any work."""

from __future__ import annotations

import numpy as np
import pytest

from convolite import nn, optim
from convolite.data import ArrayDataset
from convolite.optim.lr_scheduler import StepLR
from convolite.train import ProgressBar, Trainer
from test_train import assert_same_weights, blobs, small_model, trainer_for, weights_of

pytestmark = pytest.mark.smoke

PARTS = [
    ({"loss": 5}, "loss must be callable, got 5"),
    ({"loss": "mse"}, "loss must be callable, got 'mse'"),
    ({"metrics": 5}, "metrics must be a sequence, got 5"),
    ({"metrics": None}, "metrics must be a sequence, got None"),
    ({"callbacks": 5}, "callbacks must be a sequence, got 5"),
    ({"callbacks": [None]}, "callbacks must hold Callbacks, but number 0 is None"),
    ({"scheduler": 5}, "scheduler must be a schedule, got 5"),
    ({"scheduler": StepLR}, "scheduler must be a schedule, got <class"),
]


@pytest.mark.parametrize(("part", "text"), PARTS)
def test_parts_that_cannot_work_are_refused(part, text):
    with pytest.raises(TypeError, match=f"^Trainer: {text}"):
        trainer_for(small_model(), **part)


def test_model_and_optimizer_are_what_they_are_called(tmp_path):
    model = small_model()
    optimizer = optim.SGD(model.parameters(), 0.1)
    trainer_for(model).save(tmp_path)
    for wrong in (None, 5, "a", [], nn.Linear, optim.SGD):
        with pytest.raises(TypeError, match=r"^Trainer: model must be a Module, got "):
            Trainer(wrong, optimizer)
        with pytest.raises(TypeError, match=r"^Trainer: optimizer must be an Optimizer, got "):
            Trainer.resume(tmp_path, model, wrong)


def test_progress_goes_to_a_stream():
    with pytest.raises(TypeError, match=r"^ProgressBar: file must be a text stream, got 5"):
        ProgressBar(5)


def test_a_schedule_of_ones_own_needs_no_base_class():
    class Still:
        def step(self) -> None: ...
        def state_dict(self) -> dict[str, int]:
            return {}

        def load_state_dict(self, state: dict[str, int]) -> None: ...

    schedule = Still()
    assert trainer_for(small_model(), scheduler=schedule).scheduler is schedule


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        (np.array([0.0, 1.0, np.nan, 2.0]), "Trainer.fit: train_data has label nan at position 2"),
        (np.array([0.0, 1.0, 2.0, 2.0]), "cross_entropy: target must be integers"),
    ],
)
def test_labels_that_are_no_classes_are_refused_before_any_work(labels, text):
    model = small_model()
    before = weights_of(model)
    images = blobs(4).images
    with pytest.raises(ValueError, match=f"^{text}"):
        trainer_for(model).fit(ArrayDataset(images, labels), verbose=False)
    assert_same_weights(weights_of(model), before)
