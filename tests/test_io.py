"""save and load: round trips, atomic writes, and a clear word about every damaged file."""

from __future__ import annotations

import errno
import os
import struct

import numpy as np
import pytest

import convolite
from convolite import FormatError, io, nn
from support.compare import assert_exact

ARRAYS = {
    "weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "bias": np.array([1.5, -2.5]),
    "steps": np.array(7, dtype=np.int64),
    "empty": np.zeros((0, 4), np.float32),
    "flags": np.array([True, False]),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.safetensors"


def test_arrays_come_back_as_they_were(path):
    convolite.save(ARRAYS, path)
    loaded = convolite.load(path)
    assert loaded.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert loaded[name].dtype == array.dtype
        assert_exact(loaded[name], array)


def test_awkward_layouts_and_tensors_are_saved_by_value(path):
    matrix = np.arange(6.0).reshape(2, 3)
    convolite.save(
        {
            "transposed": matrix.T,
            "swapped": matrix.astype(">f8"),
            "tensor": convolite.Tensor(matrix),
        },
        str(path),
    )
    loaded = convolite.load(str(path))
    assert_exact(loaded["transposed"], matrix.T)
    assert_exact(loaded["swapped"], matrix)
    assert_exact(loaded["tensor"], matrix)


def test_a_module_comes_back(path):
    first, second = (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)) for _ in range(2))
    convolite.save(first, path)
    second.load_state_dict(convolite.load(path))
    for name, array in first.state_dict().items():
        assert_exact(second.state_dict()[name], array)


def test_the_safetensors_package_reads_the_file_and_its_metadata(path):
    from safetensors import safe_open

    convolite.save(ARRAYS, path, metadata={"model": "sample_cnn"})
    with safe_open(path, framework="numpy") as file:
        assert file.metadata() == {"model": "sample_cnn"}
        assert_exact(file.get_tensor("weight"), ARRAYS["weight"])


def test_loaded_arrays_can_be_written_to(path):
    convolite.save(ARRAYS, path)
    loaded = convolite.load(path)
    loaded["weight"][0, 0] = 9.0


def test_a_failed_write_leaves_the_old_file_and_no_other(path, monkeypatch):
    convolite.save(ARRAYS, path)
    before = path.read_bytes()

    def fail(source, target):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space left"):
        convolite.save({"other": np.zeros(3)}, path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_a_new_file_has_the_usual_permissions(path):
    convolite.save(ARRAYS, path)
    other = path.with_name("other")
    other.touch()
    assert path.stat().st_mode == other.stat().st_mode


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([1, 2], "save: module_or_dict must be a Module or a dict of arrays, got list"),
        ({1: np.zeros(2)}, "save: names must be strings, got 1"),
        ({"name": "text"}, "save: name must be real numbers, got 'text'"),
        ({"name": np.zeros(2, complex)}, "save: name must be real numbers, got complex128"),
    ],
)
def test_things_that_cannot_be_saved(value, text, path):
    with pytest.raises(TypeError, match=text):
        convolite.save(value, path)
    assert os.listdir(path.parent) == []


def test_a_missing_file_or_folder_is_an_os_error(path):
    with pytest.raises(FileNotFoundError, match=r"weights\.safetensors"):
        convolite.load(path)
    target = path.parent / "missing" / "weights.safetensors"
    with pytest.raises(FileNotFoundError) as caught:
        convolite.save(ARRAYS, target)
    assert caught.value.filename == str(target)
    assert ".part" not in str(caught.value)


def test_a_folder_is_no_file_to_write(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    for folder, shown in (("", "."), (".", "."), (path.parent, str(path.parent))):
        with pytest.raises(IsADirectoryError) as caught:
            convolite.save(ARRAYS, folder)
        assert caught.value.filename == shown
        assert ".part" not in str(caught.value)
    assert os.listdir(path.parent) == []


@pytest.mark.parametrize("metadata", [5, "a", [1], {1: "a"}, {"a": 1}])
def test_metadata_is_text(metadata, path):
    with pytest.raises(TypeError, match=r"^save: metadata must map strings to strings, got "):
        convolite.save(ARRAYS, path, metadata)
    assert not path.exists()


def test_a_path_holds_no_null_character():
    with pytest.raises(ValueError, match=r"^load: path must not hold a null character, got "):
        convolite.load("a\0b")


def file_with(header: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + data


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "not a safetensors file, it has only 0 bytes"),
        (b"PK\x03\x04", "not a safetensors file, it has only 4 bytes"),
        (
            b"\x80\x02}q\x00X\x06\x00\x00\x00weight",
            "not a safetensors file or truncated, its header",
        ),
        (file_with(b"[1, 2]"), "its header is not a JSON object"),
        (file_with(b"{broken"), "its header is not JSON"),
        (file_with(b"[" * 200_000), "its header is not JSON"),
        (
            file_with(b'{"a": {"dtype": "F32", "shape": [1e999], "data_offsets": [0, 4]}}'),
            'the entry of tensor "a" is damaged',
        ),
        (file_with(b"\xff\xfe{}"), "its header is not JSON"),
        (file_with(b'{"a": 3}'), 'the entry of tensor "a" is damaged'),
        (file_with(b'{"a": {"dtype": "F32", "shape": [1]}}'), 'the entry of tensor "a" is damaged'),
        (
            file_with(b'{"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}', b"1234"),
            'tensor "a" has the dtype BF16, which numpy lacks',
        ),
        (
            file_with(b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}', b"1234"),
            'tensor "a" needs 8 bytes but the file ends after 4',
        ),
        (
            file_with(b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}', b"1234"),
            r'tensor "a" of shape \(2,\) needs 8 bytes but has 4',
        ),
        (
            file_with(b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}', b"1234"),
            'tensor "a" is said to lie at bytes -4 to 0$',
        ),
        (
            file_with(
                b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}', b"12345678"
            ),
            "file not fully covered",
        ),
    ],
)
def test_damaged_and_foreign_files_are_named_and_explained(content, text, path):
    path.write_bytes(content)
    with pytest.raises(FormatError, match=f"weights.safetensors: .*{text}"):
        convolite.load(path)


def test_truncation_anywhere_and_any_flipped_header_byte_is_noticed_or_harmless(path):
    convolite.save(ARRAYS, path)
    whole = path.read_bytes()
    for size in range(0, len(whole), 5):
        path.write_bytes(whole[:size])
        with pytest.raises(FormatError):
            convolite.load(path)
    header_size = struct.unpack("<Q", whole[:8])[0]
    for position in range(0, 8 + header_size, 2):
        damaged = bytearray(whole)
        damaged[position] ^= 0x15
        path.write_bytes(bytes(damaged))
        message = "weights.safetensors: "
        try:
            convolite.load(path)
        except FormatError as error:
            message = str(error)
        assert message.startswith("weights.safetensors: ")


def test_format_error_is_a_value_error():
    assert issubclass(FormatError, ValueError)
    assert issubclass(io.FormatError, ValueError)


def test_a_full_disk_is_reported_with_the_file_that_was_asked_for(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device") as error:
        io.write_atomically(tmp_path / "model", b"content")
    assert error.value.filename == str(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []
