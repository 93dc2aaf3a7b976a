"""Time a training step of the sample network: convolite beside PyTorch, in turn in one run.

A step is forward, cross-entropy, backward and SGD with momentum 0.9 on one batch. Each contender
runs in a process of its own; the processes take turns, one block of steps at a time, and rest in
between. PyTorch's threads are bound to cores, which is its best; convolite runs as a user starts
it. All contenders start from the same weights and data, and the losses of the first steps stand
beside each other as the check that they train the same network.

    python benchmarks/train_step.py --peer-python PATH   # an interpreter that has torch
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

from contenders import Contender, argument_parser, machine, serve

CHECKED_STEPS = 5
PEERS = ("eager", "channels_last", "compile")
LAYERS = (
    ("conv1", (32, 1, 3, 3)),
    ("conv2", (64, 32, 3, 3)),
    ("fc1", (128, 1600)),
    ("fc2", (10, 128)),
)


def main() -> int:
    arguments = parse_arguments()
    if arguments.contender:
        return be_contender(arguments)
    subprocess.run([sys.executable, "-c", "import convolite; convolite.show_config()"], check=True)
    results = [compare(arguments, batch_norm) for batch_norm in (False, True)]
    report = {
        "machine": machine(),
        "batch": arguments.batch,
        "threads": arguments.threads,
        "results": results,
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__.splitlines()[0], rounds=8)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=40, help="steps in a turn")
    parser.add_argument("--smoke", action="store_true", help="two short rounds, for tests")
    parser.add_argument("--batch-norm", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.rounds, arguments.steps = 2, 3
    return arguments


def compare(arguments: argparse.Namespace, batch_norm: bool) -> dict:
    names = ["convolite", *(PEERS if arguments.peer_python else ())]
    options = ["--batch", str(arguments.batch), "--threads", str(arguments.threads)]
    options += ["--batch-norm"] * batch_norm
    contenders = [Contender(name, __file__, options, arguments.peer_python) for name in names]
    hellos = {each.name: each.ask(0) for each in contenders}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(arguments.rounds):
        for contender in contenders:
            seconds[contender.name] += contender.ask(arguments.steps)["seconds"]
    for contender in contenders:
        contender.close()
    return summarize(hellos, seconds, batch_norm)


def summarize(hellos: dict, seconds: dict[str, list[float]], batch_norm: bool) -> dict:
    title = "sample_cnn with batch norm" if batch_norm else "sample_cnn"
    versions = ", ".join(f"{name} {hello['version']}" for name, hello in hellos.items())
    print(f"\n{title}, {versions}")
    print(f"{'':14}{'median ms':>10}{'quartile':>10}  losses of the first steps")
    rows = {}
    for name, hello in hellos.items():
        milliseconds = [1000 * second for second in seconds[name]]
        quartile, median, _ = statistics.quantiles(milliseconds, n=4)
        losses = hello["losses"]
        rows[name] = {
            "median_ms": median,
            "quartile_ms": quartile,
            "losses": losses,
            "version": hello["version"],
        }
        print(
            f"{name:14}{median:10.2f}{quartile:10.2f}  "
            + " ".join(f"{loss:.5f}" for loss in losses)
        )
    check_losses(rows)
    result = {"network": title, "contenders": rows}
    if len(rows) > 1:
        for figure in ("median_ms", "quartile_ms"):
            best = min(rows[name][figure] for name in rows if name != "convolite")
            result[f"ratio_{figure}"] = best / rows["convolite"][figure]
        print(
            f"PyTorch's best / convolite: {result['ratio_median_ms']:.2f} (median), "
            f"{result['ratio_quartile_ms']:.2f} (lower quartile)"
        )
    return result


def check_losses(rows: dict) -> None:
    """Refuse to report times of networks that do not train alike."""
    ours = rows["convolite"]["losses"]
    for name, row in rows.items():
        for a, b in zip(ours, row["losses"], strict=True):
            if abs(a - b) > 1e-3 * max(1.0, abs(a)):
                raise SystemExit(f"train_step: losses of {name} and convolite differ: {b} and {a}")


def be_contender(arguments: argparse.Namespace) -> int:
    """Answer each number of steps with their seconds."""
    build = build_convolite if arguments.contender == "convolite" else build_torch
    step, version = build(arguments)
    losses = [step() for _ in range(CHECKED_STEPS)]
    for _ in range(10):
        step()

    def answer(steps: int) -> dict:
        seconds = []
        for _ in range(steps):
            begin = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - begin)
        return {"seconds": seconds, "losses": losses, "version": version}

    return serve(answer)


def problem(batch: int):
    """Weights, images and labels that every contender starts from."""
    import numpy as np

    rng = np.random.default_rng(7)
    weights = {}
    for name, shape in LAYERS:
        bound = float(np.prod(shape[1:])) ** -0.5
        weights[f"{name}.weight"] = rng.uniform(-bound, bound, shape).astype(np.float32)
        weights[f"{name}.bias"] = rng.uniform(-bound, bound, shape[:1]).astype(np.float32)
    images = rng.standard_normal((batch, 1, 28, 28)).astype(np.float32)
    return weights, images, rng.integers(0, 10, batch)


def assign(layers, weights, copy) -> None:
    """Copy the weights into the network's convolutions and linear layers, in order."""
    for layer, (name, _) in zip(layers, LAYERS, strict=True):
        copy(layer.weight, weights[f"{name}.weight"])
        copy(layer.bias, weights[f"{name}.bias"])


def build_convolite(arguments: argparse.Namespace):
    import convolite
    from convolite import functional, models, nn, optim

    convolite.set_num_threads(arguments.threads)
    weights, images, labels = problem(arguments.batch)
    model = models.sample_cnn(batch_norm=arguments.batch_norm)
    layers = [module for module in model.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]

    def copy(parameter, value):
        parameter.numpy()[...] = value

    assign(layers, weights, copy)
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    inputs = convolite.tensor(images)

    def step() -> float:
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step, convolite.__version__


def build_torch(arguments: argparse.Namespace):
    import torch
    from torch import nn

    torch.set_num_threads(arguments.threads)
    weights, images, labels = problem(arguments.batch)
    layers = [nn.Conv2d(1, 32, 3), nn.Conv2d(32, 64, 3), nn.Linear(1600, 128), nn.Linear(128, 10)]

    def copy(parameter, value):
        parameter.data.copy_(torch.from_numpy(value))

    assign(layers, weights, copy)
    norms = [[nn.BatchNorm2d(32)], [nn.BatchNorm2d(64)]] if arguments.batch_norm else [[], []]
    model = nn.Sequential(
        layers[0],
        *norms[0],
        nn.ReLU(),
        nn.MaxPool2d(2),
        layers[1],
        *norms[1],
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        layers[2],
        nn.ReLU(),
        layers[3],
    )
    inputs, targets = torch.from_numpy(images), torch.from_numpy(labels)
    if arguments.contender == "channels_last":
        model = model.to(memory_format=torch.channels_last)
        inputs = inputs.to(memory_format=torch.channels_last)
    forward = torch.compile(model) if arguments.contender == "compile" else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def step() -> float:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(forward(inputs), targets)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step, torch.__version__


if __name__ == "__main__":
    raise SystemExit(main())
