from __future__ import annotations

import math

import numpy as np
import pytest

from engines.yolo_decode import (
    DECODERS,
    Decode,
    Floats,
    decode_end2end,
    decode_nms_free,
    decode_rtmdet,
    decode_yolov8,
    decode_yolox,
    decode_yolox_decoded,
    grid,
)

SIZE = (64, 32)  # grids of 8 x 4, 4 x 2 and 2 x 1 cells: 32 + 8 + 2 rows


def yolox_output(rows: dict[int, list[float]], count: int = 42, classes: int = 2) -> Floats:
    output = np.zeros((count, 5 + classes), np.float32)
    for row, values in rows.items():
        output[row] = values
    return output


def test_the_grid_counts_cells_row_by_row_from_fine_to_coarse() -> None:
    cells, strides = grid(SIZE)
    assert cells.shape == (42, 2)
    assert cells[:5].tolist() == [[0, 0], [1, 0], [2, 0], [3, 0], [0, 1]]
    assert cells[32:36].tolist() == [[0, 0], [1, 0], [0, 1], [1, 1]]
    assert cells[40:].tolist() == [[0, 0], [0, 1]]
    assert strides.tolist() == [8] * 32 + [16] * 8 + [32] * 2


def test_yolox_rows_become_boxes() -> None:
    fine = [0.5, 0.25, math.log(2), 0.0, 0.9, 0.8, 0.1]  # row 5 is cell (1, 1) of stride 8
    coarse = [0.5, 0.5, 0.0, math.log(0.5), 1.0, 0.5, 0.4]  # row 41 is cell (0, 1) of stride 32
    boxes, scores = decode_yolox([yolox_output({5: fine, 41: coarse})], SIZE, 0.3)
    np.testing.assert_allclose(boxes, [[4, 6, 20, 14], [0, 40, 32, 56]], atol=1e-4)
    np.testing.assert_allclose(scores, [0.72, 0.5])
    assert boxes.dtype == scores.dtype == np.float32


def test_yolox_of_another_input_size_is_refused() -> None:
    with pytest.raises(ValueError, match="64x32 input has 42 rows, got 41"):
        decode_yolox([yolox_output({}, count=41)], SIZE, 0.3)


def test_decoded_yolox_is_in_pixels() -> None:
    boxes, scores = decode_yolox_decoded([yolox_output({7: [20, 30, 10, 40, 0.5, 0.8, 0.0]}, count=9)], SIZE, 0.3)
    np.testing.assert_allclose(boxes, [[15, 10, 25, 50]])
    np.testing.assert_allclose(scores, [0.4])


@pytest.mark.parametrize("decode", [decode_yolox, decode_yolox_decoded])
def test_yolox_box_of_another_class_is_no_person(decode: Decode) -> None:
    chair, tie = [0, 0, 0, 0, 1.0, 0.5, 0.6], [0, 0, 0, 0, 1.0, 0.6, 0.6]
    boxes, scores = decode([yolox_output({3: chair, 4: tie})], SIZE, 0.3)
    np.testing.assert_allclose(scores, [0.6])
    assert len(boxes) == 1


def test_yolov8_columns_become_boxes() -> None:
    output = np.zeros((4 + 3, 10), np.float32)
    output[:, 2] = [20, 30, 10, 40, 0.7, 0.1, 0.2]
    output[:, 5] = [20, 30, 10, 40, 0.5, 0.6, 0.0]  # the second class
    output[:, 6] = [20, 30, 10, 40, 0.2, 0.1, 0.0]  # too weak
    boxes, scores = decode_yolov8([output], SIZE, 0.3)
    np.testing.assert_allclose(boxes, [[15, 10, 25, 50]])
    np.testing.assert_allclose(scores, [0.7])


def test_nms_free_rows_are_boxes() -> None:
    output = np.array([[1, 2, 3, 4, 0.9, 0], [5, 6, 7, 8, 0.8, 1], [9, 10, 11, 12, 0.2, 0]], np.float32)
    boxes, scores = decode_nms_free([output], SIZE, 0.3)
    assert boxes.tolist() == [[1, 2, 3, 4]]
    np.testing.assert_allclose(scores, [0.9])


@pytest.mark.parametrize("labels_first", [False, True])
def test_end2end_rows_are_boxes_in_either_order_of_outputs(labels_first: bool) -> None:
    dets = np.array([[1, 2, 3, 4, 0.9], [5, 6, 7, 8, 0.8], [0, 0, 0, 0, 0]], np.float32)
    labels = np.array([2, 0, 0], np.float32)
    boxes, scores = decode_end2end([labels, dets] if labels_first else [dets, labels], SIZE, 0.3)
    assert boxes.tolist() == [[5, 6, 7, 8]]
    np.testing.assert_allclose(scores, [0.8])


def test_rtmdet_cells_reach_from_their_corners() -> None:
    maps = [np.full((64 // s, 32 // s, 5), -9, np.float32) for s in (8, 16, 32)]
    maps[0][3, 2] = [math.log(3), 4, 5, 6, 7]  # 0.75 at (16, 24)
    maps[2][1, 0] = [0, 1, 2, 30, 31]  # 0.5 at (0, 32)
    boxes, scores = decode_rtmdet(maps, SIZE, 0.3)
    np.testing.assert_allclose(boxes, [[12, 19, 22, 31], [-1, 30, 30, 63]])
    np.testing.assert_allclose(scores, [0.75, 0.5], rtol=1e-6)


def test_rtmdet_logits_of_any_size_are_scores() -> None:
    maps = [np.zeros((1, 1, 5), np.float32) for _ in range(3)]
    maps[0][..., 0], maps[1][..., 0] = 1e4, -1e4
    _, scores = decode_rtmdet(maps, (8, 8), 0.0)
    assert scores.tolist() == [1, 0, 0.5]


EMPTY = {
    "yolox": [np.zeros((42, 85), np.float32)],
    "yolox-decoded": [np.zeros((42, 85), np.float32)],
    "yolov3": [np.zeros((126, 85), np.float32)],
    "yolov8": [np.zeros((84, 42), np.float32)],
    "yolo-nms-free": [np.zeros((300, 6), np.float32)],
    "end2end": [np.zeros((0, 5), np.float32), np.zeros(0, np.float32)],
    "rtmdet": [np.full((64 // s, 32 // s, 5), -9, np.float32) for s in (8, 16, 32)],
}


@pytest.mark.parametrize("family", DECODERS)
def test_nobody_is_an_empty_array(family: str) -> None:
    boxes, scores = DECODERS[family](EMPTY[family], SIZE, 0.3)
    assert boxes.shape == (0, 4)
    assert scores.shape == (0,)
    assert boxes.dtype == scores.dtype == np.float32


@pytest.mark.parametrize("family", ["yolox", "yolox-decoded", "yolov3"])
def test_a_model_of_one_class_finds_people(family: str) -> None:
    output = np.zeros((42, 6), np.float32)
    output[0] = [1, 1, 1, 1, 0.9, 0.9]
    _, scores = DECODERS[family]([output], SIZE, 0.3)
    np.testing.assert_allclose(scores, [0.81], rtol=1e-6)
