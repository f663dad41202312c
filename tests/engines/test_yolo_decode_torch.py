"""What YOLO families put out, decoded by torch: against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from engines import yolo_decode, yolo_decode_torch  # noqa: E402
from engines.yolo_decode_torch import NOBODY, best  # noqa: E402

Floats = NDArray[np.float32]
SIZE = (64, 32)
CELLS = 42  # of that size: 8 x 4 + 4 x 2 + 2 x 1


def outputs_of(family: str, count: int, seed: int = 0) -> list[Floats]:
    """Outputs for so many pictures: scores all over [0, 1], ties among them, boxes of any kind."""
    rng = np.random.default_rng(seed)

    def scores(*shape: int) -> Floats:
        return np.round(rng.random(shape), 1).astype(np.float32)

    def boxes(*shape: int) -> Floats:
        return rng.normal(0, 2, shape).astype(np.float32)

    if family == "yolov8":
        return [np.concatenate([boxes(count, 4, 70), scores(count, 3, 70)], axis=1)]
    if family == "yolo-nms-free":
        labels = rng.integers(0, 2, (count, 30, 1)).astype(np.float32)
        return [np.concatenate([boxes(count, 30, 4), scores(count, 30, 1), labels], axis=-1)]
    if family == "end2end":
        dets = np.concatenate([boxes(count, 20, 4), scores(count, 20, 1)], axis=-1)
        return [dets, rng.integers(0, 2, (count, 20)).astype(np.float32)]
    if family == "rtmdet":
        return [boxes(count, SIZE[0] // s, SIZE[1] // s, 5) for s in (8, 16, 32)]
    return [np.concatenate([boxes(count, CELLS, 4), scores(count, CELLS, 4)], axis=-1)]


def decoded(family: str, outputs: list[Floats], threshold: float) -> tuple[Floats, Floats]:
    boxes, scores = yolo_decode_torch.DECODERS[family]([torch.from_numpy(o) for o in outputs], SIZE, threshold)
    assert boxes.dtype == scores.dtype == torch.float32
    return boxes.numpy(), scores.numpy()


def test_torch_knows_every_family() -> None:
    assert yolo_decode_torch.DECODERS.keys() == yolo_decode.DECODERS.keys()


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("family", yolo_decode.DECODERS)
def test_torch_and_numpy_find_the_same_people(family: str, threshold: float) -> None:
    outputs = outputs_of(family, 3)
    boxes, scores = decoded(family, outputs, threshold)
    for row in range(3):
        wanted, wanted_scores = yolo_decode.DECODERS[family]([o[row] for o in outputs], SIZE, threshold)
        counts = scores[row] >= 0
        assert (scores[row][~counts] == NOBODY).all()
        np.testing.assert_allclose(boxes[row][counts], wanted, rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(scores[row][counts], wanted_scores, rtol=0, atol=1e-6)


@pytest.mark.parametrize("family", yolo_decode.DECODERS)
def test_what_is_no_number_is_nobody(family: str) -> None:
    outputs = [np.full_like(output, np.nan) for output in outputs_of(family, 1)]
    assert (decoded(family, outputs, 0.3)[1] == NOBODY).all()


@pytest.mark.parametrize("family", ["yolox", "yolox-decoded"])
def test_a_model_of_one_class_finds_people(family: str) -> None:
    output = np.zeros((1, CELLS, 6), np.float32)
    output[0, 3] = [0, 0, 0, 0, 0.8, 0.5]
    scores = decoded(family, [output], 0.3)[1][0]
    assert np.flatnonzero(scores >= 0).tolist() == [3]
    assert scores[3] == np.float32(0.4)


def test_the_labels_of_end2end_may_come_first() -> None:
    dets, labels = outputs_of("end2end", 2)
    for one, other in zip(
        decoded("end2end", [dets, labels], 0.3), decoded("end2end", [labels, dets], 0.3), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_yolox_of_another_input_size_is_refused() -> None:
    with pytest.raises(ValueError, match="a YOLOX output of a 64x32 input has 42 rows, got 41"):
        decoded("yolox", [np.zeros((1, 41, 6), np.float32)], 0.3)


def test_the_best_come_first_and_equals_in_their_order() -> None:
    boxes = torch.arange(2 * 5 * 4.0).reshape(2, 5, 4)
    scores = torch.tensor([[0.2, 0.9, -1, 0.9, 0.5], [0.1, 0.1, 0.1, 0.1, 0.1]])
    found, found_scores = best((boxes, scores), 3)
    torch.testing.assert_close(found_scores, torch.tensor([[0.9, 0.9, 0.5], [0.1, 0.1, 0.1]]))
    assert torch.equal(found[0], boxes[0, [1, 3, 4]])
    assert torch.equal(found[1], boxes[1, :3])


def test_fewer_than_the_most_are_all() -> None:
    found, scores = best((torch.zeros(1, 2, 4), torch.tensor([[0.1, 0.2]])), 1000)
    assert found.shape == (1, 2, 4)
    assert scores[0].tolist() == pytest.approx([0.2, 0.1])
    assert best((torch.zeros(2, 0, 4), torch.zeros(2, 0)), 1000)[0].shape == (2, 0, 4)
