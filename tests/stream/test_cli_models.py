"""`run.py models`: the table, and fetching."""

from __future__ import annotations

import argparse
import functools
import hashlib
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from astronaut import POSE

from engines.backends.base import EngineError
from engines.cards import read_card
from engines.catalog import EMBEDDED
from stream.cli import models

CARD = """\
name: NAME
family: heatmap
input: {size: [256, 192]}
skeleton: coco17
license: BSD-3-Clause
source: {url: "URL", sha256: SHA}
accuracy: {gt_box_ap: 0.667, on: here, published: false}
"""


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder `mine` named by POSESTREAM_MODELS and an empty cache, both under what is returned."""
    (tmp_path / "mine").mkdir()
    monkeypatch.setenv("POSESTREAM_MODELS", str(tmp_path / "mine"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    """Real models on a server on loopback."""
    handler = functools.partial(_Quiet, directory=str(EMBEDDED))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, name="test server")
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join(20)


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    models.add_parser(parser.add_subparsers())
    args = parser.parse_args(["models", *words])
    return int(args.run(args))


def put_card(folder: Path, name: str, url: str = "null", sha256: str = "null") -> None:
    (folder / f"{name}.yaml").write_text(CARD.replace("NAME", name).replace("URL", url).replace("SHA", sha256))


@pytest.mark.parametrize("words", [[], ["list"]])
def test_the_list_is_one_line_a_model(folders: Path, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    put_card(folders / "mine", "my-pose")
    (folders / "mine" / "my-pose.onnx").write_bytes(bytes(5_300_000))
    (folders / "mine" / "bare.onnx").write_bytes(bytes(12_000_000))
    assert run(*words) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["name", "task", "input", "licence", "MB", "accuracy", "where"]
    assert ["my-pose", "pose", "256x192", "BSD-3-Clause", "5.3", "gt-box", "66.7*", "(1)"] in lines
    assert ["bare", "?", "?", "?", "12", "?", "(1)"] in lines
    assert ["yolox-nano", "detect", "416x416", "Apache-2.0", "~3.7", "AP", "25.8", "fetch"] in lines
    assert ["hrnet-w32", "pose", "256x192", "Apache-2.0", "~114", "AP", "74.9", "fetch"] in lines
    assert ["hrnet-w48-mpii", "pose", "256x256", "Apache-2.0", "~254", "PCKh", "90.1", "fetch"] in lines
    assert ["yolox-human-x", "detect", "640x640", "Apache-2.0", "~396", "person", "61.3", "fetch"] in lines
    assert ["(1):", str(folders / "mine")] in lines
    ours = [(*line[:2], line[-1]) for line in lines if line and line[0].startswith("posestream-")]
    assert ours == [("posestream-detect", "detect", "embedded"), ("posestream-pose", "pose", "embedded")]
    (place,) = [Path(line[1]).expanduser() for line in lines if line[:1] == ["embedded:"]]
    assert place == EMBEDDED


def test_the_list_says_which_cards_cannot_be_read(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folders / "mine" / "bad.yaml").write_text("nme: x")
    assert run() == 0
    assert f"not read: {folders / 'mine' / 'bad.yaml'}: family must be one of" in capsys.readouterr().out


def test_the_table_fits_eighty_columns(
    folders: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "80")
    put_card(folders / "mine", "a-model-of-a-rather-long-name")
    assert run() == 0
    table = capsys.readouterr().out.split("\n\n")[0].splitlines()
    assert max(map(len, table)) <= 80
    assert sum("fetch" in line for line in table) == 21


def test_fetch_says_what_from_where_and_how_large_first(
    folders: Path, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    content = POSE.read_bytes()
    url = f"{address}/{POSE.name}"
    put_card(folders / "mine", "tiny", url, hashlib.sha256(content).hexdigest())
    assert run("fetch", "tiny") == 0
    target = folders / "posestream" / "tiny.onnx"
    assert target.read_bytes() == content
    assert capsys.readouterr().out.splitlines() == [
        f"tiny: fetching {url} ({len(content) / 1e6:.1f} MB) into {target.parent}",
        f"tiny: {target}: SHA-256 verified",
    ]
    assert run("fetch", "tiny") == 0
    assert capsys.readouterr().out == f"tiny: is there already: {target}\n"


def test_fetch_puts_several_into_another_folder(folders: Path, address: str) -> None:
    for name in ("a", "b"):
        put_card(folders / "mine", name, f"{address}/{POSE.name}")
    assert run("fetch", "a", "b", "--to", str(folders / "usb")) == 0
    assert sorted(file.name for file in (folders / "usb").glob("*.onnx")) == ["a.onnx", "b.onnx"]
    assert not (folders / "posestream").exists()


def test_fetch_of_an_unknown_name_fetches_nothing(folders: Path, address: str) -> None:
    put_card(folders / "mine", "a", f"{address}/{POSE.name}")
    with pytest.raises(EngineError, match="yolox-nanno: no such model; did you mean yolox-nano"):
        run("fetch", "a", "yolox-nanno")
    assert not (folders / "posestream").exists()


def test_fetch_of_what_the_server_has_not_fails(folders: Path, address: str) -> None:
    put_card(folders / "mine", "a", f"{address}/gone.onnx")
    with pytest.raises(EngineError, match=r"a: .*gone\.onnx: 404 "):
        run("fetch", "a")


DARKNET = """[net]
width=64
height=32
channels=3
[convolutional]
filters=7
size=1
stride=32
activation=linear
[yolo]
anchors=10,20
classes=2
"""


@pytest.fixture
def weights(folders: Path) -> Path:
    """Darknet's weights of one layer in a folder of models, their .cfg beside them."""
    pytest.importorskip("torch")
    path = folders / "mine" / "one.weights"
    path.with_suffix(".cfg").write_text(DARKNET)
    path.write_bytes(np.array([0, 2, 0, 0, 0], "<i4").tobytes() + np.full(28, 0.5, "<f4").tobytes())
    return path


def test_export_by_name_and_by_path_says_where_the_onnx_is_and_how_it_was_checked(
    folders: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("export", "one") == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"{weights}: exporting it to ONNX, once, which takes up to a minute"
    (onnx,) = (folders / "posestream" / "exported").glob("*.onnx")
    assert second.startswith(f"one: {onnx}: YOLOv3, 32x64, RGB 0-1; exported in fp32, max |difference| from torch ")
    assert run("export", str(weights)) == 0
    assert capsys.readouterr().out == f"one: {onnx}: YOLOv3, 32x64, RGB 0-1; exported before\n"


def test_export_puts_the_onnx_and_its_card_into_a_folder(folders: Path, weights: Path) -> None:
    cfg = weights.with_suffix(".cfg").rename(folders / "other.cfg")
    words = ["--precision", "fp16", "--size", "64x96", "--cfg", str(cfg), "--to", str(folders / "usb")]
    assert run("export", str(weights), *words) == 0
    assert sorted(file.name for file in (folders / "usb").iterdir()) == ["one-fp16.onnx", "one-fp16.yaml"]
    assert read_card(folders / "usb" / "one-fp16.yaml").input.size == (64, 96)


def test_export_of_an_onnx_is_refused(folders: Path) -> None:
    with pytest.raises(ValueError, match=r"posestream-pose\.onnx: is no checkpoint; wanted a file that ends in \.pth"):
        run("export", "posestream-pose")


def test_export_of_what_is_not_here_says_how_to_fetch_it(folders: Path) -> None:
    with pytest.raises(EngineError, match=r"hrnet-w32: not on this machine; fetch it with: .* fetch hrnet-w32"):
        run("export", "hrnet-w32")


@pytest.mark.parametrize("size", ["tall", "64x", "0x32x32"])
def test_export_refuses_a_size_that_is_none(folders: Path, size: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("export", "x.pth", "--size", size)
    assert "--size" in capsys.readouterr().err
