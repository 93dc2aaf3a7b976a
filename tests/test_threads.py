"""Threads: the same bits for any number of them, sane defaults, and life after fork."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

import convolite
from convolite import _core, functional, models, optim


def trained_weights(threads: int) -> bytes:
    """A few steps of the sample network with batch norm, as bytes."""
    before = convolite.get_num_threads()
    convolite.set_num_threads(threads)
    try:
        convolite.manual_seed(3)
        model = models.sample_cnn(batch_norm=True)
        optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        rng = np.random.default_rng(0)
        for _ in range(3):
            images = rng.standard_normal((24, 1, 28, 28)).astype(np.float32)
            loss = functional.cross_entropy(
                model(convolite.tensor(images)), rng.integers(0, 10, 24)
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return b"".join(value.tobytes() for value in model.state_dict().values())
    finally:
        convolite.set_num_threads(before)


@pytest.mark.smoke
def test_training_gives_the_same_bits_for_any_number_of_threads() -> None:
    alone = trained_weights(1)
    assert trained_weights(1) == alone
    for threads in (2, 3, 8):
        assert trained_weights(threads) == alone


def test_a_forked_child_computes() -> None:
    a = np.ones((256, 256), np.float32)
    convolite.set_num_threads(2)
    expected = _core.matmul(a, a)
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        os._exit(0 if np.array_equal(_core.matmul(a, a), expected) else 1)
    assert os.waitpid(child, 0)[1] == 0


PLACES = """
import os
from pathlib import Path
import numpy as np
from convolite import _core

def ticks():
    # All and idle ones of the CPUs that this process may use.
    lines = [line.split() for line in open("/proc/stat") if line.startswith("cpu")]
    counts = [list(map(int, line[1:])) for line in lines if line[0] in cpus]
    return np.array([(sum(count), count[3]) for count in counts]).sum(0)

cpus = {f"cpu{number}" for number in os.sched_getaffinity(0)}
tasks, square = Path("/proc/self/task"), np.ones((512, 512), np.float32)
before = set(os.listdir(tasks))
_core.matmul(square, square)
workers = set(os.listdir(tasks)) - before | {str(os.getpid())}
apart, start = 0, ticks()
for _ in range(50):
    _core.matmul(square, square)
    stats = [(tasks / worker / "stat").read_text().rpartition(")")[2] for worker in workers]
    apart += len({stat.split()[36] for stat in stats}) == 2  # the CPU that it ran on last
elapsed, idle = ticks() - start
print(apart / 50, idle / elapsed)
"""
needs_affinity = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="the system has no affinity masks"
)


def printed(code: str, cpus: set[int], **settings: str) -> str:
    """What a fresh process prints that may use these CPUs and has these settings of threads."""
    clean = {k: v for k, v in os.environ.items() if "OMP" not in k and "NUM_THREADS" not in k}
    clean |= settings
    code = f"import os; os.sched_setaffinity(0, {cpus})\n{code}"
    run = subprocess.run([sys.executable, "-c", code], env=clean, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


@needs_affinity
def test_two_threads_do_not_share_a_cpu_while_another_is_idle() -> None:
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        pytest.skip("one CPU is allowed")
    starts = []
    for _ in range(5):
        apart, idle = map(float, printed(PLACES, set(allowed[:2])).split())
        starts.append((apart, idle))
        # Apart in most samples, or other processes leave less than half of one CPU to spread to.
        if apart > 0.5 or idle < 0.25:
            return
    pytest.fail(f"samples apart, and time idle of both CPUs: {starts}")


LEAVES = """
import os, subprocess, sys
import numpy as np
from convolite import _core

both = os.sched_getaffinity(0)
first, second = sorted(both)
square, tasks = np.ones((512, 512), np.float32), "/proc/self/task"
before = set(os.listdir(tasks))
_core.matmul(square, square)
[worker] = set(os.listdir(tasks)) - before
busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
os.sched_setaffinity(busy.pid, {second})
for mask in ({first}, both):  # both threads are brought to one CPU, and may then leave it
    for thread in (os.getpid(), int(worker)):
        os.sched_setaffinity(thread, mask)
left = 0
for _ in range(50):
    _core.matmul(square, square)
    with open(f"{tasks}/{worker}/stat") as stat:
        left += int(stat.read().rpartition(")")[2].split()[36]) == second
busy.kill()
busy.wait()
assert os.sched_getaffinity(int(worker)) == both
print(left / 50)
"""


@needs_affinity
def test_a_worker_leaves_the_cpu_of_its_caller_even_for_a_busy_one() -> None:
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        pytest.skip("one CPU is allowed")
    # Left to the system it never does.
    assert max(float(printed(LEAVES, set(allowed[:2]))) for _ in range(3)) > 0.1


@needs_affinity
def test_with_a_single_cpu_there_is_one_thread_and_more_may_be_asked_for() -> None:
    code = """
import numpy as np
import convolite
from convolite import _core
square = np.ones((256, 256), np.float32)
counts = [convolite.get_num_threads()]
alone = _core.matmul(square, square)
convolite.set_num_threads(3)
assert np.array_equal(_core.matmul(square, square), alone)
print(*counts, convolite.get_num_threads())
"""
    assert printed(code, {min(os.sched_getaffinity(0))}) == "1 3"


COUNT = "import convolite; print(convolite.get_num_threads(), len(os.sched_getaffinity(0)))"


def threads_and_mask(cpus: list[int], **settings: str) -> tuple[int, int]:
    """How many threads a process with these CPUs has, and how many CPUs its first thread."""
    threads, mask = printed(COUNT, set(cpus), **settings).split()
    return int(threads), int(mask)


@needs_affinity
@pytest.mark.parametrize(
    "settings",
    [
        {"OMP_PROC_BIND": "true"},
        {"OMP_PROC_BIND": "close"},
        {"OMP_PROC_BIND": "spread"},
        {"OMP_PROC_BIND": "true", "OMP_PLACES": "threads"},
        {"OMP_PLACES": "cores"},
        {"GOMP_CPU_AFFINITY": "0-1023"},
    ],
    ids=str,
)
def test_bound_threads_are_as_many_as_the_cpus_that_they_are_bound_to(
    settings: dict[str, str],
) -> None:
    allowed = sorted(os.sched_getaffinity(0))
    for cpus in (allowed, allowed[:1]):
        assert threads_and_mask(cpus, **settings)[0] == len(cpus)


@needs_affinity
def test_threads_that_share_a_place_are_as_many_as_its_cpus() -> None:
    allowed = sorted(os.sched_getaffinity(0))
    one_place = {"OMP_PLACES": f"{{{allowed[-1]}}}"}
    with_primary = {"OMP_PROC_BIND": "master", "OMP_PLACES": "threads"}
    for settings in (one_place, with_primary):
        threads, mask = threads_and_mask(allowed, **settings)
        if mask == len(allowed) > 1:
            pytest.skip("the core was not built with OpenMP, so nothing is bound")
        assert threads == 1


@needs_affinity
def test_places_without_binding_change_nothing() -> None:
    allowed = sorted(os.sched_getaffinity(0))
    unbound = {"OMP_PROC_BIND": "false", "OMP_PLACES": "cores"}
    assert threads_and_mask(allowed, **unbound) == (len(allowed), len(allowed))


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"CONVOLITE_NUM_THREADS": "3"}, "3"),
        ({"OMP_NUM_THREADS": "5"}, "5"),
        ({"OMP_NUM_THREADS": "4,2"}, "4"),
        ({"CONVOLITE_NUM_THREADS": "2", "OMP_NUM_THREADS": "7"}, "2"),
    ],
)
def test_environment_chooses_the_number_of_threads(
    environment: dict[str, str], expected: str
) -> None:
    code = "import convolite; print(convolite.get_num_threads())"
    clean = {k: v for k, v in os.environ.items() if not k.endswith("NUM_THREADS")}
    run = subprocess.run(
        [sys.executable, "-c", code], env={**clean, **environment}, capture_output=True, text=True
    )
    assert run.stdout.strip() == expected, run.stderr


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "99999"])
def test_a_wrong_number_of_threads_in_the_environment_is_named(value: str) -> None:
    code = "import convolite; convolite.get_num_threads()"
    environment = {**os.environ, "CONVOLITE_NUM_THREADS": value}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert run.returncode == 1
    assert f"CONVOLITE_NUM_THREADS={value} is not an integer from 1 to 4096" in run.stderr


@pytest.mark.parametrize("count", [0, -2])
def test_set_num_threads_wants_at_least_one(count: int) -> None:
    with pytest.raises(ValueError, match=f"set_num_threads: threads must be positive, got {count}"):
        convolite.set_num_threads(count)
