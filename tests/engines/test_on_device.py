"""The detector and the pose estimator on tensors, on the CPU here: what they find, and what they copy.

They are held against themselves on arrays, with the same network on both sides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import av
import cv2
import numpy as np
import pytest
from astronaut import DETECTOR, FRAMES, POSE, view
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from engines.backends.base import Backend, EngineError, TensorSpec, open_backend  # noqa: E402
from engines.cards import Family, ModelCard, make_card, read_card  # noqa: E402
from engines.heatmap import Decode  # noqa: E402
from engines.hrnet import PoseEstimator, PoseOptions  # noqa: E402
from engines.images import ImageBatch  # noqa: E402
from engines.results import Detections, Image, Poses  # noqa: E402
from engines.yolo import DetectorOptions, PersonDetector  # noqa: E402

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.float32]
SIZE = (64, 48)


class OnTensors:
    """A DeviceBackend around any other: the same network on torch's CPU tensors."""

    device = "cpu"

    def __init__(self, backend: Backend) -> None:
        self.name = backend.name
        self.inputs = backend.inputs
        self.outputs = backend.outputs
        self.batches: list[int] = []
        self._backend = backend

    def infer(self, batch: Floats) -> tuple[Floats, ...]:
        raise AssertionError("called with an array, although it takes tensors")

    def infer_tensors(self, batch: Tensor) -> tuple[Tensor, ...]:
        assert batch.is_contiguous()
        assert batch.dtype == torch.float32
        self.batches.append(len(batch))
        return tuple(torch.from_numpy(output) for output in self._backend.infer(batch.numpy()))

    def close(self) -> None:
        """The other's owner does."""


class Says:
    """A network that gives what it is told, whatever it sees."""

    name = "says"

    def __init__(self, size: tuple[int, int], *outputs: Floats) -> None:
        self.inputs = (TensorSpec("images", (None, 3, *size), "float32"),)
        self.outputs = tuple(TensorSpec(str(i), (None, *o.shape), "float32") for i, o in enumerate(outputs))
        self._outputs = outputs

    def infer(self, batch: Floats) -> tuple[Floats, ...]:
        return tuple(np.repeat(output[None], len(batch), axis=0) for output in self._outputs)

    def close(self) -> None:
        """Nothing to free."""


class Mixes(Says):
    """A pose network whose outputs are all linear in the pixels it sees, and noisy."""

    def __init__(self, *shapes: tuple[int, ...]) -> None:
        rng = np.random.default_rng(3)
        super().__init__(SIZE, *(rng.normal(0, 1, shape).astype(np.float32) for shape in shapes))

    def infer(self, batch: Floats) -> tuple[Floats, ...]:
        small = batch[:, :, ::16, ::16].reshape(len(batch), -1).astype(np.float64)
        joints = self._outputs[0].shape[0]
        gains = np.random.default_rng(4).normal(0, 1, (small.shape[1], joints))
        scale = (small @ gains).astype(np.float32)
        return tuple(
            np.ascontiguousarray(output[None] * scale.reshape(len(batch), joints, *([1] * (output.ndim - 1))))
            for output in self._outputs
        )


def noise(size: tuple[int, int], seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def detector_card(family: Family, size: tuple[int, int]) -> ModelCard:
    return make_card(family, {"name": family, "family": family, "input": {"size": list(size)}})


def pose_card(family: Family, size: tuple[int, int] = SIZE) -> ModelCard:
    return make_card(family, {"name": family, "family": family, "input": {"size": list(size)}, "skeleton": "coco17"})


def pose_network(family: Family) -> Mixes:
    return Mixes((17, 16, 12)) if family == "heatmap" else Mixes((17, 96), (17, 128))


def assert_same_people(found: Sequence[Detections], wanted: Sequence[Detections], within: float) -> None:
    assert [len(one.boxes) for one in found] == [len(one.boxes) for one in wanted]
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one.boxes, other.boxes, rtol=0, atol=within)
        np.testing.assert_allclose(one.scores, other.scores, rtol=0, atol=1e-3)


def keypoints_off(found: Sequence[Poses], wanted: Sequence[Poses]) -> Floats:
    """How far (people, 17) key points are apart, pixels."""
    away = [np.abs(one.keypoints - other.keypoints).max(axis=-1) for one, other in zip(found, wanted, strict=True)]
    return np.concatenate(away)


@pytest.mark.parametrize("family", ["yolox", "yolox-decoded", "yolov8", "yolo-nms-free", "rtmdet", "end2end"])
def test_every_family_finds_the_same_people(family: Family) -> None:
    rng = np.random.default_rng(1)
    scores = rng.random((42, 3)).astype(np.float32)
    near = np.concatenate([rng.normal(0, 1, (42, 2)), rng.normal(1, 0.3, (42, 2))], axis=1).astype(np.float32)
    wide = np.concatenate([rng.uniform(0, 40, (42, 2)), rng.uniform(4, 40, (42, 2))], axis=1).astype(np.float32)
    corners = np.concatenate([wide[:, :2], wide[:, :2] + wide[:, 2:]], axis=1)
    label = rng.integers(0, 2, (42, 1)).astype(np.float32)
    size = (64, 32)
    outputs = {
        "yolox": [np.concatenate([near, scores], axis=1)],
        "yolox-decoded": [np.concatenate([wide, scores], axis=1)],
        "yolov8": [np.ascontiguousarray(np.concatenate([wide, scores], axis=1).T)],
        "yolo-nms-free": [np.concatenate([corners, scores[:, :1], label], axis=1)],
        "end2end": [np.concatenate([corners, scores[:, :1]], axis=1), label[:, 0]],
        "rtmdet": [rng.normal(0, 3, (size[0] // s, size[1] // s, 5)).astype(np.float32) for s in (8, 16, 32)],
    }[family]
    backend, options = Says(size, *outputs), DetectorOptions(0.2, 0.4)
    card = {"name": family, "family": family, "input": {"size": list(size), "color": "bgr", "scale": 1.0}}
    images = [noise((90, 120)), noise((1, 1)), noise((31, 200))]
    wanted = PersonDetector(backend, make_card(family, card), options).detect(images)
    found = PersonDetector(OnTensors(backend), make_card(family, card), options).detect(images)
    assert sum(len(one.boxes) for one in wanted) >= 4
    assert_same_people(found, wanted, within=1e-3)


def test_nobody_and_no_picture() -> None:
    backend = OnTensors(Says((32, 32), np.zeros((300, 6), np.float32)))
    images = ImageBatch()
    detector = PersonDetector(backend, detector_card("yolo-nms-free", (32, 32)), None, images)
    assert detector.detect([]) == []
    (found,) = detector.detect([noise((8, 8))])
    assert (found.boxes.shape, found.scores.shape) == ((0, 4), (0,))
    assert (images.copies.uploads, images.copies.fetches) == (1, 1)


@pytest.mark.parametrize("flip_test", [False, True])
@pytest.mark.parametrize("family", ["heatmap", "simcc"])
def test_poses_are_the_same_in_every_batch(family: Family, flip_test: bool) -> None:
    images = [noise((120, 90), 1), noise((64, 200), 2), noise((30, 30), 3)]
    boxes = [
        np.array([[5, 5, 60, 100], [-20, 10, 40, 130]], np.float32),
        np.zeros((0, 4), np.float32),
        np.array([[0, 0, 30, 30], [10, 10, 10, 10], [3, 3, 9, 28]], np.float32),
    ]
    network, card = pose_network(family), pose_card(family)
    options = PoseOptions(decode="argmax", flip_test=flip_test)
    wanted = PoseEstimator(network, card, options).estimate(images, boxes)
    for max_batch, sizes in ((32, [5]), (2, [2, 2, 1])):
        backend = OnTensors(network)
        options = PoseOptions(decode="argmax", flip_test=flip_test, max_batch=max_batch)
        found = PoseEstimator(backend, card, options).estimate(images, boxes)
        assert backend.batches == [size for size in sizes for _ in range(1 + flip_test)]
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(one.keypoints, other.keypoints, rtol=0, atol=1e-3)
            np.testing.assert_allclose(one.scores, other.scores, rtol=1e-3, atol=1e-3)


def test_nobody_in_any_picture_costs_nothing() -> None:
    backend, images = OnTensors(pose_network("heatmap")), ImageBatch()
    estimator = PoseEstimator(backend, pose_card("heatmap"), None, images)
    poses = estimator.estimate([noise((9, 9)), noise((9, 9))], [np.zeros((0, 4), np.float32)] * 2)
    assert [(one.keypoints.shape, one.scores.shape) for one in poses] == [((0, 17, 2), (0, 17))] * 2
    assert backend.batches == []
    assert images.copies.uploads == images.copies.fetches == 0


def test_outputs_unlike_the_card_are_an_engine_error() -> None:
    estimator = PoseEstimator(OnTensors(Says(SIZE, np.zeros((17, 16, 12), np.float32))), pose_card("heatmap"))
    estimator._backend = OnTensors(Says(SIZE, np.zeros((16, 16, 12), np.float32)))  # says otherwise than it promised
    with pytest.raises(EngineError, match=r"outputs are \[1, 16, 16, 12\], wanted \[1, 17, N, N\]"):
        estimator.estimate([noise((9, 9))], [np.array([[0, 0, 9, 9]], np.float32)])


def test_a_step_sends_each_picture_once_and_fetches_twice() -> None:
    found = np.zeros((300, 6), np.float32)
    found[:2] = [[0, 0, 16, 32, 0.9, 0], [8, 8, 24, 24, 0.8, 0]]
    images = ImageBatch()
    detector = PersonDetector(OnTensors(Says((32, 32), found)), detector_card("yolo-nms-free", (32, 32)), None, images)
    estimator = PoseEstimator(
        OnTensors(pose_network("heatmap")), pose_card("heatmap"), PoseOptions(max_batch=3), images
    )
    frames = [noise((40, 60), 1), noise((40, 60), 2), noise((20, 20), 3)]
    for step in (1, 2):
        boxes = [one.boxes for one in detector.detect(frames)]
        assert [len(own) for own in boxes] == [2, 2, 2]
        poses = estimator.estimate(frames, boxes)
        assert [len(own.keypoints) for own in poses] == [2, 2, 2]
        # Up: the pictures, and where the six people are (seven numbers each). Back: 300 boxes with their scores and
        # states for each picture; key points and scores.
        copies = images.copies
        assert (copies.uploads, copies.fetches) == (4 * step, 2 * step)
        assert copies.uploaded_bytes == step * (2 * 40 * 60 * 3 + 20 * 20 * 3 + 6 * 7 * 8)
        assert copies.fetched_bytes == step * (3 * 300 * 6 * 4 + 6 * 17 * 3 * 4)


def test_between_two_detections_only_pictures_with_people_go_up() -> None:
    images = ImageBatch()
    estimator = PoseEstimator(OnTensors(pose_network("heatmap")), pose_card("heatmap"), None, images)
    boxes = [np.zeros((0, 4), np.float32), np.array([[0, 0, 20, 40]], np.float32)]
    estimator.estimate([noise((50, 50)), noise((40, 40))], boxes)
    assert images.copies.uploaded_bytes == 40 * 40 * 3 + 7 * 8


def test_a_backend_that_moves_to_a_device_is_followed() -> None:
    class Moves(OnTensors):
        def infer(self, batch: Floats) -> tuple[Floats, ...]:
            return network.infer(batch)

    network, images = Says((32, 32), np.zeros((300, 6), np.float32)), ImageBatch()
    backend = Moves(network)
    detector = PersonDetector(network, detector_card("yolo-nms-free", (32, 32)), None, images)
    detector.detect([noise((8, 8))])
    assert images.copies.uploads == 0
    detector._backend = backend
    detector.detect([noise((8, 8))])
    assert images.copies.uploads == 1
    assert backend.batches == [1]


CLIPS = ("fiyud_dance", "mmaction2_demo_skeleton", "nandinib1999_pedestrians", "mmaction2_test_video_structuralize")


def frames_of(clip: Path, every: int, count: int) -> list[Image]:
    with av.open(str(clip)) as container:
        frames = islice(container.decode(video=0), 0, every * count, every)
        return [frame.to_ndarray(format="bgr24") for frame in frames]


@pytest.fixture(scope="module")
def yolox(assets: Path) -> Iterator[Backend]:
    with closing(open_backend(assets / "models" / "yolox_nano.onnx", backend="onnxruntime")) as backend:
        yield backend


@pytest.fixture(scope="module")
def tinypose(assets: Path) -> Iterator[Backend]:
    path = assets / "models" / "tinypose_256x192_dyn.onnx"
    with closing(open_backend(path, input_size=(256, 192), backend="onnxruntime")) as backend:
        yield backend


@pytest.fixture(scope="module")
def embedded() -> Iterator[dict[Path, Backend]]:
    """The models that come with the program, by file."""
    with ExitStack() as stack:
        yield {
            path: stack.enter_context(closing(open_backend(path, backend="onnxruntime"))) for path in (DETECTOR, POSE)
        }


@pytest.mark.skipif(cv2.__version__ < "5", reason="OpenCV 4 rounds the positions of a crop to 1/32 pixel")
@pytest.mark.parametrize("decode", ["quarter", "dark"])
def test_views_of_a_real_person_have_the_same_person_and_pose(embedded: dict[Path, Backend], decode: Decode) -> None:
    frames = [view(index) for index in range(0, FRAMES, 6)]
    finder, poser = (read_card(path.with_suffix(".yaml")) for path in (DETECTOR, POSE))
    wanted = PersonDetector(embedded[DETECTOR], finder).detect(frames)
    found = PersonDetector(OnTensors(embedded[DETECTOR]), finder).detect(frames)
    assert [len(one.boxes) for one in wanted] == [1] * len(frames)
    assert_same_people(found, wanted, within=0.1)
    boxes, options = [one.boxes for one in wanted], PoseOptions(decode, max_batch=8)
    poses = PoseEstimator(embedded[POSE], poser, options).estimate(frames, boxes)
    off = keypoints_off(PoseEstimator(OnTensors(embedded[POSE]), poser, options).estimate(frames, boxes), poses)
    seen = np.concatenate([one.scores for one in poses]) > 0.3  # of those that the picture lacks any place may win
    assert seen[:, :3].all(), "nose and eyes"
    assert off[seen].max() < 0.05


@pytest.mark.assets
@pytest.mark.parametrize("clip", CLIPS)
def test_real_frames_have_the_same_people(assets: Path, clip: str, yolox: Backend) -> None:
    frames = frames_of(assets / "video" / f"{clip}.mp4", 15, 4)
    card, options = detector_card("yolox", (416, 416)), DetectorOptions(confidence=0.1)
    wanted = PersonDetector(yolox, card, options).detect(frames)
    found = PersonDetector(OnTensors(yolox), card, options).detect(frames)
    assert sum(len(one.boxes) for one in wanted) >= 4
    assert_same_people(found, wanted, within=0.1)


@pytest.mark.assets
@pytest.mark.skipif(cv2.__version__ < "5", reason="OpenCV 4 rounds the positions of a crop to 1/32 pixel")
@pytest.mark.parametrize("decode", ["quarter", "dark"])
def test_real_frames_have_the_same_poses(assets: Path, yolox: Backend, tinypose: Backend, decode: Decode) -> None:
    frames = [frame for clip in CLIPS for frame in frames_of(assets / "video" / f"{clip}.mp4", 20, 2)]
    boxes = [found.boxes for found in PersonDetector(yolox, detector_card("yolox", (416, 416))).detect(frames)]
    card, options = pose_card("heatmap", (256, 192)), PoseOptions(decode, max_batch=8)
    wanted = PoseEstimator(tinypose, card, options).estimate(frames, boxes)
    found = PoseEstimator(OnTensors(tinypose), card, options).estimate(frames, boxes)
    off = keypoints_off(found, wanted)
    assert len(off) >= 15
    assert off.max() < 0.05
