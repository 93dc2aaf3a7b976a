"""Downloads, against a server on this machine: good files, bad files and servers that fail."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from convolite.data.download import DownloadError, fetch
from test_datasets import IMAGES, LABELS, TinyMNIST, idx_bytes

FILE = TinyMNIST.train_files[0]
GOOD = gzip.compress(idx_bytes(IMAGES), mtime=0)


class Server:
    """Serves bytes by path; notes every request. A path may be cut off after some bytes."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut_once: dict[str, int] = {}
        self.requests: list[tuple[str, str | None]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *arguments: Any) -> None:
                """Write nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def url(self, folder: str) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/{folder}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        wanted = handler.headers.get("Range")
        self.requests.append((handler.path, wanted))
        content = self.files.get(handler.path)
        if content is None:
            handler.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        if wanted and start >= len(content):
            handler.send_error(416)
            return
        handler.send_response(206 if wanted else 200)
        handler.send_header("Content-Length", str(len(content) - start))
        handler.end_headers()
        end = self.cut_once.pop(handler.path, len(content))
        handler.wfile.write(content[start:end])


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def _no_proxy_and_no_data(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("CONVOLITE_DATA", str(tmp_path_factory.mktemp("empty")))


def path_of(folder: str) -> str:
    return f"/{folder}/{FILE.name}.gz"


def test_a_good_file_is_fetched_and_verified(server, tmp_path):
    server.files[path_of("a")] = GOOD
    path = fetch(FILE, tmp_path / "new" / "folder", [server.url("a")])
    assert path == tmp_path / "new" / "folder" / f"{FILE.name}.gz"
    assert path.read_bytes() == GOOD
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_the_next_mirror_is_asked_when_one_lacks_the_file(server, tmp_path):
    server.files[path_of("b")] = GOOD
    fetch(FILE, tmp_path, [server.url("a"), server.url("b/")])
    assert [path for path, _ in server.requests] == [path_of("a"), path_of("b")]


def test_the_next_mirror_is_asked_when_nobody_listens(server, tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{unused.getsockname()[1]}/a"
        server.files[path_of("b")] = GOOD
        assert fetch(FILE, tmp_path, [closed, server.url("b")]).read_bytes() == GOOD


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(idx_bytes(IMAGES ^ 1)),
        GOOD[:-100],
        b"<html>Please log in</html>",
        gzip.compress(idx_bytes(IMAGES[:2])),
    ],
    ids=["other pixels", "cut off", "a web page", "other size"],
)
def test_a_wrong_file_is_thrown_away_and_the_next_mirror_asked(server, tmp_path, content):
    server.files[path_of("a")] = content
    with pytest.raises(DownloadError, match=f"no mirror delivered it .*/a/{FILE.name}.gz: "):
        fetch(FILE, tmp_path, [server.url("a")])
    assert list(tmp_path.iterdir()) == []
    server.files[path_of("b")] = GOOD
    assert fetch(FILE, tmp_path, [server.url("a"), server.url("b")]).read_bytes() == GOOD


def test_a_transfer_that_broke_off_is_continued(server, tmp_path):
    server.files[path_of("a")] = GOOD
    server.cut_once[path_of("a")] = 40
    with pytest.raises(DownloadError, match=f"connection closed after 40 of {len(GOOD)} bytes"):
        fetch(FILE, tmp_path, [server.url("a")])
    assert fetch(FILE, tmp_path, [server.url("a")]).read_bytes() == GOOD
    assert [wanted for _, wanted in server.requests] == [None, "bytes=40-"]


def test_another_mirror_continues_what_one_began(server, tmp_path):
    server.files[path_of("a")] = server.files[path_of("b")] = GOOD
    server.cut_once[path_of("a")] = 40
    assert fetch(FILE, tmp_path, [server.url("a"), server.url("b")]).read_bytes() == GOOD
    assert server.requests[1] == (path_of("b"), "bytes=40-")


@pytest.mark.parametrize("rest", [b"rubbish", GOOD + b"rubbish"], ids=["short", "too long"])
def test_a_wrong_beginning_is_fetched_again(server, tmp_path, rest):
    server.files[path_of("a")] = GOOD
    (tmp_path / f".{FILE.name}.gz.part").write_bytes(rest)
    assert fetch(FILE, tmp_path, [server.url("a")]).read_bytes() == GOOD


def test_a_complete_transfer_that_was_not_renamed_is_used(server, tmp_path):
    server.files[path_of("a")] = GOOD
    (tmp_path / f".{FILE.name}.gz.part").write_bytes(GOOD)
    assert fetch(FILE, tmp_path, [server.url("a")]).read_bytes() == GOOD


def test_the_error_says_for_every_mirror_why(server, tmp_path):
    server.files[path_of("b")] = b"nothing of the kind"
    with pytest.raises(DownloadError) as caught:
        fetch(FILE, tmp_path, [server.url("a"), server.url("b"), "nonsense"])
    text = str(caught.value)
    assert text.startswith(f"{FILE.name}.gz: no mirror delivered it ({server.url('a')}/")
    assert "HTTP status 404" in text
    assert "not an idx file" in text
    assert "unknown url type" in text
    assert "\n" not in text


def test_mnist_downloads_what_is_missing_from_the_mirrors_of_the_environment(
    server, tmp_path, monkeypatch
):
    monkeypatch.setenv("CONVOLITE_MIRRORS", f"{server.url('none')} {server.url('a')}")
    monkeypatch.setenv("CONVOLITE_DATA", str(tmp_path / "data"))
    server.files[path_of("a")] = GOOD
    server.files["/a/labels.gz"] = gzip.compress(idx_bytes(LABELS))
    dataset = TinyMNIST(download=True)
    np.testing.assert_array_equal(dataset.images[:, 0], IMAGES)
    assert sorted(path.name for path in (tmp_path / "data" / "mnist").iterdir()) == [
        "labels.gz",
        "train-images-idx3-ubyte.gz",
    ]
    asked = len(server.requests)
    assert len(TinyMNIST(download=True)) == 3
    assert len(server.requests) == asked


@pytest.mark.parametrize("mirrors", [5, "http://localhost"])
def test_mirrors_are_a_sequence(mirrors, tmp_path):
    with pytest.raises(TypeError, match=r"^MNIST: mirrors must be a sequence, got "):
        TinyMNIST(tmp_path, download=True, mirrors=mirrors)


def test_mirrors_given_as_an_argument_come_first(server, tmp_path, monkeypatch):
    monkeypatch.setenv("CONVOLITE_MIRRORS", "http://127.0.0.1:9/never")
    server.files[path_of("a")] = GOOD
    server.files["/a/labels.gz"] = gzip.compress(idx_bytes(LABELS))
    TinyMNIST(tmp_path, download=True, mirrors=[server.url("a")])
    assert (tmp_path / "mnist" / "labels.gz").is_file()
