"""Trainer, its callbacks and its history; saving and resuming are in test_resume."""

from __future__ import annotations

import csv
from typing import Any

import numpy as np
import pytest

import convolite
from convolite import nn, optim
from convolite.data import ArrayDataset, DataLoader, Subset
from convolite.functional import cross_entropy
from convolite.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau, StepLR
from convolite.train import Callback, Checkpoint, CSVLogger, EarlyStopping, Trainer


def blobs(count: int, classes: int = 3, seed: int = 0) -> ArrayDataset:
    """Images (1, 2, 2) scattered about one point for each class: easy to tell apart."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    centres = 4 * np.eye(4)[labels]
    images = centres + rng.standard_normal((count, 4)) * 0.3
    return ArrayDataset(images.reshape(count, 1, 2, 2).astype(np.float32), labels)


def small_model(classes: int = 3) -> nn.Module:
    convolite.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, classes))


def trainer_for(model: nn.Module, lr: float = 0.1, **options: Any) -> Trainer:
    return Trainer(model, optim.SGD(model.parameters(), lr=lr, momentum=0.9), **options)


def weights_of(model: nn.Module) -> dict[str, Any]:
    return {name: array.copy() for name, array in model.state_dict().items()}


def assert_same_weights(first: Any, second: Any) -> None:
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


class Recorder(Callback):
    def __init__(self) -> None:
        self.calls: list[str] = []

    def on_fit_begin(self, trainer: Trainer) -> None:
        self.calls.append("fit begin")

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        self.calls.append(f"epoch {epoch} begin")

    def on_batch_end(self, trainer: Trainer, batch: int, logs: dict[str, float]) -> None:
        assert set(logs) == {"loss", "accuracy"}
        self.calls.append(f"batch {batch}")

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: dict[str, float]) -> None:
        self.calls.append(f"epoch {epoch} end")

    def on_fit_end(self, trainer: Trainer) -> None:
        self.calls.append("fit end")


@pytest.mark.smoke
def test_fit_learns_and_the_history_tells():
    trainer = trainer_for(small_model())
    history = trainer.fit(blobs(200), blobs(50, seed=1), epochs=5, batch_size=20, verbose=False)
    assert history.epochs == [0, 1, 2, 3, 4]
    assert list(history) == ["loss", "accuracy", "val_loss", "val_accuracy", "lr", "seconds"]
    assert all(len(history[name]) == 5 for name in history)
    assert history["loss"][-1] < 0.2 * history["loss"][0]
    assert history["val_accuracy"][-1] == 1.0
    assert history.history["lr"] == [0.1] * 5
    assert trainer.evaluate(blobs(50, seed=1))["accuracy"] == 1.0


def test_fit_is_the_loop_one_would_write():
    def shuffled() -> DataLoader:
        return DataLoader(blobs(50), 16, shuffle=True, seed=3)

    model = small_model()
    trainer_for(model).fit(shuffled(), epochs=3, verbose=False)

    expected = small_model()
    optimizer = optim.SGD(expected.parameters(), lr=0.1, momentum=0.9)
    loader = shuffled()
    for _ in range(3):
        for images, labels in loader:
            loss = cross_entropy(expected(convolite.Tensor(images)), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert_same_weights(model.state_dict(), expected.state_dict())


@pytest.mark.parametrize("kind", ["data set", "pair", "subset", "loader"])
def test_every_kind_of_data_is_taken(kind):
    dataset = blobs(30)
    data = {
        "data set": dataset,
        "pair": (dataset.images, dataset.labels),
        "subset": Subset(dataset, range(30)),
        "loader": DataLoader(dataset, 7),
    }[kind]
    trainer = trainer_for(small_model())
    trainer.fit(data, data, epochs=1, verbose=False)
    assert trainer.evaluate(data)["loss"] == pytest.approx(trainer.history["val_loss"][0], rel=1e-6)
    assert trainer.predict(data).shape == (30, 3)


def test_the_seed_decides_the_training():
    def train() -> dict[str, Any]:
        model = small_model()
        trainer_for(model).fit(blobs(40), epochs=2, batch_size=8, verbose=False)
        return model.state_dict()

    assert_same_weights(train(), train())


def test_evaluate_is_the_mean_over_samples_whatever_the_batches():
    model, dataset = small_model(), blobs(23)
    trainer = trainer_for(model)
    whole = trainer.evaluate(dataset)
    parts = trainer.evaluate(dataset, batch_size=5)
    with convolite.no_grad():
        output = model(convolite.Tensor(dataset.images)).numpy().astype(np.float64)
    logs = output - np.log(np.exp(output).sum(axis=1, keepdims=True))
    loss = -logs[np.arange(23), dataset.labels].mean()
    accuracy = (output.argmax(axis=1) == dataset.labels).mean()
    assert whole == {"loss": pytest.approx(loss, rel=1e-6), "accuracy": pytest.approx(accuracy)}
    assert parts == pytest.approx(whole, rel=1e-6)


def test_predict_gives_logits_in_order_or_probabilities():
    model, dataset = small_model(), blobs(23)
    trainer = trainer_for(model)
    logits = trainer.predict(dataset.images, batch_size=4)
    with convolite.no_grad():
        expected = model(convolite.Tensor(dataset.images)).numpy()
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)
    probabilities = trainer.predict(dataset, probabilities=True)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(probabilities.argmax(axis=1), logits.argmax(axis=1))


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_images_come_in_the_models_dtype(dtype):
    images = (np.arange(80) % 256).reshape(20, 1, 2, 2).astype(dtype)
    trainer = trainer_for(small_model())
    trainer.fit((images, np.arange(20) % 3), epochs=1, verbose=False)
    assert trainer.predict(images).dtype == np.float32


def test_models_in_double_precision_are_trained_in_it():
    model = small_model().double()
    trainer = trainer_for(model)
    trainer.fit(blobs(20), epochs=1, verbose=False)
    assert trainer.predict(blobs(4)).dtype == np.float64


def test_evaluation_leaves_the_mode_of_the_model():
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(4, 3))
    trainer = trainer_for(model)
    model.train()
    first, second = trainer.predict(blobs(9)), trainer.predict(blobs(9))
    np.testing.assert_array_equal(first, second)
    assert model.training
    model.eval()
    trainer.evaluate(blobs(9))
    assert not model.training


def test_evaluation_leaves_a_frozen_layer_frozen():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.BatchNorm1d(3))
    model[2].eval()
    Trainer(model, optim.SGD(model.parameters(), lr=0.1)).evaluate(blobs(9))
    assert [module.training for module in model.modules()] == [True, True, True, False]


def test_own_losses_and_metrics():
    def squared_error(output: Any, target: Any) -> Any:
        return ((output - convolite.Tensor(target)) ** 2).mean()

    def largest(output: Any, target: Any) -> float:
        return float(np.abs(output - target).max())

    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    images = blobs(40).images
    targets = images.reshape(40, 4)[:, :2] * 2
    trainer = trainer_for(model, 0.01, loss=squared_error, metrics=(largest,))
    history = trainer.fit((images, targets), epochs=30, batch_size=10, verbose=False)
    assert history["loss"][-1] < 0.1 * history["loss"][0]
    assert list(trainer.evaluate((images, targets))) == ["loss", "largest"]


def test_callbacks_are_called_in_order():
    recorder = Recorder()
    trainer_for(small_model(), callbacks=[recorder]).fit(
        blobs(20), epochs=2, batch_size=10, verbose=False
    )
    assert recorder.calls == [
        "fit begin",
        *["epoch 0 begin", "batch 0", "batch 1", "epoch 0 end"],
        *["epoch 1 begin", "batch 0", "batch 1", "epoch 1 end"],
        "fit end",
    ]


def test_a_second_fit_starts_anew_and_initial_epoch_continues():
    trainer = trainer_for(small_model())
    assert trainer.fit(blobs(20), epochs=2, verbose=False).epochs == [0, 1]
    assert trainer.fit(blobs(20), epochs=1, verbose=False).epochs == [0]
    assert trainer.fit(blobs(20), epochs=3, initial_epoch=1, verbose=False).epochs == [0, 1, 2]
    assert trainer.fit(blobs(20), epochs=0, verbose=False).epochs == []


def test_schedules_step_per_epoch_or_per_batch():
    model = small_model()
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    trainer = Trainer(model, optimizer, scheduler=StepLR(optimizer, 1, gamma=0.5))
    trainer.fit(blobs(20), epochs=3, batch_size=5, verbose=False)
    assert trainer.history["lr"] == [1.0, 0.5, 0.25]

    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    schedule = OneCycleLR(optimizer, max_lr=0.1, total_steps=12)
    Trainer(model, optimizer, scheduler=schedule).fit(
        blobs(20), epochs=3, batch_size=5, verbose=False
    )
    assert schedule.last_epoch == 12


@pytest.mark.parametrize("validation", [None, blobs(10, seed=1)])
def test_plateaus_are_seen_in_the_validation_loss(validation, monkeypatch):
    seen = []
    monkeypatch.setattr(ReduceLROnPlateau, "step", lambda self, value: seen.append(value))
    model = small_model()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    trainer = Trainer(model, optimizer, scheduler=ReduceLROnPlateau(optimizer))
    history = trainer.fit(blobs(20), validation, epochs=2, verbose=False)
    assert seen == history["loss" if validation is None else "val_loss"]


def test_early_stopping_ends_after_its_patience():
    class Scripted(Callback):
        def on_epoch_end(self, trainer: Trainer, epoch: int, logs: dict[str, float]) -> None:
            logs["val_loss"] = [3.0, 2.0, 2.5, 1.99, 2.0, 1.995, 1.0][epoch]

    stopping = EarlyStopping(patience=1, min_delta=0.1)
    trainer = trainer_for(small_model(), callbacks=[Scripted(), stopping])
    trainer.fit(blobs(20), blobs(20), epochs=7, verbose=False)
    assert trainer.history.epochs == [0, 1, 2, 3]
    assert stopping.best == 2.0


def test_early_stopping_knows_that_more_accuracy_is_better():
    stopping = EarlyStopping("val_accuracy", patience=2)
    trainer = trainer_for(small_model(), callbacks=[stopping])
    trainer.fit(blobs(200), blobs(50), epochs=30, batch_size=10, verbose=False)
    assert stopping.best == 1.0
    assert len(trainer.history.epochs) < 30


@pytest.mark.parametrize(
    ("monitor", "threshold", "values", "epochs"),
    [
        ("val_accuracy", 0.9, [0.5, 0.4, 0.9, 1.0], 3),
        ("val_accuracy", 0.9, [0.5, 0.4, 0.9 * (1 - 1e-15), 1.0], 3),
        ("val_accuracy", 0.9, [0.5, 0.4, 0.8999, 1.0], 4),
        ("val_accuracy", 0.9, [0.5, float("nan"), 0.6, 0.7], 4),
        ("val_loss", 0.2, [0.3, 0.4, 0.2, 0.1], 3),
        ("val_loss", -1.5, [0.3, -1.5, 0.2, 0.1], 2),
    ],
)
def test_early_stopping_ends_at_its_threshold(monitor, threshold, values, epochs):
    class Scripted(Callback):
        def on_epoch_end(self, trainer: Trainer, epoch: int, logs: dict[str, float]) -> None:
            logs[monitor] = values[epoch]

    stopping = EarlyStopping(monitor, patience=4, stopping_threshold=threshold)
    trainer = trainer_for(small_model(), callbacks=[Scripted(), stopping])
    trainer.fit(blobs(20), blobs(20), epochs=4, verbose=False)
    assert len(trainer.history.epochs) == epochs


def test_early_stopping_trains_no_epoch_after_one_that_was_good_enough():
    stopping = EarlyStopping("val_accuracy", patience=9, stopping_threshold=0.01)
    trainer = trainer_for(small_model())
    trainer.fit(blobs(20), blobs(20), epochs=1, verbose=False)
    trainer.callbacks = [stopping]
    assert len(trainer.fit(blobs(20), blobs(20), epochs=3, initial_epoch=1).epochs) == 1


def test_csv_logger_writes_the_history(tmp_path):
    trainer = trainer_for(small_model(), callbacks=[CSVLogger(tmp_path / "history.csv")])
    trainer.fit(blobs(20), epochs=3, verbose=False)
    with (tmp_path / "history.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [float(row["loss"]) for row in rows] == trainer.history["loss"]


def test_csv_logger_needs_its_folder_before_any_work(tmp_path):
    model = small_model()
    before = weights_of(model)
    trainer = trainer_for(model, callbacks=[CSVLogger(tmp_path / "new" / "history.csv")])
    with pytest.raises(FileNotFoundError, match=r"^CSVLogger: .*new is no folder, make it first$"):
        trainer.fit(blobs(20), verbose=False)
    assert_same_weights(weights_of(model), before)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda t: t.fit(blobs(20, classes=4)),
            ValueError,
            r"Trainer.fit: train_data has label 3 at position \d+, but the model has 3 outputs "
            r"\(labels.shape = \(20,\)\)",
        ),
        (
            lambda t: t.fit(blobs(20), blobs(20, classes=4)),
            ValueError,
            r"Trainer.fit: validation_data has label 3 at position \d+, but the model has 3 .*",
        ),
        (
            lambda t: t.fit(Subset((blobs(20, classes=4)), range(20))),
            ValueError,
            r"Trainer.fit: train_data has label 3 at position \d+, but the model has 3 .*",
        ),
        (
            lambda t: t.evaluate((blobs(5).images, [0, 1, -1, 0, 0])),
            ValueError,
            r"Trainer.evaluate: data has label -1 at position 2, but the model has 3 outputs .*",
        ),
        (
            lambda t: t.fit((np.zeros((4, 1, 3, 3)), [0, 1, 2, 0])),
            ValueError,
            r"linear: .*9.*4.*",
        ),
        (
            lambda t: t.fit((blobs(4).images, [0, 1, 2])),
            ValueError,
            r"ArrayDataset: images has 4 samples but labels has 3 .*",
        ),
        (
            lambda t: t.fit((np.zeros((0, 1, 2, 2)), [])),
            ValueError,
            "Trainer.fit: train_data is empty",
        ),
        (
            lambda t: t.fit(DataLoader(blobs(4), 5, drop_last=True)),
            ValueError,
            r"Trainer.fit: train_data gives no batch, drop_last leaves out its 4 samples "
            r"\(batch_size = 5\)",
        ),
        (
            lambda t: t.fit(blobs(4).images),
            TypeError,
            r"Trainer.fit: train_data must be a Dataset or a pair \(images, labels\), got array.*",
        ),
        (
            lambda t: t.fit(blobs(4), epochs=-1),
            ValueError,
            "Trainer.fit: epochs must not be negative, got -1",
        ),
        (
            lambda t: t.fit(blobs(4), epochs=1.5),
            TypeError,
            "Trainer.fit: epochs must be an int, got 1.5",
        ),
        (
            lambda t: t.fit(blobs(4), initial_epoch=-1),
            ValueError,
            "Trainer.fit: initial_epoch must not be negative, got -1",
        ),
        (
            lambda t: t.fit(blobs(4), batch_size=0),
            ValueError,
            "Trainer.fit: batch_size must be positive, got 0",
        ),
        (
            lambda t: t.evaluate(blobs(4), batch_size=0),
            ValueError,
            "Trainer.evaluate: batch_size must be positive, got 0",
        ),
        (
            lambda t: t.predict(blobs(4), batch_size=0),
            ValueError,
            "Trainer.predict: batch_size must be positive, got 0",
        ),
    ],
)
def test_bad_data_and_numbers_are_refused_before_any_work(call, error, text):
    recorder = Recorder()
    model = small_model()
    before = weights_of(model)
    with pytest.raises(error, match=f"^{text}$"):
        call(trainer_for(model, callbacks=[recorder]))
    assert recorder.calls == []
    assert_same_weights(weights_of(model), before)


def test_labels_that_cross_entropy_ignores_are_no_error():
    dataset = blobs(20)
    dataset.labels[3] = -100
    trainer_for(small_model()).fit(dataset, epochs=1, verbose=False)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (
            lambda: trainer_for(small_model(), metrics=("precision",)),
            ValueError,
            "Trainer: metrics must be among accuracy or callables, got 'precision'",
        ),
        (
            lambda: trainer_for(small_model(), metrics=(3,)),
            TypeError,
            "Trainer: metrics must hold names or callables, got 3",
        ),
        (
            lambda: trainer_for(small_model(), metrics=("accuracy", "accuracy")),
            ValueError,
            "Trainer: metric 'accuracy' is given twice",
        ),
        (
            lambda: trainer_for(small_model(), callbacks=[print]),
            TypeError,
            "Trainer: callbacks must hold Callbacks, but number 0 is <built-in function print>",
        ),
        (
            lambda: Checkpoint("x", every_batches=0),
            ValueError,
            "Checkpoint: every_batches must be positive, got 0",
        ),
        (
            lambda: Checkpoint("x", every_epochs=0),
            ValueError,
            "Checkpoint: every_epochs must be positive, got 0",
        ),
        (
            lambda: EarlyStopping(patience=-1),
            ValueError,
            "EarlyStopping: patience must not be negative, got -1",
        ),
        (
            lambda: EarlyStopping(stopping_threshold=float("inf")),
            ValueError,
            "EarlyStopping: stopping_threshold must be finite, got inf",
        ),
        (
            lambda: EarlyStopping(mode="up"),
            ValueError,
            "EarlyStopping: mode must be one of 'auto', 'min', 'max', got 'up'",
        ),
    ],
)
def test_bad_settings_are_refused(make, error, text):
    with pytest.raises(error, match=f"^{text}$"):
        make()


def test_early_stopping_names_what_it_could_watch():
    model = small_model()
    before = weights_of(model)
    trainer = trainer_for(model, callbacks=[EarlyStopping("val_loss")])
    with pytest.raises(
        ValueError,
        match=r"^EarlyStopping: monitor 'val_loss' is not one of: loss, accuracy, lr, seconds$",
    ):
        trainer.fit(blobs(10), verbose=False)
    assert_same_weights(weights_of(model), before)
