"""Set training steps beside what the processor allows: its arithmetic and its memory.

For each network of `train_step` this counts the multiply-adds and the bytes of a step (by the rules
in `counting`), divides them by the multiply-add peak and the copy bandwidth that `convolite_bench`
measures in turn with the steps, at their best, and prints what share of these limits the steps
reach. Where all that a step keeps fits into the last-level cache, memory does not limit it. Steps
with one thread are measured in turn with the others, and last some are taken apart (`profiling`),
to show where the time goes.

    cmake --preset release && cmake --build build/release --target convolite_bench
    python benchmarks/limits.py --json benchmarks/results/limits.json
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from contenders import argument_parser, write_json
from counting import FLOAT, Pass, count, recorded, ride, stored
from processor import add_bench, peaks
from profiling import shares
from train_step import NETWORKS, Network, build_convolite, network_names, problem


def main() -> int:
    arguments = parse_arguments()
    cache = last_level_cache()
    measured = [measure(arguments, name) for name in arguments.models]
    gflops = max(each.gflops for each in measured)
    bandwidth = max(each.bandwidth for each in measured)
    print(f"{gflops:.0f} GFLOP/s, {bandwidth:.1f} GB/s, cache of {cache / 2**20:.0f} MiB")
    results = [result(each, gflops, bandwidth, cache) for each in measured]
    found = {"gflops": gflops, "gigabytes_per_second": bandwidth, "cache_mib": cache / 2**20}
    write_json(arguments, {**found, "results": results})
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__.splitlines()[0], rounds=6)
    parser.add_argument(
        "--models", type=network_names, default=list(NETWORKS), help="names, with commas between"
    )
    add_bench(parser)
    return parser.parse_args()


def last_level_cache() -> int:
    """Bytes of the largest cache of the first processor; 0 where the system does not tell."""
    folder = Path("/sys/devices/system/cpu/cpu0/cache")
    sizes = [path.read_text().strip() for path in folder.glob("index*/size")]
    units = {"K": 2**10, "M": 2**20}
    return max((int(size[:-1]) * units[size[-1]] for size in sizes), default=0)


class Measured(NamedTuple):
    """A network's steps, and the best that the processor did in turn with them."""

    title: str
    passes: list[Pass]
    working_set: int
    seconds: list[float]
    alone: list[float]  # seconds with one thread
    gflops: float
    bandwidth: float
    shares: dict[str, float]  # of a step's time, by part


def measure(arguments: argparse.Namespace, name: str) -> Measured:
    """Count, then measure a network's steps, with one thread too, and the processor in turn."""
    from convolite import set_num_threads

    network = NETWORKS[name]
    passes, working_set = count_step(network)
    options = argparse.Namespace(threads=arguments.threads, batch=network.batch)
    step, _ = build_convolite(options, network)
    timed(step, 3)
    seconds, alone, measured = [], [], []
    for _ in range(arguments.rounds):
        measured.append(peaks(arguments.bench, arguments.threads))
        seconds += timed(step, network.steps)
        set_num_threads(1)
        alone += timed(step, network.steps)
        set_num_threads(arguments.threads)
    gflops, bandwidth = map(max, zip(*measured, strict=True))
    title = f"{name}, batch {network.batch}"
    parts = shares(step, arguments.rounds * network.steps)
    return Measured(title, passes, working_set, seconds, alone, gflops, bandwidth, parts)


def result(measured: Measured, gflops: float, bandwidth: float, cache: int) -> dict[str, Any]:
    """Set a network's steps beside the limits, print and return it."""
    in_cache = measured.working_set <= cache
    quartile, median, _ = statistics.quantiles(measured.seconds, n=4)
    quartile_alone, median_alone, _ = statistics.quantiles(measured.alone, n=4)
    found = {
        "network": measured.title,
        "working_set_mib": measured.working_set / 2**20,
        "in_cache": in_cache,
        "median_ms": 1000 * median,
        "quartile_ms": 1000 * quartile,
        "one_thread_median_ms": 1000 * median_alone,
        "one_thread_quartile_ms": 1000 * quartile_alone,
        **limits(measured.passes, gflops, bandwidth, in_cache),
        "kinds": by_kind(measured.passes),
        "shares": measured.shares,
    }
    describe(found)
    return found


def count_step(network: Network) -> tuple[list[Pass], int]:
    """The passes of a step, and the bytes that it keeps: what backward reads, and SGD's arrays."""
    import convolite
    from convolite import functional, models

    images, labels = problem(network, network.batch)
    model = models.create(network.function, **network.options)
    with recorded() as calls:
        functional.cross_entropy(model(convolite.tensor(images)), labels)
    parameters = sum(parameter.size for parameter in model.parameters())
    passes = count(calls, parameters)
    return passes, stored(ride(calls)) + 3 * parameters * FLOAT


def timed(step: Callable[[], Any], steps: int) -> list[float]:
    """Seconds of each step, behind one that finds the threads and buffers it needs."""
    step()
    seconds = []
    for _ in range(steps):
        begin = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - begin)
    return seconds


def limits(passes: list[Pass], gflops: float, bandwidth: float, in_cache: bool) -> dict[str, float]:
    """Milliseconds that arithmetic and memory alone would take; a multiply-add is 2 operations."""
    needed = sum(each.needed for each in passes)
    definition = sum(each.definition for each in passes)
    size = sum(each.bytes for each in passes)
    arithmetic, memory = 2 * needed / gflops / 1e6, size / bandwidth / 1e6
    return {
        "definition_gmac": definition / 1e9,
        "needed_gmac": needed / 1e9,
        "traffic_mib": size / 2**20,
        "arithmetic_ms": arithmetic,
        "memory_ms": memory,
        "greater_ms": arithmetic if in_cache else max(arithmetic, memory),
        "sum_ms": arithmetic if in_cache else arithmetic + memory,
    }


def by_kind(passes: list[Pass]) -> list[dict[str, Any]]:
    """The totals of each kind of pass and method."""
    totals: dict[tuple[str, str, str], list[int]] = {}
    for each in passes:
        total = totals.setdefault((each.kind, each.name, each.method), [0, 0, 0])
        for i, value in enumerate((each.definition, each.needed, each.bytes)):
            total[i] += value
    names = ("kind", "pass", "method", "definition", "needed", "bytes")
    return [dict(zip(names, (*key, *total), strict=True)) for key, total in totals.items()]


def describe(result: dict[str, Any]) -> None:
    print(f"\n{result['network']}: keeps {result['working_set_mib']:.0f} MiB")
    place = " (in cache: no limit)" if result["in_cache"] else ""
    print(
        f"  multiply-adds {result['definition_gmac']:.2f} G, needed {result['needed_gmac']:.2f} G"
    )
    print(
        f"  arithmetic {result['arithmetic_ms']:.1f} ms, memory {result['memory_ms']:.1f} ms{place}"
    )
    for name, text in (("greater_ms", "the greater"), ("sum_ms", "the sum")):
        share = result[name] / result["median_ms"]
        print(f"  {text} {result[name]:.1f} ms is {share:.0%} of {result['median_ms']:.1f} ms")
    faster = result["one_thread_median_ms"] / result["median_ms"]
    print(f"  one thread takes {result['one_thread_median_ms']:.1f} ms, {faster:.2f} times as long")
    print("  " + ", ".join(f"{part} {share:.0%}" for part, share in result["shares"].items()))


if __name__ == "__main__":
    raise SystemExit(main())
