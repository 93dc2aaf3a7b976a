"""The command line: what it prints, what it leaves behind, and how it refuses."""

from __future__ import annotations

import builtins
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import convolite
from convolite import models
from convolite.cli import datasets, main
from convolite.cli.recipe import CLASSES, make_model
from convolite.data import ArrayDataset, load_digits

TWO_EPOCHS = ["--epochs", "2", "--threads", "1"]
TRAINING_IMAGES, TEST_IMAGES = 320, 100


def few_digits(train: bool) -> ArrayDataset:
    images, labels = load_digits(train)[: TRAINING_IMAGES if train else TEST_IMAGES]
    return ArrayDataset(images, labels)


@pytest.fixture(scope="module", autouse=True)
def _few_digits() -> Iterator[None]:
    """Part of the digits, to be quick; the main job's own test runs in another process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "load_digits", few_digits)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "run"
    assert main(["train", *TWO_EPOCHS, "--out", str(path)]) == 0
    return path


@pytest.fixture(autouse=True)
def _same_threads_afterwards() -> Iterator[None]:
    former = convolite.get_num_threads()
    yield
    convolite.set_num_threads(former)


def accuracy_in(output: str) -> float:
    words = output.splitlines()[-1].split()
    assert words[:2] == ["test", "accuracy"]
    assert len(words[2]) == len("0.1234")
    return float(words[2])


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on standard error of a command that fails."""
    try:
        status = main(arguments)
    except SystemExit as leaving:
        status = leaving.code  # argparse leaves by itself
    output, errors = capsys.readouterr()
    assert status == 2
    assert output == ""
    assert errors.count("\n") == 1
    assert errors.endswith("\n")
    return errors.rstrip("\n")


def digit_file(folder: Path, index: int, size: int = 28) -> tuple[str, int]:
    image, label = load_digits(False)[index]
    path = folder / f"digit-{index}.png"
    Image.fromarray(image[0]).resize((size, size)).save(path)
    return str(path), int(label)


@pytest.mark.slow
def test_train_with_no_argument_reaches_98_percent(tmp_path):
    """The main job, as a newcomer runs it: in a new folder, in a new process."""
    package = Path(convolite.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "convolite", "train"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(package)},
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stderr == ""
    assert accuracy_in(done.stdout) >= 0.98
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name == "digits-sample_cnn-1"
    names = {path.name for path in run.iterdir()}
    assert {"config.json", "history.csv", "results.json", "weights.safetensors"} < names
    (checkpoint,) = run.glob("checkpoint-*")
    assert (checkpoint / "optimizer.safetensors").is_file()


def test_the_output_is_a_header_a_line_per_epoch_and_the_result(tmp_path, capsys):
    path = tmp_path / "run"
    assert main(["train", *TWO_EPOCHS, "--model", "lenet5", "--out", str(path)]) == 0
    output, errors = capsys.readouterr()
    lines = output.splitlines()
    assert errors == ""
    assert lines[0] == (
        f"lenet5 on digits: 320 training and 100 test images, 1 thread, run folder {path}"
    )
    assert [line.split("  ")[0] for line in lines[1:3]] == ["epoch 1/2", "epoch 2/2"]
    assert lines[3].startswith("test loss ")
    assert 0.1 < accuracy_in(output) <= 1


@pytest.mark.parametrize("name", models.names())
def test_every_model_takes_the_data_sets_images(name):
    model = make_model(name, len(CLASSES)).eval()
    assert model(np.zeros((1, 1, 28, 28), np.float32)).shape == (1, len(CLASSES))


def test_a_residual_network_is_trained_and_evaluated(tmp_path, capsys):
    path = str(tmp_path / "run")
    assert main(["train", *TWO_EPOCHS, "--model", "resnet20", "--out", path]) == 0
    output = capsys.readouterr().out
    assert main(["evaluate", path]) == 0
    assert capsys.readouterr().out.splitlines() == output.splitlines()[-2:]


def test_the_seed_decides_and_another_seed_differs(run, tmp_path):
    weights = []
    for number, seed in enumerate(["0", "1"]):
        path = tmp_path / str(number)
        assert main(["train", *TWO_EPOCHS, "--seed", seed, "--out", str(path)]) == 0
        weights.append((path / "weights.safetensors").read_bytes())
    assert weights[0] == (run / "weights.safetensors").read_bytes()
    assert weights[1] != weights[0]


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "rmsprop"])
def test_every_optimizer_has_a_rate_that_works(optimizer, tmp_path, capsys):
    arguments = ["--optimizer", optimizer, "--epochs", "10", "--out", str(tmp_path / "run")]
    assert main(["train", "--threads", "1", *arguments]) == 0
    assert accuracy_in(capsys.readouterr().out) > 0.8


def test_evaluate_repeats_the_result_of_the_training(run, capsys):
    assert main(["evaluate", str(run)]) == 0
    lines = capsys.readouterr().out.splitlines()
    results = json.loads((run / "results.json").read_text())
    assert lines == [
        f"test loss {results['loss']:.4f}",
        f"test accuracy {results['accuracy']:.4f}",
    ]


def test_predict_names_the_likeliest_classes(run, tmp_path, capsys):
    files = [digit_file(tmp_path, index, size) for index, size in [(0, 28), (7, 28), (40, 120)]]
    assert main(["predict", str(run), *(name for name, _ in files), "--top", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    hits = 0
    for line, (name, label) in zip(lines, files, strict=True):
        assert line.startswith(f"{name}: ")
        best, second = line.removeprefix(f"{name}: ").split(", ")
        assert float(best.split("(")[1][:6]) >= float(second.split("(")[1][:6])
        hits += best.startswith(f"{label} (")
    assert hits >= 2


def test_predict_agrees_with_evaluate_on_what_a_pixel_means(run, tmp_path, capsys):
    """The whole test set through image files gives the accuracy that evaluate gives."""
    count = 60
    files = [digit_file(tmp_path, index) for index in range(count)]
    assert main(["predict", str(run), *(name for name, _ in files), "--top", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    right = sum(
        line.split(": ")[-1].startswith(f"{label} ")
        for line, (_, label) in zip(lines, files, strict=True)
    )
    from convolite.cli.inspection import _open

    trainer, configuration = _open(str(run))
    test = load_digits(False)
    images = (test.images[:count] / np.float32(255) - configuration.mean[0]) / configuration.std[0]
    expected = trainer.evaluate((images.astype(np.float32), test.labels[:count]))["accuracy"]
    assert right == round(expected * count)


def test_dark_digits_on_a_light_ground_can_be_inverted(run, tmp_path, capsys):
    name, _ = digit_file(tmp_path, 3)
    inverted = tmp_path / "inverted.png"
    Image.fromarray(255 - np.asarray(Image.open(name))).save(inverted)
    main(["predict", str(run), name])
    main(["predict", str(run), str(inverted), "--invert"])
    first, second = capsys.readouterr().out.splitlines()
    assert first.split(": ")[1] == second.split(": ")[1]


def test_info_shows_the_setup_and_a_run(run, capsys):
    assert main(["info"]) == 0
    setup = capsys.readouterr().out
    assert setup.startswith(f"convolite        {convolite.__version__}\n")
    assert main(["info", str(run)]) == 0
    shown = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert shown["model"] == "sample_cnn"
    assert shown["epochs"] == "2"
    assert shown["state"] == "finished"


def test_a_finished_run_is_resumed_with_more_epochs_or_just_tested(run, tmp_path, capsys):
    path = tmp_path / "run"
    assert main(["train", "--epochs", "1", "--out", str(path)]) == 0
    first = accuracy_in(capsys.readouterr().out)
    assert main(["train", "--resume", str(path)]) == 0
    assert accuracy_in(capsys.readouterr().out) == first
    assert main(["train", "--resume", str(path), "--epochs", "3", "--batch-size", "64"]) == 0
    assert accuracy_in(capsys.readouterr().out) > first
    assert len((path / "history.csv").read_text().splitlines()) == 4
    assert json.loads((path / "config.json").read_text())["settings"]["epochs"] == 3


def test_weights_that_a_finished_run_has_lost_are_written_again(tmp_path, capsys):
    path = tmp_path / "run"
    assert main(["train", "--epochs", "1", "--out", str(path)]) == 0
    weights = (path / "weights.safetensors").read_bytes()
    (path / "weights.safetensors").unlink()
    assert main(["train", "--resume", str(path)]) == 0
    assert (path / "weights.safetensors").read_bytes() == weights


def test_new_runs_get_new_folders(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert main(["train", "--epochs", "0"]) == 0
    names = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert names == ["digits-sample_cnn-1", "digits-sample_cnn-2"]
    accuracy_in(capsys.readouterr().out)


def test_no_epoch_leaves_an_untrained_network_to_go_on_from(tmp_path, capsys):
    path = tmp_path / "run"
    assert main(["train", "--epochs", "0", "--out", str(path)]) == 0
    untrained = convolite.load(path / "weights.safetensors")
    assert main(["evaluate", str(path)]) == 0
    assert main(["info", str(path)]) == 0
    assert main(["train", "--resume", str(path), "--epochs", "1"]) == 0
    trained = convolite.load(path / "weights.safetensors")
    assert all((trained[name] != array).any() for name, array in untrained.items())


USAGE = [
    ([], "convolite: the following arguments are required: COMMAND"),
    (["fly"], "convolite: argument COMMAND: invalid choice: 'fly'"),
    (
        ["train", "--model", "alexnet"],
        "convolite train: argument --model: invalid choice: 'alexnet'",
    ),
    (["train", "--data", "letters"], "convolite train: argument --data: invalid choice: 'letters'"),
    (["train", "--optimizer", "x"], "convolite train: argument --optimizer: invalid choice: 'x'"),
    (
        ["train", "--epochs", "1000000001"],
        "convolite train: argument --epochs: must be at most 1000000000, got 1000000001",
    ),
    (
        ["train", "--batch-size", "1000000001"],
        "convolite train: argument --batch-size: must be at most 1000000000, got 1000000001",
    ),
    (
        ["train", "--out", ""],
        "convolite train: argument --out: must name a folder, got an empty text",
    ),
    (
        ["train", "--epochs", "-1"],
        "convolite train: argument --epochs: must not be negative, got -1",
    ),
    (
        ["train", "--epochs", "two"],
        "convolite train: argument --epochs: must be an integer, got two",
    ),
    (
        ["train", "--batch-size", "0"],
        "convolite train: argument --batch-size: must be positive, got 0",
    ),
    (["train", "--lr", "0"], "convolite train: argument --lr: must be positive, got 0"),
    (["train", "--lr", "inf"], "convolite train: argument --lr: must be positive, got inf"),
    (["train", "--lr", "fast"], "convolite train: argument --lr: must be a number, got fast"),
    (
        ["train", "--momentum", "1.5"],
        "convolite train: argument --momentum: must be in [0, 1], got 1.5",
    ),
    (["train", "--threads", "0"], "convolite train: argument --threads: must be positive, got 0"),
    (
        ["train", "--threads", "5000"],
        "convolite train: argument --threads: must be at most 4096, got 5000",
    ),
    (
        ["train", "--target-accuracy", "99"],
        "convolite train: argument --target-accuracy: must be in (0, 1], got 99",
    ),
    (
        ["train", "--target-accuracy", "0"],
        "convolite train: argument --target-accuracy: must be in (0, 1], got 0",
    ),
    (
        ["train", "--target-accuracy", "nan"],
        "convolite train: argument --target-accuracy: must be in (0, 1], got nan",
    ),
    (
        ["train", "--target-accuracy", "all"],
        "convolite train: argument --target-accuracy: must be a number, got all",
    ),
    (["train", "--sed", "1"], "convolite: unrecognized arguments: --sed 1"),
    (["predict", "run"], "convolite predict: the following arguments are required: IMAGE"),
]


@pytest.mark.smoke
@pytest.mark.parametrize(("arguments", "text"), USAGE, ids=lambda value: str(value)[:40])
def test_bad_usage_is_one_line(arguments, text, capsys):
    assert refused(arguments, capsys).startswith(text)


def test_bad_input_is_one_line(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("CONVOLITE_DATA", str(tmp_path / "data"))
    missing = str(tmp_path / "missing")
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{")
    (tmp_path / "file").write_text("")
    text_file = str(tmp_path / "text.png")
    array_file = str(tmp_path / "digit.npy")
    np.save(array_file, np.zeros((28, 28)))
    cases = [
        (
            ["train", "--optimizer", "adam", "--momentum", "0.5"],
            "--momentum belongs to the optimizer sgd, but --optimizer is adam",
        ),
        (["train", "--out", str(run)], f"{run} holds a run already: --resume it, or "),
        (["train", "--out", str(tmp_path / "file")], f"{tmp_path / 'file'}: File exists"),
        (["train", "--resume", missing], f"{missing}: not a run folder, it has no config.json"),
        (
            ["train", "--resume", str(run), "--lr", "3"],
            "--lr 3.0 differs from the run's ",
        ),
        (
            ["train", "--resume", str(run), "--epochs", "1"],
            "--epochs 1 differs from the run's 2; leave it out",
        ),
        (["train", "--resume", str(run), "--out", "x"], "--out and --resume exclude each other"),
        (["train", "--data", "mnist"], "MNIST: train-images-idx3-ubyte[.gz] and train-labels"),
        (["evaluate", missing], f"{missing}: not a run folder, it has no config.json"),
        (["evaluate", str(tmp_path / "broken")], "config.json: not valid JSON ("),
        (["evaluate", str(run), "--data", "mnist"], "MNIST: t10k-images-idx3-ubyte[.gz] and t10k"),
        (["predict", str(run), missing], f"{missing}: no such file"),
        (["predict", str(run), str(tmp_path)], f"{tmp_path}: is a folder, not an image"),
        (["predict", str(run), array_file], "digit.npy: not an image; Trainer.predict takes"),
        (["predict", str(run), text_file], "text.png: not an image that Pillow can read ("),
        (["info", missing], f"{missing}: not a run folder, it has no config.json"),
    ]
    for arguments, text in cases:
        line = refused(arguments, capsys)
        assert line.startswith(f"convolite {arguments[0]}: {text}"), line


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"settings": {}}, "config.json: setting 'model' is missing"),
        (
            {"model": "alexnet"},
            "config.json: model must be one of lenet5, mobilenet_v2, resnet18, resnet20, "
            "sample_cnn, got 'alexnet'",
        ),
        ({"lr": "fast"}, "config.json: lr must be a positive number, got 'fast'"),
        ({"lr": True}, "config.json: lr must be a positive number, got True"),
        ({"lr": math.inf}, "config.json: lr must be a positive number, got inf"),
        ({"lr": math.nan}, "config.json: lr must be a positive number, got nan"),
        ({"epochs": True}, "config.json: epochs must be an int from 0 to 1000000000, got True"),
        ({"epochs": 1.5}, "config.json: epochs must be an int from 0 to 1000000000, got 1.5"),
        ({"batch_size": 0}, "config.json: batch_size must be an int from 1 to 1000000000, got 0"),
        ({"shift": -1}, "config.json: shift must be an int from 0 to 28, got -1"),
        ({"shift": 2**70}, f"config.json: shift must be an int from 0 to 28, got {2**70}"),
        ({"lr": 10**400}, f"config.json: lr must be a positive number, got 1{'0' * 56}..."),
        ({"seed": -1}, "config.json: seed must be an int from 0, got -1"),
        ({"momentum": 2}, "config.json: momentum must be null or a number from 0 to 1, got 2"),
        (
            {"target_accuracy": 0},
            "config.json: target_accuracy must be null or a number above 0, at most 1, got 0",
        ),
        ({"weight_decay": -1}, "config.json: weight_decay must be a number from 0, got -1"),
        (
            {"optimizer": []},
            "config.json: optimizer must be one of sgd, adam, adamw, rmsprop, got []",
        ),
        (
            {"optimizer": "adam"},
            "config.json: momentum must be null for the optimizer adam, got 0.9",
        ),
        ({"settings": 5}, "config.json: settings must be an object, got 5"),
        ({"classes": [1]}, "config.json: classes must be a list of strings, got [1]"),
        ({"classes": ["0", "1"]}, "config.json: classes must have 10 names, got 2"),
        ({"mean": None}, "config.json: mean must be a list of finite numbers, got None"),
        ({"mean": ["x"]}, "config.json: mean must be a list of finite numbers, got ['x']"),
        ({"std": [0]}, "config.json: std must be a list of positive numbers, got [0]"),
        ({"std": [1, 1]}, "config.json: mean has 1 values but std has 2"),
    ],
)
def test_damaged_configurations_are_named(change, text, run, tmp_path, capsys):
    configuration = json.loads((run / "config.json").read_text())
    for name, value in change.items():
        place = configuration if name in configuration else configuration["settings"]
        place[name] = value
    (tmp_path / "config.json").write_text(json.dumps(configuration))
    assert refused(["info", str(tmp_path)], capsys) == f"convolite info: {text}"


@pytest.mark.parametrize("loss", [None, "a", 10**400, True, []])
def test_damaged_results_are_named(loss, run, tmp_path, capsys):
    (tmp_path / "config.json").write_bytes((run / "config.json").read_bytes())
    (tmp_path / "results.json").write_text(json.dumps({"loss": loss, "accuracy": 0.5}))
    line = refused(["info", str(tmp_path)], capsys)
    assert line == "convolite info: results.json: loss and accuracy must be numbers"


def test_damaged_weights_are_named(run, tmp_path, capsys):
    (tmp_path / "config.json").write_bytes((run / "config.json").read_bytes())
    line = refused(["evaluate", str(tmp_path)], capsys)
    assert line == (
        f"convolite evaluate: {tmp_path}: no weights.safetensors yet, nothing was trained"
    )
    content = (run / "weights.safetensors").read_bytes()
    (tmp_path / "weights.safetensors").write_bytes(content[:-1])
    line = refused(["evaluate", str(tmp_path)], capsys)
    assert line.startswith("convolite evaluate: weights.safetensors: tensor")


def test_predict_without_pillow_names_the_extra(run, tmp_path, capsys, monkeypatch):
    real_import = builtins.__import__

    def without_pillow(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "PIL":
            raise ImportError("No module named 'PIL'")
        return real_import(name, *arguments, **options)

    name, _ = digit_file(tmp_path, 0)
    monkeypatch.setattr(builtins, "__import__", without_pillow)
    line = refused(["predict", str(run), name], capsys)
    assert line == 'convolite predict: predict needs Pillow: pip install "convolite[image]"'


@pytest.mark.smoke
def test_an_interrupt_while_modules_are_loaded_is_one_line() -> None:
    code = (
        "import sys, convolite.cli\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in ('convolite.models', 'convolite.train'): raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupt())\n"
        "sys.exit(convolite.cli.main(['info']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (130, "convolite: interrupted\n")


@pytest.mark.smoke
def test_version_and_help(capsys):
    for arguments in (["--version"], ["--help"], ["train", "--help"]):
        with pytest.raises(SystemExit) as leaving:
            main(arguments)
        assert leaving.value.code == 0
    output = capsys.readouterr().out
    assert output.startswith(f"convolite {convolite.__version__}\n")
    assert "--target-accuracy" in output
    assert "2 for bad usage or input; 130 after Ctrl-C" in " ".join(output.split())


@pytest.mark.parametrize(
    ("name", "value"), [("CONVOLITE_ISA", "avx1024"), ("CONVOLITE_NUM_THREADS", "many")]
)
def test_a_wrong_environment_variable_is_one_line(name: str, value: str) -> None:
    command = [sys.executable, "-m", "convolite", "info"]
    environment = {**os.environ, name: value}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith(f"convolite: {name}")
    assert value in done.stderr
    assert done.stderr.count("\n") == 1
