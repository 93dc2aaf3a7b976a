"""Data sets, their parts, and what DataLoader delivers: order, seeds, threads, resuming."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import convolite
from convolite import _core
from convolite.data import ArrayDataset, DataLoader, Dataset, Subset, random_split
from convolite.data.sampling import (
    derive_keys,
    epoch_order,
    sample_keys,
    uniform_floats,
    uniform_integers,
)
from convolite.data.transforms import Compose, Normalize, RandomCrop, RandomHorizontalFlip, ToFloat

pytestmark = pytest.mark.smoke


class Squares(Dataset):
    """Images that hold their own number, labels that are its square."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: Any) -> tuple[Any, Any]:
        return np.full((1, 2, 2), index, np.float32), index**2


def numbered(count: int, dtype: Any = np.float32) -> ArrayDataset:
    images = np.arange(count * 12).reshape(count, 1, 3, 4) % 251
    return ArrayDataset(images.astype(dtype), np.arange(count))


def labels_of(loader: DataLoader) -> list[int]:
    return [int(label) for _, labels in loader for label in labels]


def test_arrays_of_the_right_kind_are_not_copied():
    images, labels = np.zeros((4, 1, 2, 2), np.float32), np.zeros(4, np.int64)
    dataset = ArrayDataset(images, labels)
    assert np.shares_memory(dataset.images, images)
    assert np.shares_memory(dataset.labels, labels)


def test_labels_become_int64_and_targets_of_a_regression_stay_floats():
    images = np.zeros((3, 1, 2, 2), np.uint8)
    assert ArrayDataset(images, np.zeros(3, np.uint8)).labels.dtype == np.int64
    assert ArrayDataset(images, np.zeros((3, 5), np.float32)).labels.dtype == np.float32


def test_awkward_layouts_are_put_right_once(rng):
    images = rng.standard_normal((4, 3, 5, 6)).astype(">f4").transpose(0, 1, 3, 2)
    dataset = ArrayDataset(images, [1, 2, 3, 4])
    assert dataset.images.flags.c_contiguous
    assert dataset.images.dtype.isnative
    np.testing.assert_array_equal(dataset.images, images)


@pytest.mark.parametrize(
    ("images", "labels", "error", "text"),
    [
        (
            np.zeros((3, 2)),
            np.zeros(4, int),
            ValueError,
            r"ArrayDataset: images has 3 samples but labels has 4 \(images.shape = \(3, 2\), "
            r"labels.shape = \(4,\)\)",
        ),
        (
            np.zeros((3, 2), np.int32),
            np.zeros(3, int),
            TypeError,
            r"ArrayDataset: images must be uint8, float32 or float64, got int32 "
            r"\(images.shape = \(3, 2\)\)",
        ),
        (
            np.zeros((3, 2)),
            ["a", "b", "c"],
            TypeError,
            "ArrayDataset: labels must be real numbers, got .*",
        ),
        (
            np.float32(3),
            [1],
            ValueError,
            "ArrayDataset: images must have a sample axis, got a single value",
        ),
    ],
)
def test_arrays_that_are_no_data_set_are_refused(images, labels, error, text):
    with pytest.raises(error, match=f"^{text}$"):
        ArrayDataset(images, labels)


def test_subset_of_a_subset_picks_through_both():
    subset = Subset(Subset(numbered(10), [9, 7, 5, 3]), [2, 0])
    assert [subset[i][1] for i in range(len(subset))] == [5, 9]
    assert labels_of(DataLoader(subset, 2)) == [5, 9]


@pytest.mark.parametrize(
    ("indices", "error", "text"),
    [
        ([0, 5], ValueError, r"Subset: index 5 at position 1 is outside \[0, 5\)"),
        ([-1], ValueError, r"Subset: index -1 at position 0 is outside \[0, 5\)"),
        (
            [0.5],
            TypeError,
            r"Subset: indices must be a sequence of ints, got \[0.5\]",
        ),
        ([[1], [1, 2]], TypeError, r"Subset: indices .* of ints, got \[\[1\], \[1, 2\]\]"),
    ],
)
def test_subset_refuses_indices_outside(indices, error, text):
    with pytest.raises(error, match=f"^{text}$"):
        Subset(numbered(5), indices)


def test_a_pair_of_arrays_is_cut_like_a_data_set():
    whole = numbered(5)
    pair = whole.images, whole.labels
    assert labels_of(DataLoader(Subset(pair, [4, 2]), 2)) == [4, 2]
    first, second = random_split(pair, [3, 2], seed=1)
    assert sorted(labels_of(DataLoader(first)) + labels_of(DataLoader(second))) == [0, 1, 2, 3, 4]
    assert len(Subset((whole.images[:0], whole.labels[:0]), [])) == 0


@pytest.mark.parametrize("lengths", [[7, 3], [0.7, 0.3], [0.65, 0.35]])
def test_random_split_is_a_partition_that_the_seed_decides(lengths):
    first, second = random_split(numbered(10), lengths, seed=3)
    assert (len(first), len(second)) == (7, 3)
    assert sorted([*first.indices, *second.indices]) == list(range(10))
    np.testing.assert_array_equal(first.indices, random_split(numbered(10), lengths, 3)[0].indices)


@pytest.mark.parametrize("lengths", [[7, 4], [0.5, 0.4], [3.5, 6.5]])
def test_random_split_refuses_lengths_that_do_not_add_up(lengths):
    with pytest.raises(
        ValueError, match=r"^random_split: lengths must be sizes that add up to 10 "
    ):
        random_split(numbered(10), lengths)
    with pytest.raises(ValueError, match=r"^random_split: lengths must not be negative, got "):
        random_split(numbered(10), [11, -1])
    with pytest.raises(ValueError, match=r"must not be negative, got \[-1, 7\]$"):
        random_split(numbered(10), (length for length in [-1, 7]))


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("count", [1, 6, 7])
def test_length_is_the_number_of_batches(count, drop_last):
    loader = DataLoader(numbered(count), 3, drop_last=drop_last)
    assert len(list(loader)) == len(loader) == (count // 3 if drop_last else -(-count // 3))


def test_without_shuffling_samples_come_in_order():
    assert labels_of(DataLoader(numbered(10), 4)) == list(range(10))


def test_shuffling_is_a_new_permutation_each_epoch_and_the_seed_repeats_them():
    loader, again = (DataLoader(numbered(50), 8, shuffle=True, seed=5) for _ in range(2))
    first, second = labels_of(loader), labels_of(loader)
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second
    assert [labels_of(again), labels_of(again)] == [first, second]
    assert labels_of(DataLoader(numbered(50), 8, shuffle=True, seed=6)) != first


def test_without_a_seed_manual_seed_decides():
    convolite.manual_seed(11)
    first = labels_of(DataLoader(numbered(30), shuffle=True))
    convolite.manual_seed(11)
    assert labels_of(DataLoader(numbered(30), shuffle=True)) == first


def test_set_epoch_chooses_the_permutation():
    loader = DataLoader(numbered(30), shuffle=True, seed=1)
    epochs = [labels_of(loader) for _ in range(3)]
    loader.set_epoch(1)
    assert labels_of(loader) == epochs[1]


AUGMENT = Compose(
    [RandomCrop((3, 4), padding=1), RandomHorizontalFlip(), ToFloat(), Normalize(0.2, 0.7)]
)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_batches_do_not_depend_on_workers(dtype):
    def batches(workers: int) -> list[Any]:
        loader = DataLoader(
            numbered(23, dtype), 4, shuffle=True, num_workers=workers, seed=2, transform=AUGMENT
        )
        return [batch for _ in range(2) for batch in loader]

    for workers in (1, 3):
        for (images, labels), (other_images, other_labels) in zip(
            batches(0), batches(workers), strict=True
        ):
            np.testing.assert_array_equal(images, other_images)
            np.testing.assert_array_equal(labels, other_labels)


def test_augmentation_of_a_sample_does_not_depend_on_batch_or_order():
    def by_label(batch_size: int, shuffle: bool) -> dict[int, Any]:
        loader = DataLoader(numbered(9), batch_size, shuffle, seed=4, transform=AUGMENT)
        return {int(label): image for images, labels in loader
                for image, label in zip(images, labels, strict=True)}  # fmt: skip

    small, large = by_label(2, True), by_label(9, False)
    assert all(np.array_equal(small[label], large[label]) for label in range(9))


def test_augmentation_changes_from_epoch_to_epoch_and_with_the_seed():
    def images(seed: int, epoch: int) -> Any:
        loader = DataLoader(numbered(40), 40, seed=seed, transform=AUGMENT)
        loader.set_epoch(epoch)
        return next(iter(loader))[0]

    assert not np.array_equal(images(0, 0), images(0, 1))
    assert not np.array_equal(images(0, 0), images(1, 0))


def test_own_data_sets_are_stacked():
    images, labels = next(iter(DataLoader(Squares(5), 3)))
    assert images.shape == (3, 1, 2, 2)
    assert images.dtype == np.float32
    assert labels.dtype == np.int64
    assert labels.tolist() == [0, 1, 4]
    assert labels_of(DataLoader(Subset(Squares(5), [3, 1]), 2)) == [9, 1]


def test_samples_that_make_no_batch_are_named():
    with pytest.raises(
        TypeError, match=r"^DataLoader: sample 1 must be a pair \(image, label\), got 3.5$"
    ):
        next(iter(DataLoader([(np.zeros(2), 0), 3.5], 2)))
    with pytest.raises(
        ValueError,
        match=r"^DataLoader: images of a batch have different shapes, \(2,\) and \(3,\)$",
    ):
        next(iter(DataLoader([(np.zeros(3), 0), (np.zeros(2), 1)], 2)))


def test_pixels_become_floats_between_0_and_1():
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    images, _ = next(iter(DataLoader((pixels, [0]))))
    np.testing.assert_array_equal(images, pixels.astype(np.float32) / np.float32(255))
    assert images.dtype == np.float32
    rows, _ = next(iter(DataLoader((pixels.reshape(1, 256), [0]))))
    np.testing.assert_array_equal(rows.ravel(), images.ravel())


def test_floats_are_delivered_as_they_are(rng):
    values = rng.standard_normal((3, 2, 2, 2))
    for dtype in (np.float32, np.float64):
        images, _ = next(iter(DataLoader((values.astype(dtype), [0, 1, 2]), 3)))
        assert images.dtype == dtype
        np.testing.assert_array_equal(images, values.astype(dtype))


def test_a_plain_function_is_a_transform():
    loader = DataLoader(numbered(2), 2, transform=lambda images: images + 1)
    np.testing.assert_array_equal(next(iter(loader))[0], numbered(2).images + 1)


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("delivered", [0, 1, 5, 6])
def test_a_restored_loader_goes_on_where_the_state_was_taken(workers, delivered):
    def make(seed: int) -> DataLoader:
        return DataLoader(numbered(23), 4, True, num_workers=workers, seed=seed, transform=AUGMENT)

    loader, other = make(7), make(0)
    list(loader)
    iterator = iter(loader)
    for _ in range(delivered):
        next(iterator)
    other.load_state_dict(loader.state_dict())
    rest = [*iterator, *loader]
    for (images, labels), (other_images, other_labels) in zip(
        rest, [*other, *other] if delivered < 6 else other, strict=True
    ):
        np.testing.assert_array_equal(images, other_images)
        np.testing.assert_array_equal(labels, other_labels)


def test_states_that_do_not_fit_are_refused():
    loader = DataLoader(numbered(8), 4)
    with pytest.raises(ValueError, match=r"^DataLoader: state lacks batch, epoch$"):
        loader.load_state_dict({"seed": 1})
    with pytest.raises(ValueError, match=r"^DataLoader: state is at batch 3 but an epoch has 2 "):
        loader.load_state_dict({"seed": 1, "epoch": 0, "batch": 3})
    with pytest.raises(ValueError, match=r"^DataLoader: state\['epoch'\] must not be negative"):
        loader.load_state_dict({"seed": 1, "epoch": -1, "batch": 0})


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_an_exception_while_loading_reaches_the_loop_at_its_batch(workers):
    class Broken(Squares):
        def __getitem__(self, index: Any) -> tuple[Any, Any]:
            if index == 5:
                raise OSError("cannot read sample 5")
            return super().__getitem__(index)

    iterator = iter(DataLoader(Broken(8), 2, num_workers=workers))
    assert [next(iterator)[1].tolist(), next(iterator)[1].tolist()] == [[0, 1], [4, 9]]
    with pytest.raises(OSError, match="cannot read sample 5"):
        next(iterator)


def test_an_abandoned_loop_leaves_no_thread_behind():
    def data_threads() -> int:
        return sum(thread.name.startswith("convolite-data") for thread in threading.enumerate())

    for _ in DataLoader(numbered(100), 1, num_workers=2):
        assert data_threads() > 0
        break
    assert data_threads() == 0


def test_no_more_than_a_few_batches_are_made_ahead():
    made = []

    def record(images: Any) -> Any:
        made.append(len(images))
        return images

    iterator = iter(DataLoader(Squares(1000), 1, num_workers=2, transform=record))
    next(iterator)
    iterator.close()
    assert len(made) <= 5


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"dataset": (np.zeros((0, 1, 2, 2)), [])}, ValueError, "DataLoader: dataset is empty"),
        (
            {"dataset": 3},
            TypeError,
            r"DataLoader: dataset must be a Dataset or a pair \(images, labels\), got .*",
        ),
        ({"batch_size": 0}, ValueError, "DataLoader: batch_size must be positive, got 0"),
        ({"batch_size": 2.0}, TypeError, "DataLoader: batch_size must be an int, got 2.0"),
        ({"num_workers": -1}, ValueError, "DataLoader: num_workers must not be negative, got -1"),
        ({"seed": -1}, ValueError, "DataLoader: seed must not be negative, got -1"),
        ({"transform": 3}, TypeError, "DataLoader: transform must be callable, got 3"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, text):
    with pytest.raises(error, match=f"^{text}$"):
        DataLoader(**{"dataset": numbered(3), **arguments})


def test_keys_are_spread_evenly():
    keys = sample_keys(0, 0, np.arange(20000))
    assert len(np.unique(keys)) == 20000
    counts = np.bincount(uniform_integers(keys, 5), minlength=5)
    assert counts.min() > 3700
    assert counts.max() < 4300
    floats = uniform_floats(derive_keys(keys, 1))
    assert 0 <= floats.min() < 0.001
    assert 0.999 < floats.max() < 1
    assert abs(np.corrcoef(floats, uniform_floats(derive_keys(keys, 0)))[0, 1]) < 0.03


def test_choices_never_change_between_versions():
    """Written down once: a checkpoint of an older version must go on with the same data."""
    assert epoch_order(1, 2, 8).tolist() == [4, 2, 0, 6, 1, 5, 7, 3]
    keys = sample_keys(1, 2, np.arange(3))
    assert uniform_integers(derive_keys(keys, 0), 1000).tolist() == [318, 544, 153]


def test_gather_rows_copies_rows_of_any_dtype(rng):
    for dtype in (np.uint8, np.int16, np.float64, ">f4"):
        array = rng.integers(0, 100, (7, 3, 2)).astype(dtype)
        indices = np.array([6, 0, 6, 3])
        gathered = _core.gather_rows(array, indices)
        assert gathered.dtype == array.dtype
        np.testing.assert_array_equal(gathered, array[indices])
    assert _core.gather_rows(np.zeros((3, 0)), np.array([1])).shape == (1, 0)
    assert _core.gather_rows(np.zeros((3, 2)), np.zeros(0, np.int64)).shape == (0, 2)


@pytest.mark.parametrize("index", [-1, 4, 2**62])
def test_gathering_outside_the_array_is_refused(index):
    indices = np.array([0, index])
    array = np.zeros((4, 1, 2, 2), np.float32)
    with pytest.raises(
        ValueError, match=rf"^gather_rows: index {index} at position 1 is outside \[0, 4\)$"
    ):
        _core.gather_rows(array, indices)
    one = np.ones(1, np.float32)
    with pytest.raises(
        ValueError, match=rf"^gather_images: index {index} at position 1 is outside \[0, 4\)$"
    ):
        _core.gather_images(array, indices, one, one, None, None, None)


def test_gather_images_refuses_sizes_that_do_not_fit():
    images, indices = np.zeros((4, 2, 3, 3), np.uint8), np.array([0, 1])
    two = np.ones(2, np.float32)
    with pytest.raises(ValueError, match=r"^gather_images: mean must have 2 values, got 1$"):
        _core.gather_images(images, indices, two[:1], two, None, None, None)
    with pytest.raises(ValueError, match=r"^gather_images: flip must have 2 values, got 1$"):
        _core.gather_images(images, indices, two, two, None, None, np.zeros(1, np.uint8))
    with pytest.raises(TypeError, match=r"^gather_images: images must be uint8 or float32, got "):
        _core.gather_images(images.astype(int), indices, two, two, None, None, None)
    with pytest.raises(TypeError, match=r"^gather_rows: array must not hold objects$"):
        _core.gather_rows(np.array([None, None]), indices)
