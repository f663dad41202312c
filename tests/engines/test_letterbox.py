from __future__ import annotations

import numpy as np
import pytest

from engines.letterbox import Letterbox, Placement, fit


@pytest.mark.parametrize(
    ("frame", "placement", "inner", "corner"),
    [
        ((1080, 1920), "top-left", (234, 416), (0, 0)),
        ((1080, 1920), "center", (234, 416), (0, 91)),
        ((1920, 1080), "center", (416, 234), (91, 0)),
        ((416, 416), "center", (416, 416), (0, 0)),
        ((208, 104), "center", (416, 208), (104, 0)),
        ((1, 1), "top-left", (416, 416), (0, 0)),
        ((1, 5000), "top-left", (1, 416), (0, 0)),
    ],
)
def test_the_largest_inner_picture_is_placed(
    frame: tuple[int, int], placement: Placement, inner: tuple[int, int], corner: tuple[int, int]
) -> None:
    assert fit(frame, (416, 416), placement) == Letterbox(frame, (416, 416), inner, corner)


def test_boxes_go_to_the_input_by_hand() -> None:
    letterbox = fit((100, 200), (64, 64), "center")  # 0.32: inner 32 x 64, 16 rows above it
    boxes = np.array([[0, 0, 200, 100], [50, 25, 100, 50]], np.float32)
    np.testing.assert_allclose(letterbox.boxes_to_input(boxes), [[0, 16, 64, 48], [16, 24, 32, 32]], rtol=1e-6)


@pytest.mark.parametrize("placement", ["top-left", "center"])
@pytest.mark.parametrize("frame", [(1080, 1920), (1279, 719), (33, 1001), (7, 5), (1, 1)])
def test_inverse_returns_frame_pixels(frame: tuple[int, int], placement: Placement) -> None:
    letterbox = fit(frame, (416, 640), placement)
    rng = np.random.default_rng(0)
    boxes = (rng.random((20, 4)) * [frame[1], frame[0], frame[1], frame[0]]).astype(np.float32)
    back = letterbox.boxes_to_frame(letterbox.boxes_to_input(boxes))
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, boxes, atol=1e-5 * max(frame))


def test_the_frame_fills_its_inner_picture_exactly() -> None:
    letterbox = fit((1079, 1919), (416, 416), "top-left")
    height, width = letterbox.inner_size
    whole = letterbox.boxes_to_frame(np.array([[0, 0, width, height]], np.float32))
    np.testing.assert_allclose(whole, [[0, 0, 1919, 1079]], rtol=1e-6)


def test_no_boxes_stay_no_boxes() -> None:
    assert fit((10, 10), (32, 32), "center").boxes_to_frame(np.zeros((0, 4), np.float32)).shape == (0, 4)


@pytest.mark.parametrize("placement", ["top-left", "center"])
def test_the_picture_lies_where_its_boxes_say(placement: Placement) -> None:
    image = np.zeros((300, 500, 3), np.uint8)
    image[60:180, 100:400] = 255
    letterbox = fit((300, 500), (160, 192), placement)
    canvas = letterbox.paint(image, pad=114)
    ((x1, y1, x2, y2),) = letterbox.boxes_to_input(np.array([[100, 60, 400, 180]], np.float32))
    rows, columns = np.nonzero((canvas == 255).all(axis=2))
    assert abs(columns.min() - x1) <= 1
    assert abs(columns.max() + 1 - x2) <= 1
    assert abs(rows.min() - y1) <= 1
    assert abs(rows.max() + 1 - y2) <= 1


def test_what_the_frame_does_not_cover_is_padded() -> None:
    canvas = fit((10, 20), (32, 32), "center").paint(np.zeros((10, 20, 3), np.uint8), pad=114)
    assert canvas.shape == (32, 32, 3)
    assert (canvas[:8] == 114).all()
    assert (canvas[8:24] == 0).all()
    assert (canvas[24:] == 114).all()


def test_a_frame_of_the_inputs_size_is_copied() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    canvas = fit((32, 48), (32, 48), "top-left").paint(image, pad=0)
    np.testing.assert_array_equal(canvas, image)
    assert not np.shares_memory(canvas, image)


def test_a_frame_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"image must be \(10, 20\) \(height, width\), got \(20, 10\)"):
        fit((10, 20), (32, 32), "center").paint(np.zeros((20, 10, 3), np.uint8), pad=0)
