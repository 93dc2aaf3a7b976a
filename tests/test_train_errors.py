"""Trainer refuses parts and labels that cannot work when it is made or asked, before any work."""

from __future__ import annotations

import numpy as np
import pytest

import convolite
from convolite import models, nn, optim
from convolite.data import ArrayDataset
from convolite.functional import cross_entropy, mse_loss
from convolite.optim.lr_scheduler import StepLR
from convolite.train import ProgressBar, Trainer
from convolite.train.metrics import accuracy
from test_train import assert_same_weights, blobs, small_model, trainer_for, weights_of

pytestmark = pytest.mark.smoke

PARTS = [
    ({"loss": 5}, "loss must be callable, got 5"),
    ({"loss": "mse"}, "loss must be callable, got 'mse'"),
    ({"loss": nn.CrossEntropyLoss}, "loss must be an instance, got the class CrossEntropyLoss"),
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
        (
            np.array([0.0, 1.0, 2.0, 2.0]),
            r"Trainer.fit: train_data must have classes as labels, integers of shape \(4,\), or "
            r"probabilities, floats of shape \(4, 3\), got float64 of shape \(4,\); if they are "
            r"classes, use labels.astype\(np.int64\)$",
        ),
        (
            np.zeros((4, 1), np.int64),
            r"Trainer.fit: train_data must have classes as labels, .* got int64 of shape \(4, 1\)$",
        ),
    ],
)
def test_labels_that_are_no_classes_are_refused_before_any_work(labels, text):
    model = small_model()
    before = weights_of(model)
    images = blobs(4).images
    with pytest.raises(ValueError, match=f"^{text}"):
        trainer_for(model).fit(ArrayDataset(images, labels), verbose=False)
    assert_same_weights(weights_of(model), before)


def test_probabilities_as_labels_are_trained_and_measured():
    dataset = blobs(40)
    probabilities = np.eye(3, dtype=np.float32)[dataset.labels] * 0.9 + 0.1 / 3
    data = ArrayDataset(dataset.images, probabilities)
    trainer = trainer_for(small_model())
    history = trainer.fit(data, data, epochs=4, batch_size=10, verbose=False)
    assert history["val_accuracy"][-1] == trainer.evaluate(dataset)["accuracy"] == 1.0


def absolute_error(output, labels):
    return np.abs(output - labels).mean()


@pytest.mark.parametrize("place", ["train_data", "validation_data"])
@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"metrics": (absolute_error,)}, "metric absolute_error cannot be computed for {place}"),
        ({"loss": mse_loss}, "loss cannot be computed for {place}, tried on 5 samples: mse_loss: "),
    ],
)
def test_what_cannot_be_measured_is_refused_before_any_work(place, options, text):
    model = small_model()
    before = weights_of(model)
    good = ArrayDataset(blobs(5).images, np.zeros((5, 3)))
    bad = ArrayDataset(blobs(5).images, np.zeros(5, np.int64))
    data = (bad, good) if place == "train_data" else (good, bad)
    with pytest.raises(ValueError, match=f"^Trainer.fit: {text.format(place=place)}"):
        trainer_for(model, **options).fit(*data, verbose=False)
    assert_same_weights(weights_of(model), before)


@pytest.mark.parametrize("loss", [lambda output, labels: 1.0, lambda output, labels: output])
def test_a_loss_is_a_tensor_of_one_element(loss):
    with pytest.raises(ValueError, match=r"^Trainer.fit: loss .* a Tensor with one element, got"):
        trainer_for(small_model(), loss=loss).fit(blobs(5), verbose=False)


def test_trying_loss_and_metrics_leaves_the_random_numbers_alone():
    seen = []

    def noisy(output, labels):
        seen.append(convolite.random.generator().random())
        return cross_entropy(output, labels)

    trainer = trainer_for(small_model(), loss=noisy)
    trainer.fit(ArrayDataset(blobs(5).images, blobs(5).labels), verbose=False)
    assert len(seen) == 2
    assert seen[0] == seen[1]


def test_accuracy_refuses_what_has_no_classes():
    with pytest.raises(ValueError, match=r"accuracy: output must be \(N, classes, ...\) and .*"):
        accuracy(np.zeros((4, 3)), np.zeros((4, 2)))
    with pytest.raises(ValueError, match=r"accuracy: output must be .* output.shape = \(4,\)"):
        accuracy(np.zeros(4), np.zeros(4))


def test_an_optimizer_of_another_model_is_refused():
    with pytest.raises(ValueError, match=r"^Trainer: optimizer holds none of the model's param"):
        Trainer(small_model(), optim.SGD(small_model().parameters(), 0.1))
    model = small_model()
    Trainer(model, optim.SGD(list(model.parameters())[:1], 0.1))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda t: t.predict(np.zeros((1, 28, 28))),
            ValueError,
            r"Trainer.predict: data must be images \(N, C, H, W\), got shape \(1, 28, 28\); of "
            r"one image take image\[numpy.newaxis\]",
        ),
        (
            lambda t: t.predict(np.zeros((0, 28, 28))),
            ValueError,
            r"Trainer.predict: data must be images \(N, C, H, W\), got shape \(0, 28, 28\); .*",
        ),
        (
            lambda t: t.fit((np.zeros((1, 28, 28)), [0])),
            ValueError,
            r"Trainer.fit: train_data must be images \(N, C, H, W\), got shape \(1, 28, 28\); .*",
        ),
        (
            lambda t: t.predict(np.zeros((28, 28))),
            ValueError,
            r"Trainer.predict: data must be images \(N, C, H, W\), got shape \(28, 28\)",
        ),
        (
            lambda t: t.predict(np.zeros((2, 1, 28, 28)).tolist()),
            TypeError,
            r"Trainer.predict: data must be an array of images, a Dataset or a pair \(images, "
            r"labels\), got a list of list; numpy.array\(data\) makes an array",
        ),
    ],
)
def test_images_that_lack_an_axis_are_refused_before_any_work(call, error, text):
    model = models.sample_cnn()
    calls = []
    model.register_forward_hook(lambda *all: calls.append(all))
    with pytest.raises(error, match=f"^{text}$"):
        call(trainer_for(nn.Sequential(model)))
    assert calls == []


def test_predict_takes_no_image_and_lists_of_pairs():
    for name in models.names():
        trainer = trainer_for(models.create(name, num_classes=7, in_channels=1))
        assert trainer.predict(np.zeros((0, 1, 28, 28), np.float32)).shape == (0, 7)
        pairs = [(np.zeros((1, 28, 28), np.float32), 0)] * 3
        assert trainer.predict(pairs, probabilities=True).shape == (3, 7)


def test_the_module_of_the_loss_is_checked_like_its_function():
    dataset = blobs(20)
    dataset.labels[19] = 7
    model = small_model()
    before = weights_of(model)
    with pytest.raises(ValueError, match=r"^Trainer.fit: train_data has label 7 at position 19"):
        trainer_for(model, loss=nn.CrossEntropyLoss()).fit(dataset, batch_size=5, verbose=False)
    assert_same_weights(weights_of(model), before)
    loss = nn.CrossEntropyLoss(ignore_index=7)
    trainer_for(model, loss=loss).fit(dataset, batch_size=5, verbose=False)
