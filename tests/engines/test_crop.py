"""Boxes to crops and points back to the frame."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engines.crop import Crops, crop_matrices

SIZE = (256, 192)


def boxes_of(*rows: tuple[float, float, float, float]) -> NDArray[np.float32]:
    return np.array(rows, np.float32).reshape(-1, 4)


def reference_matrix(box: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float64]:
    """One box in the reference's way: aspect, x1.25, and an affine map through three points."""
    height, width = size
    box_width, box_height = float(box[2] - box[0]), float(box[3] - box[1])
    center = np.array([box[0] + box_width / 2, box[1] + box_height / 2])
    if box_width > box_height * width / height:
        box_height = box_width * height / width
    else:
        box_width = box_height * width / height
    half = box_width * 1.25 / 2
    corner = np.array([[0, 0], [0, -1], [-1, -1]])
    frame = np.float32(center + half * corner)
    crop = np.float32(np.array([width / 2, height / 2]) + width / 2 * corner)
    return np.asarray(cv2.getAffineTransform(frame, crop))


@pytest.mark.parametrize(
    ("box", "size", "scale", "shift"),
    [
        # 96 x 128 has the aspect of the input: padded to 120 x 160, enlarged 1.6 times about (148, 114).
        ((100, 50, 196, 178), SIZE, 1.6, (96 - 148 * 1.6, 128 - 114 * 1.6)),
        # Wider than the input: the width of 192 decides, 192 / (192 * 1.25).
        ((0, 0, 192, 10), SIZE, 0.8, (96 - 96 * 0.8, 128 - 5 * 0.8)),
        # Higher: the height decides.
        ((0, 0, 10, 256), SIZE, 0.8, (96 - 5 * 0.8, 128 - 128 * 0.8)),
        # A square input, as MPII's.
        ((10, 20, 110, 60), (256, 256), 256 / 125, (128 - 60 * 2.048, 128 - 40 * 2.048)),
    ],
)
def test_matrix_fits_the_padded_box_into_the_crop(
    box: tuple[float, float, float, float], size: tuple[int, int], scale: float, shift: tuple[float, float]
) -> None:
    expected = [[[scale, 0, shift[0]], [0, scale, shift[1]]]]
    np.testing.assert_allclose(crop_matrices(boxes_of(box), size), expected, atol=1e-9)


@pytest.mark.parametrize("size", [(256, 192), (128, 96), (256, 256), (65, 33)])
def test_matrices_are_those_of_the_reference(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    corners = rng.uniform(-200, 1500, (40, 2))
    boxes = np.hstack([corners, corners + rng.uniform(5, 900, (40, 2))]).astype(np.float32)
    expected = [reference_matrix(box, size) for box in boxes]
    np.testing.assert_allclose(crop_matrices(boxes, size), expected, rtol=1e-4, atol=1e-3)  # float32 there


def test_padding_is_the_callers() -> None:
    assert crop_matrices(boxes_of((0, 0, 192, 256)), SIZE, padding=2.0)[0, 0, 0] == 0.5


def test_points_come_back_from_the_crop() -> None:
    rng = np.random.default_rng(2)
    corners = rng.uniform(-500, 3800, (50, 2))
    boxes = np.hstack([corners, corners + rng.uniform(0, 2000, (50, 2))]).astype(np.float32)
    points = rng.uniform(-500, 4500, (50, 17, 2)).astype(np.float32)
    crops = Crops.around(boxes, SIZE)
    near = crops.points_to_frame(rng.uniform(-50, 250, (50, 17, 2)).astype(np.float32))
    for frame in (points, near):
        back = crops.points_to_frame(crops.points_to_crop(frame))
        assert back.dtype == np.float32
        assert np.abs(back - frame).max() < 1e-3


def test_centre_of_the_box_is_the_middle_of_the_crop() -> None:
    crops = Crops.around(boxes_of((100, 50, 196, 178), (-40, -40, -20, 0)), SIZE)
    centers = np.array([[[148, 114]], [[-30, -20]]], np.float32)
    np.testing.assert_allclose(crops.points_to_crop(centers), [[[96, 128]], [[96, 128]]], atol=1e-4)
    np.testing.assert_allclose(crops.points_to_frame(np.float32([[[96, 128]]] * 2)), centers, atol=1e-4)


@pytest.mark.parametrize("box", [(30, 40, 30, 40), (30, 40, 30, 90), (30, 40, 20, 10)])
def test_box_without_area_gives_finite_points(box: tuple[float, float, float, float]) -> None:
    crops = Crops.around(boxes_of(box), SIZE)
    points = crops.points_to_frame(np.float32([[[0, 0], [191, 255]]]))
    assert np.isfinite(points).all()
    assert np.abs(points - points.mean(axis=1, keepdims=True)).max() < 64
    out = np.full((*SIZE, 3), 7, np.uint8)
    crops.cut(0, np.full((100, 100, 3), 50, np.uint8), out)
    assert out[128, 96, 0] in (0, 50)


def test_no_box_gives_no_matrix() -> None:
    crops = Crops.around(boxes_of(), SIZE)
    assert crops.matrices.shape == (0, 2, 3)
    assert crops.points_to_frame(np.zeros((0, 17, 2), np.float32)).shape == (0, 17, 2)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_box_that_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match=r"boxes must be finite, got \["):
        crop_matrices(boxes_of((0, 0, 1, 1), (0, 0, bad, 1)), SIZE)


def test_crop_at_scale_one_is_the_picture_itself() -> None:
    image = np.random.default_rng(3).integers(0, 256, (400, 500, 3), dtype=np.uint8)
    out = np.empty((*SIZE, 3), np.uint8)
    Crops.around(boxes_of((120, 60, 312, 316)), SIZE, padding=1.0).cut(0, image, out)
    np.testing.assert_array_equal(out, image[60:316, 120:312])


def test_crop_is_black_beyond_the_frame() -> None:
    image = np.full((300, 200, 3), 255, np.uint8)
    out = np.full((*SIZE, 3), 7, np.uint8)
    crops = Crops.around(boxes_of((-96, 0, 96, 256), (5000, 5000, 5100, 5100)), SIZE, padding=1.0)
    crops.cut(0, image, out)
    assert not out[:, :96].any()
    assert (out[:, 96:] == 255).all()
    crops.cut(1, image, out)
    assert not out.any()


def test_crop_of_a_picture_of_one_pixel() -> None:
    out = np.full((*SIZE, 3), 7, np.uint8)
    Crops.around(boxes_of((0, 0, 1, 1)), SIZE).cut(0, np.full((1, 1, 3), 200, np.uint8), out)
    assert 0 < out.max() <= 200
