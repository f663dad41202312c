from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from astronaut import DETECTOR, FRAMES, photograph, seen_box, view
from numpy.typing import NDArray

from engines.backends.base import EngineError, TensorSpec, open_backend
from engines.cards import Family, InputSpec, ModelCard, make_card, read_card
from engines.nms import box_iou
from engines.results import Image
from engines.yolo import DetectorOptions, PersonDetector

Floats = NDArray[np.float32]


class FixedBackend:
    """Gives the same outputs for every picture and keeps the batches it was given."""

    name = "fixed"

    def __init__(self, size: tuple[int, int], *outputs: Floats) -> None:
        self.inputs = (TensorSpec("images", (None, 3, *size), "float32"),)
        self.outputs = tuple(TensorSpec(str(i), (None, *o.shape), "float32") for i, o in enumerate(outputs))
        self.batches: list[Floats] = []
        self._outputs = outputs

    def infer(self, batch: Floats) -> tuple[Floats, ...]:
        self.batches.append(batch)
        return tuple(np.repeat(output[None], len(batch), axis=0) for output in self._outputs)

    def close(self) -> None:
        """Nothing to free."""


def card(family: Family, size: tuple[int, int], color: str = "bgr", letterbox: str = "top-left") -> ModelCard:
    return ModelCard(family, "detect", family, InputSpec(size, color), letterbox)  # type: ignore[arg-type]


def rows_backend(size: tuple[int, int], rows: Sequence[Sequence[float]]) -> FixedBackend:
    """A model without need of suppression that finds `rows`: x1, y1, x2, y2, score, class."""
    output = np.zeros((300, 6), np.float32)
    for row, values in enumerate(rows):
        output[row] = values
    return FixedBackend(size, output)


def nms_free(size: tuple[int, int], rows: Sequence[Sequence[float]], options: DetectorOptions) -> PersonDetector:
    return PersonDetector(rows_backend(size, rows), card("yolo-nms-free", size), options)


def decoded(size: tuple[int, int], rows: Sequence[Sequence[float]], options: DetectorOptions) -> PersonDetector:
    """A detector whose boxes, cx, cy, w, h, score, go through the suppression."""
    output = np.ones((len(rows), 6), np.float32)  # sure of its only class
    output[:, :5] = rows
    return PersonDetector(FixedBackend(size, output), card("yolox-decoded", size), options)


def test_boxes_are_in_pixels_of_their_frame_best_first() -> None:
    rows = [[8, 4, 16, 12, 0.5, 0], [0, 0, 32, 8, 0.9, 0], [1, 1, 2, 2, 0.3, 0]]
    found = nms_free((32, 32), rows, DetectorOptions()).detect([np.zeros((50, 100, 3), np.uint8)])
    assert len(found) == 1
    np.testing.assert_allclose(found[0].boxes, [[0, 0, 100, 25], [25, 12.5, 50, 37.5]], rtol=1e-6)
    np.testing.assert_allclose(found[0].scores, [0.9, 0.5])


def test_pictures_of_mixed_sizes_go_in_one_batch() -> None:
    images = [np.zeros(shape, np.uint8) for shape in ((64, 64, 3), (32, 16, 3), (1, 1, 3))]
    backend = rows_backend((32, 32), [[0, 0, 8, 16, 0.9, 0]])
    found = PersonDetector(backend, card("yolo-nms-free", (32, 32))).detect(images)
    expected = [[[0, 0, 16, 32]], [[0, 0, 8, 16]], [[0, 0, 0.25, 0.5]]]
    for detections, boxes in zip(found, expected, strict=True):
        np.testing.assert_allclose(detections.boxes, boxes)
    assert [batch.shape for batch in backend.batches] == [(3, 3, 32, 32)]


def test_no_picture_runs_nothing() -> None:
    backend = rows_backend((32, 32), [])
    assert PersonDetector(backend, card("yolo-nms-free", (32, 32))).detect([]) == []
    assert backend.batches == []


def test_nobody_is_empty() -> None:
    (found,) = nms_free((32, 32), [], DetectorOptions()).detect([np.zeros((8, 8, 3), np.uint8)])
    assert found.boxes.shape == (0, 4)
    assert found.scores.shape == (0,)


def test_boxes_are_clipped_to_the_frame_and_those_outside_are_dropped() -> None:
    rows = [[-5, -6, 40, 50, 0.9, 0], [0, 20, 32, 32, 0.8, 0], [-9, 0, 0, 8, 0.7, 0]]  # the second is in the padding
    (found,) = nms_free((32, 32), rows, DetectorOptions()).detect([np.zeros((16, 32, 3), np.uint8)])
    assert found.boxes.tolist() == [[0, 0, 32, 16]]


def test_boxes_that_are_not_numbers_are_dropped() -> None:
    rows = [[float("nan"), 0, 8, 8, 0.9, 0], [0, 0, 8, 8, float("nan"), 0], [0, 0, 8, 8, 0.5, 0]]
    (found,) = nms_free((32, 32), rows, DetectorOptions()).detect([np.zeros((32, 32, 3), np.uint8)])
    assert found.scores.tolist() == [0.5]


def test_yolov3_lies_in_the_middle_of_grey_and_its_boxes_come_back() -> None:
    rows = np.zeros((60, 7), np.float32)
    rows[4] = [32, 32, 16, 32, 0.9, 0.8, 0.1]
    rows[5] = [33, 32, 16, 32, 0.9, 0.7, 0.1]  # the same person
    rows[9] = [10, 32, 8, 8, 0.9, 0.6, 0.7]  # more of the second class
    backend = FixedBackend((64, 64), rows)
    model = make_card("yolov3", {"name": "yolov3", "family": "yolov3", "input": {"size": [64, 64]}})
    (found,) = PersonDetector(backend, model).detect([np.full((32, 64, 3), 255, np.uint8)])
    np.testing.assert_allclose(found.boxes, [[24, 0, 40, 32]])
    np.testing.assert_allclose(found.scores, [0.72])
    column = np.repeat([128 / 255, 1, 128 / 255], [16, 32, 16])
    np.testing.assert_allclose(backend.batches[0][0, 0, :, 5], column, rtol=1e-5)


def test_low_scores_are_kept_when_asked_for() -> None:
    rows = [[16, 16, 8, 8, score] for score in (0.05, 0.2, 0.6)]
    rows[1][0], rows[2][0] = 4, 28  # apart, so that none suppresses another
    image = np.zeros((32, 32, 3), np.uint8)
    (found,) = decoded((32, 32), rows, DetectorOptions(confidence=0.1)).detect([image])
    np.testing.assert_allclose(found.scores, [0.6, 0.2])


def test_of_overlapping_boxes_the_best_stays() -> None:
    rows = [[10, 10, 10, 10, 0.6], [11, 10, 10, 10, 0.9], [25, 25, 10, 10, 0.5]]
    image = np.zeros((32, 32, 3), np.uint8)
    (found,) = decoded((32, 32), rows, DetectorOptions(iou=0.5)).detect([image])
    np.testing.assert_allclose(found.scores, [0.9, 0.5])
    (found,) = decoded((32, 32), rows, DetectorOptions(iou=0.9)).detect([image])
    np.testing.assert_allclose(found.scores, [0.9, 0.6, 0.5])


def test_the_network_eats_what_its_card_says() -> None:
    backend = FixedBackend((4, 8), np.zeros((300, 6), np.float32))
    spec = InputSpec((4, 8), "rgb", 0.1, (1, 2, 3), (1, 2, 4))
    model = ModelCard("model", "detect", "yolo-nms-free", spec, "center", pad=50)
    image = np.full((4, 4, 3), (10, 20, 30), np.uint8)
    PersonDetector(backend, model).detect([image])
    expected = np.empty((1, 3, 4, 8), np.float32)
    expected[0, :, :, [0, 1, 6, 7]] = np.array([4, 1.5, 0.5])[:, None]  # pad 50 left and right
    expected[0, :, :, 2:6] = np.array([2, 0, -0.5])[:, None, None]  # R 30, G 20, B 10
    np.testing.assert_allclose(backend.batches[0], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("family", "shapes", "message"),
    [
        ("yolox", [(21, 85), (21, 85)], r"must be \(\?, 21, \?\), got"),
        ("yolov3", [(507, 85), (2028, 85)], r"must be \(\?, \?, \?\), got \(\?, 507, 85\) and"),
        ("yolox", [(20, 85)], r"must be \(\?, 21, \?\), got \(\?, 20, 85\)"),
        ("yolo-nms-free", [(300, 7)], r"must be \(\?, \?, 6\), got \(\?, 300, 7\)"),
        ("rtmdet", [(4, 4, 5), (2, 2, 5)], "mend its card or name another family"),
        ("end2end", [(10, 5)], "must be .* and "),
    ],
)
def test_outputs_of_another_form_are_refused(family: Family, shapes: list[tuple[int, ...]], message: str) -> None:
    backend = FixedBackend((32, 32), *[np.zeros(shape, np.float32) for shape in shapes])
    with pytest.raises(EngineError, match=message):
        PersonDetector(backend, card(family, (32, 32)))


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_grids_are_found_in_any_order(order: tuple[int, ...]) -> None:
    grids = [np.full((side, side, 5), -9, np.float32) for side in (4, 2, 1)]  # strides 8, 16, 32
    grids[0][1, 2] = (4, 4, 4, 4, 4)  # cell (16, 8), 4 pixels to each side
    grids[1][1, 1] = (6, 2, 3, 4, 5)  # cell (16, 16)
    backend = FixedBackend((32, 32), *[grids[i] for i in order])
    (found,) = PersonDetector(backend, card("rtmdet", (32, 32))).detect([np.zeros((32, 32, 3), np.uint8)])
    assert found.boxes.tolist() == [[14, 13, 20, 21], [12, 4, 20, 12]]


def test_boxes_and_labels_are_found_in_any_order() -> None:
    dets, labels = np.array([[1, 2, 9, 12, 0.9], [0, 0, 8, 8, 0.8]], np.float32), np.array([0, 5], np.float32)
    for outputs in ((dets, labels), (labels, dets)):
        detector = PersonDetector(FixedBackend((32, 32), *outputs), card("end2end", (32, 32)))
        assert detector.detect([np.zeros((32, 32, 3), np.uint8)])[0].boxes.tolist() == [[1, 2, 9, 12]]


def test_a_family_without_a_decode_is_refused() -> None:
    pose = ModelCard("pose", "pose", "heatmap", InputSpec((32, 32), "rgb"), skeleton="coco17")
    with pytest.raises(EngineError, match=r"family must be one of yolox, .* got heatmap"):
        PersonDetector(FixedBackend((32, 32), np.zeros((1, 1), np.float32)), pose)


@pytest.mark.parametrize("image", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3)), np.zeros((0, 8, 3), np.uint8)])
def test_what_is_no_bgr_picture_is_refused(image: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match=r"image must be \(H, W, 3\) uint8 BGR, got"):
        nms_free((32, 32), [], DetectorOptions()).detect([image])


@pytest.mark.parametrize("options", [{"confidence": 1.1}, {"iou": -0.1}])
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    (name,) = options
    with pytest.raises(ValueError, match=f"{name} must be"):
        DetectorOptions(**options)  # type: ignore[arg-type]


ON_BUS = [[50, 395, 218, 905], [220, 400, 347, 855], [676, 380, 810, 876]]
"""The three people of images/bus.jpg that stand whole in it, by eye."""


@pytest.mark.assets
@pytest.mark.parametrize(
    ("model", "family", "size"),
    [
        ("yolox_nano", "yolox", (416, 416)),
        ("yolox_nano_dynhw", "yolox", (640, 480)),
        ("rtmdet_nano_dyn", "rtmdet", (320, 320)),
    ],
)
def test_real_models_find_the_people_on_the_street(
    assets: Path, model: str, family: Family, size: tuple[int, int]
) -> None:
    with real_detector(assets, model, family, size) as detector:
        (found,) = detector.detect([cv2.imread(str(assets / "images" / "bus.jpg"))])
    assert len(found.boxes) == 3
    away = np.abs(found.boxes[np.argsort(found.boxes[:, 0])] - np.array(ON_BUS, np.float32))
    assert (away[:, [0, 2]] < 30).all()
    assert (away[:, [1, 3]] < 80).all()


def test_the_embedded_model_finds_the_astronaut_wherever_the_camera_looks() -> None:
    indices = range(0, FRAMES, 6)
    with closing(open_backend(DETECTOR, precision="fp32")) as backend:
        found = PersonDetector(backend, read_card(DETECTOR.with_suffix(".yaml"))).detect([view(i) for i in indices])
    for index, one in zip(indices, found, strict=True):
        assert len(one.boxes) == 1
        assert box_iou(one.boxes, seen_box(index)[None])[0, 0] > 0.6  # her helmet may count as hers


def check_alike(detector: PersonDetector, images: list[Image]) -> None:
    """What is found in each picture alone is what is found among the others."""
    together = detector.detect(images)
    assert sum(len(found.boxes) for found in together) >= len(images)
    for image, among in zip(images, together, strict=True):
        (alone,) = detector.detect([image])
        np.testing.assert_allclose(among.boxes, alone.boxes, atol=0.5)
        np.testing.assert_allclose(among.scores, alone.scores, atol=1e-3)


def test_views_of_one_person_are_judged_alike_alone_and_among_others() -> None:
    with closing(open_backend(DETECTOR, precision="fp32")) as backend:
        detector = PersonDetector(backend, read_card(DETECTOR.with_suffix(".yaml")))
        check_alike(detector, [photograph(), view(0), view(12)])


@pytest.mark.assets
def test_a_picture_is_judged_alike_alone_and_among_others(assets: Path) -> None:
    images = [cv2.imread(str(assets / "images" / name)) for name in ("bus.jpg", "zidane.jpg", "image1.jpg")]
    with real_detector(assets, "rtmdet_nano_dyn", "rtmdet", (320, 320)) as detector:
        check_alike(detector, images)


@contextmanager
def real_detector(assets: Path, model: str, family: Family, size: tuple[int, int]) -> Iterator[PersonDetector]:
    card = make_card(model, {"name": model, "family": family, "input": {"size": list(size)}})
    backend = open_backend(assets / "models" / f"{model}.onnx", input_size=size, precision="fp32")
    with closing(backend):
        yield PersonDetector(backend, card)
