"""Time training steps of whole networks: convolite beside PyTorch, in turn in one run.

A step is forward, cross-entropy, backward and SGD with momentum 0.9 on one batch, without dropout.
Each contender runs in a process of its own; the processes take turns, one block of steps at a time,
and rest in between. PyTorch's threads are bound to cores, which is its best; convolite runs as a
user starts it. All contenders start from the same weights and data, and the losses of the first
steps stand beside each other as the check that they train the same network.

    python benchmarks/train_step.py --peer-python PATH   # an interpreter that has torch
    python benchmarks/train_step.py --peer-python PATH --models resnet20
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from typing import NamedTuple

from contenders import Contender, argument_parser, serve, write_json
from processor import add_bench, round_trip

CHECKED_STEPS = 5
PEERS = ("eager", "channels_last", "compile")


class Network(NamedTuple):
    """What a network is measured with."""

    function: str
    options: dict
    batch: int
    image: tuple[int, int, int]
    classes: int
    steps: int  # in a turn
    drift: float = 1e-3  # by which rounding alone may change the losses of the first steps


NETWORKS = {
    "sample_cnn": Network("sample_cnn", {}, 64, (1, 28, 28), 10, 40),
    "sample_cnn_bn": Network("sample_cnn", {"batch_norm": True}, 64, (1, 28, 28), 10, 40),
    "resnet20": Network("resnet20", {}, 64, (3, 32, 32), 10, 5),
    # PyTorch's three differ among each other by as much as 1e-3 here, and 7e-3 below.
    "resnet18": Network("resnet18", {}, 8, (3, 224, 224), 1000, 2, drift=1e-2),
    "mobilenet_v2": Network("mobilenet_v2", {}, 8, (3, 224, 224), 1000, 2, drift=3e-2),
}


def main() -> int:
    arguments = parse_arguments()
    if arguments.contender:
        return be_contender(arguments)
    subprocess.run([sys.executable, "-c", "import convolite; convolite.show_config()"], check=True)
    results = [compare(arguments, name) for name in arguments.models]
    write_json(arguments, {"results": results})
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__.splitlines()[0], rounds=8)
    parser.add_argument(
        "--models", type=network_names, default=list(NETWORKS), help="names, with commas between"
    )
    parser.add_argument("--batch", type=int, help="default: by network")
    parser.add_argument("--steps", type=int, help="steps in a turn; default: by network")
    add_bench(parser)
    parser.add_argument("--smoke", action="store_true", help="two short rounds, for tests")
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.models, arguments.rounds, arguments.steps = ["sample_cnn"], 2, 3
    return arguments


def network_names(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in NETWORKS:
            raise argparse.ArgumentTypeError(f"{name} is not one of {', '.join(NETWORKS)}")
    return names


def compare(arguments: argparse.Namespace, network: str) -> dict:
    names = ["convolite", *(PEERS if arguments.peer_python else ())]
    batch = arguments.batch or NETWORKS[network].batch
    steps = arguments.steps or NETWORKS[network].steps
    options = ["--models", network, "--batch", str(batch), "--steps", str(steps)]
    options += ["--threads", str(arguments.threads)]
    contenders = [Contender(name, __file__, options, arguments.peer_python) for name in names]
    hellos = {each.name: each.ask(0) for each in contenders}
    trips = [distance(arguments)]
    running = [each for each in contenders if "absent" not in hellos[each.name]]
    seconds: dict[str, list[float]] = {each.name: [] for each in running}
    peaks = {}
    for _ in range(arguments.rounds):
        for contender in running:
            answer = contender.ask(steps)
            seconds[contender.name] += answer["seconds"]
            peaks[contender.name] = answer["peak_mib"]
    for contender in contenders:
        contender.close()
    result = summarize(f"{network}, batch {batch}", hellos, seconds, peaks)
    check_losses(result["contenders"], NETWORKS[network].drift)
    return result | {"round_trip_ns": [*trips, distance(arguments)]}


def distance(arguments: argparse.Namespace) -> float | None:
    """Between two threads' cores, which a virtual machine may move; None where it is not known."""
    if not arguments.bench.is_file():
        return None
    return round_trip(arguments.bench, arguments.threads)


def summarize(title: str, hellos: dict, seconds: dict[str, list[float]], peaks: dict) -> dict:
    versions = ", ".join(f"{name} {hellos[name]['version']}" for name in seconds)
    print(f"\n{title}, {versions}")
    print(f"{'':14}{'median ms':>10}{'quartile':>10}{'peak MiB':>10}  losses of the first steps")
    rows = {}
    for name, hello in hellos.items():
        if name not in seconds:
            print(f"{name:14}absent: {hello['absent']}")
            continue
        milliseconds = [1000 * second for second in seconds[name]]
        quartile, median, _ = statistics.quantiles(milliseconds, n=4)
        losses = hello["losses"]
        rows[name] = {
            "median_ms": median,
            "quartile_ms": quartile,
            "peak_mib": peaks[name],
            "losses": losses,
            "version": hello["version"],
        }
        print(
            f"{name:14}{median:10.2f}{quartile:10.2f}{peaks[name]:10.0f}  "
            + " ".join(f"{loss:.5f}" for loss in losses)
        )
    absent = {name: hello["absent"] for name, hello in hellos.items() if name not in seconds}
    return {"network": title, "contenders": rows, "absent": absent, **ratios(rows)}


def ratios(rows: dict) -> dict[str, float]:
    """PyTorch's best in relation to convolite, printed and returned, if there is a peer."""
    found = {}
    peers = [row for name, row in rows.items() if name != "convolite"]
    for figure in ("median_ms", "quartile_ms") if peers else ():
        best = min(row[figure] for row in peers)
        found[f"ratio_{figure}"] = best / rows["convolite"][figure]
    if found:
        print(
            f"PyTorch's best / convolite: {found['ratio_median_ms']:.2f} (median), "
            f"{found['ratio_quartile_ms']:.2f} (lower quartile)"
        )
    return found


def check_losses(rows: dict, drift: float) -> None:
    """Refuse to report times of networks that do not train alike.

    The first loss, before any update, agrees closely in any network.
    """
    ours = rows["convolite"]["losses"]
    for name, row in rows.items():
        for i, (a, b) in enumerate(zip(ours, row["losses"], strict=True)):
            if abs(a - b) > (drift if i else 1e-3) * max(1.0, abs(a)):
                raise SystemExit(f"train_step: losses of {name} and convolite differ: {b} and {a}")


def be_contender(arguments: argparse.Namespace) -> int:
    """Answer each number of steps with their seconds and the process's peak memory."""
    [name] = arguments.models
    build = build_convolite if arguments.contender == "convolite" else build_torch
    try:
        step, version = build(arguments, NETWORKS[name])
        losses = [step() for _ in range(CHECKED_STEPS)]
    except Exception as error:
        if arguments.contender != "compile":  # which needs a compiler and knows not every network
            raise
        reason = without_folders(f"{type(error).__name__}: {error}")[:100]
        return serve(lambda steps: {"absent": reason})
    for _ in range(min(10, arguments.steps)):
        step()

    def answer(steps: int) -> dict:
        seconds = []
        for _ in range(steps):
            begin = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - begin)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB on Linux
        return {"seconds": seconds, "losses": losses, "version": version, "peak_mib": peak}

    return serve(answer)


def without_folders(text: str) -> str:
    """One line of an error; folders of one machine say nothing on another."""
    return " ".join(word.rsplit("/", 1)[-1] for word in text.split())


def problem(network: Network, batch: int):
    """Images and labels that every contender starts from."""
    import numpy as np

    rng = np.random.default_rng(7)
    images = rng.standard_normal((batch, *network.image)).astype(np.float32)
    return images, rng.integers(0, network.classes, batch)


def assign(model, kinds, copy) -> None:
    """Draw the weights of convolutions and linear layers, which all contenders have in one order.

    Batch norms begin as they are, with scale 1 and shift 0, and nothing is dropped: either
    library would draw a mask of its own.
    """
    import numpy as np

    rng = np.random.default_rng(8)
    for module in model.modules():
        if isinstance(module, kinds):
            bound = float(np.prod(module.weight.shape[1:])) ** -0.5
            for parameter in (module.weight, module.bias):
                if parameter is not None:
                    values = rng.uniform(-bound, bound, tuple(parameter.shape))
                    copy(parameter, values.astype(np.float32))
        elif type(module).__name__ == "Dropout":
            module.p = 0.0


def build_convolite(arguments: argparse.Namespace, network: Network):
    import convolite
    from convolite import functional, models, nn, optim

    convolite.set_num_threads(arguments.threads)
    images, labels = problem(network, arguments.batch)
    model = models.create(network.function, **network.options)

    def copy(parameter, value):
        parameter.numpy()[...] = value

    assign(model, (nn.Conv2d, nn.Linear), copy)
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    inputs = convolite.tensor(images)

    def step() -> float:
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step, convolite.__version__


def build_torch(arguments: argparse.Namespace, network: Network):
    import torch
    import torch_models
    from torch import nn

    torch.set_num_threads(arguments.threads)
    images, labels = problem(network, arguments.batch)
    model = getattr(torch_models, network.function)(**network.options)

    def copy(parameter, value):
        parameter.data.copy_(torch.from_numpy(value))

    assign(model, (nn.Conv2d, nn.Linear), copy)
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
