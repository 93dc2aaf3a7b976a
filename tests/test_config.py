"""The package's front door: what importing loads, configuration, threads and the buffer cache."""

from __future__ import annotations

import gc
import subprocess
import sys

import numpy as np
import pytest

import convolite

pytestmark = pytest.mark.smoke


def test_import_loads_nothing_heavy():
    code = (
        "import sys, convolite; "
        "print(*(name for name in ('tqdm', 'safetensors', 'json', 'convolite.nn', 'convolite.io', "
        "'convolite.train', 'numpy.random') if name in sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


def test_every_public_name_is_there():
    for name in convolite.__all__:
        assert getattr(convolite, name) is not None
    for name in ("data", "functional", "models", "nn", "optim", "reference", "train"):
        assert getattr(convolite, name).__name__ == f"convolite.{name}"
        assert name in dir(convolite)
    assert callable(convolite.explain)
    with pytest.raises(AttributeError, match="module 'convolite' has no attribute 'nothing'"):
        _ = convolite.nothing


def test_show_config_prints_what_runs(capsys):
    convolite.show_config()
    lines = capsys.readouterr().out.splitlines()
    rows = {line[:16].strip(): line[17:] for line in lines}
    assert rows["convolite"] == convolite.__version__
    assert rows["instruction set"] in rows["compiled for"].split(", ")
    assert "baseline" in rows["supported here"]
    assert int(rows["threads"]) == convolite.get_num_threads()
    assert rows["compiler"]


def test_threads_can_be_set(threads):
    assert convolite.get_num_threads() == threads


def test_memory_is_counted_and_released():
    convolite.release_memory()
    before = convolite.memory_stats()
    tensor = convolite.Tensor(np.ones((256, 256), np.float32)) * 2.0
    during = convolite.memory_stats()
    assert during["in_use"] - before["in_use"] >= 256 * 256 * 4
    del tensor
    gc.collect()
    after = convolite.memory_stats()
    assert after["in_use"] == before["in_use"]
    assert after["cached"] >= 256 * 256 * 4
    convolite.release_memory()
    assert convolite.memory_stats()["cached"] == 0


def test_the_random_state_can_be_saved_and_restored():
    from convolite import random

    convolite.manual_seed(7)
    random.generator().random(3)
    state = random.get_state()
    first = random.generator().random(5)
    random.set_state(state)
    np.testing.assert_array_equal(random.generator().random(5), first)
    with pytest.raises(ValueError, match="set_state: state is not one of PCG64"):
        random.set_state({"bit_generator": "MT19937"})
