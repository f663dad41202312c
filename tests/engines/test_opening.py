"""From a name or a path to a model that runs: ONNX as it is, a checkpoint exported on first use."""

from __future__ import annotations

import hashlib
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from engines.backends.base import EngineError  # noqa: E402
from engines.cards import CardFlags, InputSpec, ModelCard, SourceRef, Task, card_yaml  # noqa: E402
from engines.catalog import load_catalog  # noqa: E402
from engines.download import fetch  # noqa: E402
from engines.nets.hrnet import HRNet  # noqa: E402
from engines.nets.hrnet_layout import HrnetLayout, StageLayout  # noqa: E402
from engines.opening import OpenModel, open_model  # noqa: E402
from engines.shelf import Engines, Shelf  # noqa: E402
from engines.transfer import Offer  # noqa: E402
from engines.verdict import BARS, Verdict  # noqa: E402
from engines.yolo import PersonDetector  # noqa: E402

LAYOUT = HrnetLayout((StageLayout(1, (1, 1), (4, 8)),), 17, stem=8, stem_blocks=1)
CFG = """[net]
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
BIASES = (1, 0, 0, 0, 8, 8, -8)
"""Of CFG: in each cell a box to the right of its middle, a person for certain."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest HRNet there is."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("checkpoint") / "net.pth"
    torch.save({"state_dict": HRNet(LAYOUT).state_dict()}, path)
    return path


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def opened(name: str, task: Task, cache: Path, *folders: Path, **options: Any) -> OpenModel:
    """A model, opened and closed again."""
    model = open_model(name, task, catalog=load_catalog(folders, cache), precision="fp32", **options)
    model.backend.close()
    return model


def test_a_checkpoint_is_exported_once_and_runs(checkpoint: Path, cache: Path) -> None:
    said: list[str] = []
    catalog = load_catalog([], cache)
    for line in ("exported in fp32, max |difference| from torch ", "exported before: "):
        model = open_model(str(checkpoint), "pose", catalog=catalog, precision="fp32", say=said.append)
        (heatmaps,) = model.backend.infer(np.zeros((3, 3, 256, 192), np.float32))
        model.backend.close()
        assert heatmaps.shape == (3, 17, 64, 48)
        assert model.note.startswith(f"net: heat maps, 256x192, RGB ImageNet mean/std, 17 joints (coco17); {line}")
        assert model.path.parent == cache / "exported"
        assert model.note.endswith(f": {model.path}")
    assert said == [f"{checkpoint}: exporting it to ONNX, once, which takes up to a minute"]


def test_flags_win_over_what_a_checkpoint_says(checkpoint: Path, cache: Path) -> None:
    flags = CardFlags(imgsz=(64, 96), mean=(0, 0, 0))
    model = opened(str(checkpoint), "pose", cache, flags=flags)
    assert model.card.input.size == (64, 96)
    assert model.card.input.mean == (0, 0, 0)
    assert model.backend.inputs[0].shape[2:] == (64, 96)


def test_a_skeleton_of_other_joints_is_refused(checkpoint: Path, cache: Path) -> None:
    with pytest.raises(EngineError, match="skeleton mpii16 has 16 joints, the model gives 17"):
        opened(str(checkpoint), "pose", cache, flags=CardFlags(skeleton="mpii16"))


def test_a_pose_network_is_no_detector(checkpoint: Path, cache: Path) -> None:
    with pytest.raises(EngineError, match=r"net\.pth: is a model to pose with; wanted one to detect"):
        opened(str(checkpoint), "detect", cache)


def test_a_card_beside_a_checkpoint_holds(checkpoint: Path, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.pth").write_bytes(checkpoint.read_bytes())
    card = ModelCard("mine", "pose", "heatmap", InputSpec((64, 64), "bgr"), skeleton="coco17", license="MIT")
    (tmp_path / "mine.yaml").write_text(card_yaml(card))
    assert opened("mine", "pose", cache, tmp_path).card == card
    assert opened(str(tmp_path / "mine.pth"), "pose", cache).card == card


def test_a_precision_that_was_refused_is_not_taken_unasked(checkpoint: Path, tmp_path: Path) -> None:
    first = opened(str(checkpoint), "pose", tmp_path)
    shelf = Shelf.of(tmp_path, first.path, first.card, Engines())
    shelf.keep(Verdict("bf16", "A CPU bf16", "A CPU fp32", "pictures", BARS["bf16"], relative=0.5))
    model = open_model(str(checkpoint), "pose", catalog=load_catalog([], tmp_path))
    model.backend.close()
    assert model.backend.name.endswith("CPU fp32")
    assert model.note.endswith(" (bf16 is not used: outputs differ by 0.500, 0.02 at most)")


@pytest.mark.parametrize("named", [False, True])
def test_darknets_weights_find_people_with_the_cfg_beside_them_or_named(tmp_path: Path, named: bool) -> None:
    weights = tmp_path / "yolo.weights"
    header = np.array([0, 2, 0, 0, 0], "<i4").tobytes()
    weights.write_bytes(header + np.array([*BIASES, *[0] * 21], "<f4").tobytes())
    cfg = tmp_path / "cfg" / "tiny.cfg" if named else tmp_path / "yolo.cfg"
    cfg.parent.mkdir(exist_ok=True)
    cfg.write_text(CFG)
    model = open_model(
        str(weights),
        "detect",
        catalog=load_catalog([], tmp_path),
        precision="fp32",
        definition=cfg if named else None,
    )
    assert (model.card.family, model.card.input.size, model.card.letterbox) == ("yolov3", (32, 64), "center")
    (people,) = PersonDetector(model.backend, model.card).detect([np.zeros((32, 64, 3), np.uint8)])
    model.backend.close()
    assert len(people.boxes) == 2
    x = 32 / (1 + np.exp(-1))
    np.testing.assert_allclose(people.boxes[people.boxes[:, 0].argsort()][0], [x - 5, 6, x + 5, 26], atol=1e-3)


def test_an_export_that_is_there_opens_without_torch(
    checkpoint: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = opened(str(checkpoint), "pose", cache)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert opened(str(checkpoint), "pose", cache).path == first.path


class Server(ThreadingHTTPServer):
    """Serves `body`, or its first half and then nothing, or all but what a client has."""

    def __init__(self, body: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.body = body
        self.whole = False


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        body = self.server.body
        begin = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - begin))
        self.send_header("ETag", '"1"')
        self.end_headers()
        self.wfile.write(body[begin:] if self.server.whole else body[begin : len(body) // 2])


@pytest.fixture
def server(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server(checkpoint.read_bytes()) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, name="test server")
        thread.start()
        yield made
        made.shutdown()
        thread.join(20)


class Silence:
    def start(self, offer: Offer) -> None: ...

    def advance(self, count: int) -> None: ...


def test_a_checkpoint_of_the_catalogue_is_fetched_verified_and_exported_on_first_use(
    server: Server, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    source = SourceRef(
        f"http://127.0.0.1:{server.server_address[1]}/hrnet.pth", hashlib.sha256(server.body).hexdigest()[:8]
    )
    card = ModelCard("hrnet", "pose", "heatmap", InputSpec((64, 64), "rgb", 1 / 255), skeleton="coco17", source=source)
    (tmp_path / "hrnet.yaml").write_text(card_yaml(card))
    with pytest.raises(EngineError, match=r"broke off at .* run it again"):
        fetch(card, cache, Silence())
    assert not (cache / "hrnet.pth").exists()
    server.whole = True
    assert fetch(card, cache, Silence()).path == cache / "hrnet.pth"
    model = opened("hrnet", "pose", cache, tmp_path)
    assert model.card == card
    assert model.backend.inputs[0].shape[2:] == (64, 64)
