"""Fetching: resumed, verified, whole or not at all, and one line for each thing that goes wrong."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engines.backends.base import EngineError
from engines.cards import InputSpec, ModelCard, SourceRef
from engines.download import Fetched, fetch
from engines.transfer import Offer, plain_url

WAIT_S = 20.0
"""The longest a test waits for anything."""
PIECE = 100_000
"""Bytes that a slow server sends at once."""


def model_bytes(seed: int) -> bytes:
    """A sound ONNX file of 1.2 MB."""
    weights = np.random.default_rng(seed).standard_normal(300_000).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [300_000])],
        [numpy_helper.from_array(weights, "w")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(onnx.ModelProto.SerializeToString(made))


MODEL = model_bytes(1)
OTHER = model_bytes(2)
SHA256 = hashlib.sha256(MODEL).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `body` from loopback, as well or as badly as a test says; `ranges` are the Range headers that came."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.body = MODEL
        self.status = 200
        self.validator: tuple[str, str] | None = ("ETag", '"v1"')
        self.takes_ranges = True
        self.length: int | None = -1  # -1: the true one; None: none is sent
        self.cut_at: int | None = None
        self.stall_at: int | None = None
        self.pause_s: float | None = None  # before each PIECE of the body
        self.released = Event()
        self.ranges: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/models/m.onnx"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hung up is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers.get("Range")
        server.ranges.append(wanted)
        body, status, start = server.body, server.status, 0
        fresh = server.validator is not None and self.headers.get("If-Range") == server.validator[1]
        if wanted and server.takes_ranges and fresh:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            status = 206
        rest = body[start:]
        self.send_response(status)
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if server.length is not None:
            self.send_header("Content-Length", str(len(rest) if server.length < 0 else server.length))
        if server.validator is not None:
            self.send_header(*server.validator)
        self.end_headers()
        if server.pause_s is not None:
            for at in range(0, len(rest), PIECE):
                server.released.wait(server.pause_s)
                self.wfile.write(rest[at : at + PIECE])
            return
        stop = server.cut_at if server.cut_at is not None else server.stall_at
        self.wfile.write(rest[:stop])
        self.wfile.flush()
        if server.stall_at is not None:
            server.released.wait(WAIT_S)
            self.wfile.write(rest[stop:])


class Watcher:
    """Notes what it is told; raises `interrupt` once so many bytes have come."""

    def __init__(self, interrupt_at: int | None = None) -> None:
        self.offers: list[Offer] = []
        self.count = 0
        self.started = Event()
        self.interrupt_at = interrupt_at

    def start(self, offer: Offer) -> None:
        assert self.count == 0
        self.offers.append(offer)
        self.started.set()

    def advance(self, count: int) -> None:
        self.count += count
        if self.interrupt_at is not None and self.count >= self.interrupt_at:
            raise KeyboardInterrupt


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, name="test server")
        thread.start()
        yield made
        made.released.set()
        made.shutdown()
        thread.join(WAIT_S)


def card(url: str | None, sha256: str | None = None, member: str | None = None, name: str = "m") -> ModelCard:
    return ModelCard(name, "detect", "yolox", InputSpec((64, 64), "bgr"), source=SourceRef(url, sha256, member))


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir() if not file.name.startswith("."))


def failure(model: ModelCard, folder: Path, timeout_s: float = WAIT_S) -> str:
    """The one line that fetching it fails with."""
    with pytest.raises(EngineError) as caught:
        fetch(model, folder, Watcher(), timeout_s)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_model_is_fetched_whole_and_verified(server: Server, tmp_path: Path) -> None:
    watcher = Watcher()
    folder = tmp_path / "not" / "there" / "yet"
    fetched = fetch(card(server.url, SHA256), folder, watcher)
    assert fetched == Fetched(folder / "m.onnx", "SHA-256 verified")
    assert fetched.path.read_bytes() == MODEL
    assert watcher.offers == [Offer(server.url, len(MODEL), 0)]
    assert watcher.count == len(MODEL)
    assert names(folder) == ["m.onnx"]


def test_what_is_there_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"mine")
    assert "was there already" in fetch(card(server.url), tmp_path, Watcher()).remark
    assert (tmp_path / "m.onnx").read_bytes() == b"mine"
    assert server.ranges == []


def test_a_server_that_does_not_say_how_large_is_believed(server: Server, tmp_path: Path) -> None:
    server.length = None
    watcher = Watcher()
    assert fetch(card(server.url, SHA256), tmp_path, watcher).path.read_bytes() == MODEL
    assert watcher.offers == [Offer(server.url, None, 0)]


def test_a_hash_published_in_part_is_compared_as_far_as_it_goes(server: Server, tmp_path: Path) -> None:
    assert (
        fetch(card(server.url, SHA256[:8]), tmp_path, Watcher()).remark == f"SHA-256 begins {SHA256[:8]}, as published"
    )


@pytest.mark.parametrize("digits", [8, 64])
def test_a_wrong_hash_keeps_nothing(server: Server, tmp_path: Path, digits: int) -> None:
    message = failure(card(server.url, ("0" * 64)[:digits]), tmp_path)
    assert f"SHA-256 begins {SHA256[:16]}, its card wants {('0' * 16)[:digits]}" in message
    assert "nothing was kept" in message
    assert names(tmp_path) == []


def test_without_a_published_hash_the_first_download_s_is_noted_and_wanted_again(
    server: Server, tmp_path: Path
) -> None:
    fetched = fetch(card(server.url), tmp_path, Watcher())
    assert fetched.remark == f"SHA-256 {SHA256[:8]} is published nowhere: noted in m.sha256 for later downloads"
    assert (tmp_path / "m.sha256").read_text() == f"{SHA256}  m.onnx\n"
    fetched.path.unlink()
    assert fetch(card(server.url), tmp_path, Watcher()).remark == f"SHA-256 {SHA256[:8]} is that of the first download"
    fetched.path.unlink()
    server.body = OTHER
    assert f"m.sha256 wants {SHA256[:16]}" in failure(card(server.url), tmp_path)
    assert names(tmp_path) == ["m.sha256"]


def test_an_interrupted_download_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        fetch(card(server.url, SHA256), tmp_path, Watcher(interrupt_at=300_000))
    have = (tmp_path / "m.part").stat().st_size
    assert 300_000 <= have < len(MODEL)
    assert not (tmp_path / "m.onnx").exists()
    watcher = Watcher()
    assert fetch(card(server.url, SHA256), tmp_path, watcher).path.read_bytes() == MODEL
    assert server.ranges == [None, f"bytes={have}-"]
    assert watcher.offers == [Offer(server.url, len(MODEL), have)]
    assert watcher.count == len(MODEL) - have
    assert names(tmp_path) == ["m.onnx"]


def test_a_broken_connection_says_so_and_goes_on_next_time(server: Server, tmp_path: Path) -> None:
    server.cut_at = 100_000
    message = failure(card(server.url, SHA256), tmp_path)
    assert f"the connection broke off at 100000 of {len(MODEL)} bytes; run it again to go on" in message
    server.cut_at = None
    assert fetch(card(server.url, SHA256), tmp_path, Watcher()).path.read_bytes() == MODEL
    assert server.ranges == [None, "bytes=100000-"]


def half_done(server: Server, folder: Path) -> None:
    """Leave a part of 100,000 bytes of what the server now serves."""
    server.cut_at = 100_000
    failure(card(server.url), folder)
    server.cut_at = None


@pytest.mark.parametrize(
    "validator", [("ETag", '"v2"'), ("ETag", 'W/"v1"'), ("Last-Modified", "Sun, 01 Nov 2026"), None]
)
def test_a_file_changed_on_the_server_is_begun_anew(
    server: Server, tmp_path: Path, validator: tuple[str, str] | None
) -> None:
    half_done(server, tmp_path)
    server.body, server.validator = OTHER, validator
    assert fetch(card(server.url), tmp_path, Watcher()).path.read_bytes() == OTHER


@pytest.mark.parametrize("validator", [("ETag", 'W/"v1"'), None])
def test_without_a_strong_validator_nothing_is_gone_on_with(
    server: Server, tmp_path: Path, validator: tuple[str, str] | None
) -> None:
    server.validator = validator
    half_done(server, tmp_path)
    assert fetch(card(server.url), tmp_path, Watcher()).path.read_bytes() == MODEL
    assert server.ranges == [None, None]


def test_a_date_will_do_for_a_validator(server: Server, tmp_path: Path) -> None:
    server.validator = ("Last-Modified", "Sun, 01 Nov 2026 10:00:00 GMT")
    half_done(server, tmp_path)
    assert fetch(card(server.url, SHA256), tmp_path, Watcher()).path.read_bytes() == MODEL
    assert server.ranges == [None, "bytes=100000-"]


def test_a_server_without_ranges_starts_over(server: Server, tmp_path: Path) -> None:
    half_done(server, tmp_path)
    server.takes_ranges = False
    watcher = Watcher()
    assert fetch(card(server.url, SHA256), tmp_path, watcher).path.read_bytes() == MODEL
    assert watcher.offers == [Offer(server.url, len(MODEL), 0)]


def test_a_part_of_another_url_is_not_gone_on_with(server: Server, tmp_path: Path) -> None:
    half_done(server, tmp_path)
    server.body = OTHER
    assert fetch(card(server.url + "?2"), tmp_path, Watcher()).path.read_bytes() == OTHER
    assert server.ranges == [None, None]


def test_a_part_that_is_whole_already_is_used(server: Server, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        fetch(card(server.url, SHA256), tmp_path, Watcher(interrupt_at=len(MODEL)))
    watcher = Watcher()
    assert fetch(card(server.url, SHA256), tmp_path, watcher).path.read_bytes() == MODEL
    assert (watcher.offers, watcher.count) == ([], 0)


def test_a_part_longer_than_the_file_is_begun_anew(server: Server, tmp_path: Path) -> None:
    half_done(server, tmp_path)
    with (tmp_path / "m.part").open("ab") as file:
        file.write(bytes(len(MODEL)))
    assert fetch(card(server.url, SHA256), tmp_path, Watcher()).path.read_bytes() == MODEL
    assert server.ranges == [None, f"bytes={100_000 + len(MODEL)}-", None]


@pytest.mark.parametrize("status", [403, 404, 500])
def test_an_http_error_says_code_url_and_what_to_do_offline(server: Server, tmp_path: Path, status: int) -> None:
    server.status = status
    message = failure(card(server.url), tmp_path)
    assert message.startswith(f"m: {server.url}: {status} ")
    assert message.endswith(f"put its .onnx to {tmp_path / 'm.onnx'}, or into a folder named by POSESTREAM_MODELS")
    assert names(tmp_path) == []


def test_no_server_says_what_to_do_offline(server: Server, tmp_path: Path) -> None:
    server.shutdown()
    server.server_close()
    message = failure(card(server.url), tmp_path)
    assert "refused" in message
    assert "without a network, download it elsewhere" in message


def test_a_server_that_falls_silent_is_given_up(server: Server, tmp_path: Path) -> None:
    server.stall_at = 50_000
    message = failure(card(server.url, SHA256), tmp_path, timeout_s=0.2)
    assert "nothing came for 0.2 s; run it again to go on" in message
    assert (tmp_path / "m.part").stat().st_size == 50_000


def test_a_slow_server_that_goes_on_is_not_given_up(server: Server, tmp_path: Path) -> None:
    server.pause_s = 0.1  # 1.3 s in all, and the longest wait is for less
    assert fetch(card(server.url, SHA256), tmp_path, Watcher(), timeout_s=1.0).path.read_bytes() == MODEL


def test_a_sign_in_page_is_no_model(server: Server, tmp_path: Path) -> None:
    server.body = b"<html>Please sign in</html>"
    assert "cannot be read as ONNX" in failure(card(server.url), tmp_path)
    assert names(tmp_path) == []


def test_a_file_larger_than_the_disk_is_not_begun(server: Server, tmp_path: Path) -> None:
    server.length = 10**18
    assert "1000000000000 MB are needed" in failure(card(server.url), tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_disk_that_fills_up_is_said(server: Server, tmp_path: Path) -> None:
    (tmp_path / "m.part").symlink_to("/dev/full")
    assert f"cannot write to {tmp_path}: the disk is full; make room and run it again" in failure(
        card(server.url), tmp_path
    )


def test_a_folder_that_cannot_be_made_is_said(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    message = failure(card(server.url), tmp_path / "file")
    assert message.startswith(f"m: cannot write to {tmp_path / 'file'}: ")


def test_two_at_once_do_not_meet(server: Server, tmp_path: Path) -> None:
    server.stall_at = 50_000
    watcher, results = Watcher(), list[Fetched]()
    first = threading.Thread(target=lambda: results.append(fetch(card(server.url, SHA256), tmp_path, watcher)))
    first.start()
    assert watcher.started.wait(WAIT_S)
    assert "another process is fetching it" in failure(card(server.url, SHA256), tmp_path)
    server.released.set()
    first.join(WAIT_S)
    assert results[0].path.read_bytes() == MODEL
    assert len(server.ranges) == 1


CHECKPOINT = b"PK\x03\x04" + bytes(1000)
OLD_CHECKPOINT = b"\x80\x02\x8a\n" + bytes(1000)
WEIGHTS = bytes([0, 0, 0, 0, 2, 0, 0, 0]) + bytes(1000)


@pytest.mark.parametrize(
    ("file", "ending", "content"),
    [
        ("w32-81c58e40_20220909.pth", ".pth", CHECKPOINT),
        ("w32.pth", ".pth", OLD_CHECKPOINT),
        ("w32.pt?download=1", ".pt", CHECKPOINT),
        ("yolov3.weights", ".weights", WEIGHTS),
    ],
)
def test_a_checkpoint_keeps_its_ending(server: Server, tmp_path: Path, file: str, ending: str, content: bytes) -> None:
    server.body = content
    sha256 = hashlib.sha256(content).hexdigest()
    fetched = fetch(card(server.url.replace("m.onnx", file), sha256[:8]), tmp_path, Watcher())
    assert fetched == Fetched(tmp_path / f"m{ending}", f"SHA-256 begins {sha256[:8]}, as published")
    assert fetched.path.read_bytes() == content
    assert names(tmp_path) == [f"m{ending}"]


def test_a_checkpoint_comes_out_of_a_zip(server: Server, tmp_path: Path) -> None:
    server.body = zipped({"a/best.pth": CHECKPOINT})
    fetched = fetch(card(server.url.replace("m.onnx", "m.zip"), member="best.pth"), tmp_path, Watcher())
    assert (fetched.path, fetched.path.read_bytes()) == (tmp_path / "m.pth", CHECKPOINT)


def test_a_sign_in_page_is_no_checkpoint(server: Server, tmp_path: Path) -> None:
    server.body = b"<html>Please sign in</html>"
    message = failure(card(server.url.replace(".onnx", ".pth")), tmp_path)
    assert "no checkpoint of torch, it begins with b'<htm'; nothing was kept" in message
    assert names(tmp_path) == []


def test_without_a_network_a_checkpoint_is_to_be_put_as_a_checkpoint(server: Server, tmp_path: Path) -> None:
    server.status = 404
    message = failure(card(server.url.replace(".onnx", ".pth")), tmp_path)
    assert f"put its .pth to {tmp_path / 'm.pth'}, or into a folder" in message


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize("inside", ["end2end.onnx", "20230831/rtmpose/end2end.onnx", "../../end2end.onnx"])
def test_the_member_comes_out_of_a_zip_and_nothing_else(server: Server, tmp_path: Path, inside: str) -> None:
    server.body = zipped({"pipeline.json": b"{}", "../evil.txt": b"evil", inside: MODEL})
    folder = tmp_path / "models"
    fetched = fetch(card(server.url, member="end2end.onnx"), folder, Watcher())
    assert fetched.path.read_bytes() == MODEL
    assert names(folder) == ["m.onnx", "m.sha256"]
    assert names(tmp_path) == ["models"]
    assert (folder / "m.sha256").read_text().split()[0] == hashlib.sha256(server.body).hexdigest()


ZIP = zipped({"end2end.onnx": MODEL})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (zipped({"other.onnx": MODEL}), "the zip must hold one end2end.onnx, got 0"),
        (zipped({"a/end2end.onnx": MODEL, "b/end2end.onnx": MODEL}), "the zip must hold one end2end.onnx, got 2"),
        (zipped({"end2end.onnx": b"no model"}), "cannot be read as ONNX"),
        (MODEL, "no sound zip"),
        (ZIP[:1000] + bytes(1000) + ZIP[2000:], "no sound zip"),
        (ZIP[:-100], "no sound zip"),
        (ZIP[50:], "no sound zip"),
    ],
)
def test_a_bad_zip_keeps_nothing(server: Server, tmp_path: Path, body: bytes, message: str) -> None:
    server.body = body
    text = failure(card(server.url, member="end2end.onnx"), tmp_path)
    assert message in text
    assert "nothing was kept" in text
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (None, "m: its card says no source.url; copy the file to "),
        ("file:///etc/passwd", "m: source.url must begin with http:// or https://, got file:///etc/passwd"),
    ],
)
def test_a_source_that_cannot_be_fetched_is_said(tmp_path: Path, url: str | None, message: str) -> None:
    assert failure(card(url), tmp_path).startswith(message)


def test_a_name_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    assert "must do as a file's name" in failure(card("http://127.0.0.1:1/m", name="../m"), tmp_path)


def test_passwords_and_tokens_are_cut_from_a_printed_url() -> None:
    assert plain_url("https://user:secret@host:8443/a/m.onnx?token=1#x") == "https://host:8443/a/m.onnx"
