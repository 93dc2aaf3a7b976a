"""Ten training steps of `sample_cnn` must follow the losses that the reference recorded.

This one test guards the whole stack: layers, autograd, loss and optimizer at once.
"""

from __future__ import annotations

import json

import numpy as np

import convolite
import record_trajectory as recorder
from convolite import functional, models, optim
from support.compare import assert_close

#: In units of float32 rounding, i.e. 1.2e-5 of a loss.  Measured: at most 16 units (the baseline
#: instruction set; AVX2 6), while a momentum of 0.901 instead of 0.9 makes 1900 units at the third
#: loss already.
UNITS = 100.0


def _recorded() -> np.ndarray:
    return np.array(json.loads(recorder.PATH.read_text(encoding="utf-8"))["losses"])


def test_recorded_losses_are_those_of_the_reference() -> None:
    losses = recorder.compute_losses(steps=2)
    assert_close(losses, _recorded()[:3], scale=_recorded()[:3], units=UNITS)


def test_sample_cnn_follows_the_recorded_losses(isa: str) -> None:
    model = models.sample_cnn()
    names = list(model.state_dict())
    parameters = recorder.make_parameters()
    assert [model.state_dict()[name].shape for name in names] == list(recorder.SHAPES)
    model.load_state_dict(
        {name: value.astype(np.float32) for name, value in zip(names, parameters, strict=True)}
    )
    optimizer = optim.SGD(model.parameters(), lr=recorder.LEARNING_RATE, momentum=recorder.MOMENTUM)
    images, labels = recorder.make_batch()
    batch = convolite.tensor(images.astype(np.float32))
    losses = []
    for _ in range(recorder.STEPS + 1):
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(batch), labels)
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
    assert_close(np.array(losses, dtype=np.float32), _recorded(), scale=_recorded(), units=UNITS)
