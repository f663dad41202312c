from __future__ import annotations

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from stream.color import (
    av_frame,
    color_of,
    even_boxes,
    frame_to_bgr,
    is_full_range,
    matrix_of,
    patch,
    plane_views,
    to_bgr,
    to_planes,
)
from stream.frame import Color, Planes

LIMITED, FULL = 1, 2
MATRICES = (1, 4, 5, 6, 7, 9)


def flat(y: int, u: int, v: int, color: Color, size: tuple[int, int] = (16, 16)) -> Planes:
    height, width = size
    half = ((height + 1) // 2, (width + 1) // 2)
    return Planes(np.full(size, y, np.uint8), np.full(half, u, np.uint8), np.full(half, v, np.uint8), color)


def smooth_image(height: int, width: int) -> NDArray[np.uint8]:
    """Colours that change slowly, none of them near the edge of what YUV can hold."""
    rows, columns = np.mgrid[:height, :width]
    channels = [60 + 40 * np.sin(rows / 17), 120 + 50 * np.cos(columns / 23), 150 + 30 * np.sin((rows + columns) / 31)]
    return np.stack(channels, -1).astype(np.uint8)


# BGR and the Y, Cb, Cr that the standards give for it, worked by hand: Y = 16 + 219 * (kr R + kg G + kb B) and so on.
@pytest.mark.parametrize(
    ("bgr", "color", "yuv"),
    [
        ((0, 0, 0), Color(1, LIMITED), (16, 128, 128)),
        ((255, 255, 255), Color(1, LIMITED), (235, 128, 128)),
        ((255, 255, 255), Color(5, FULL), (255, 128, 128)),
        ((0, 0, 255), Color(1, LIMITED), (63, 102, 240)),
        ((0, 0, 255), Color(6, LIMITED), (81, 90, 240)),
        ((0, 255, 0), Color(1, LIMITED), (173, 42, 26)),
        ((0, 255, 0), Color(5, LIMITED), (145, 54, 34)),
        ((255, 0, 0), Color(9, LIMITED), (29, 240, 119)),
        ((0, 255, 0), Color(5, FULL), (150, 44, 21)),
    ],
)
def test_known_colours_become_the_standards_values(
    bgr: tuple[int, int, int], color: Color, yuv: tuple[int, int, int]
) -> None:
    planes = to_planes(np.full((4, 6, 3), bgr, np.uint8), color)
    assert (planes.y.shape, planes.u.shape, planes.v.shape) == ((4, 6), (2, 3), (2, 3))
    got = (int(planes.y[0, 0]), int(planes.u[0, 0]), int(planes.v[0, 0]))
    assert np.abs(np.subtract(got, yuv)).max() <= 1, got
    assert np.abs(to_bgr(planes).astype(int) - bgr).max() <= 3


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("value_range", [LIMITED, FULL])
def test_round_trip_keeps_every_channel(matrix: int, value_range: int) -> None:
    image = smooth_image(256, 320)
    back = to_bgr(to_planes(image, Color(matrix, value_range)))
    error = back.astype(int) - image
    assert np.abs(error.mean((0, 1))).max() < 2.2
    assert np.abs(error).max() <= 6


@pytest.mark.parametrize(("height", "matrix"), [(719, 5), (720, 1), (1080, 1), (1, 5)])
def test_untagged_is_hd_from_720_lines(height: int, matrix: int) -> None:
    assert matrix_of(Color(), height) == matrix
    assert matrix_of(Color(matrix=9), height) == 9
    tagged = to_bgr(flat(120, 90, 160, Color(matrix), (height, 16)))
    assert np.array_equal(to_bgr(flat(120, 90, 160, Color(), (height, 16))), tagged)


def test_matrix_and_range_change_the_picture() -> None:
    pictures = {tuple(to_bgr(flat(120, 90, 160, Color(m, r)))[0, 0].tolist()) for m in (1, 5, 9) for r in (1, 2)}
    assert len(pictures) == 6


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (3, 5), (33, 47), (361, 641)])
def test_odd_sizes_have_the_larger_half_of_chroma(size: tuple[int, int]) -> None:
    image = np.full((*size, 3), (40, 111, 178), np.uint8)
    planes = to_planes(image, Color(1))
    half = ((size[0] + 1) // 2, (size[1] + 1) // 2)
    assert (planes.y.shape, planes.u.shape, planes.v.shape) == (size, half, half)
    assert to_bgr(planes).shape == (*size, 3)
    assert np.abs(to_bgr(planes).astype(int) - image).max() <= 3


def test_frame_and_its_planes_give_one_picture() -> None:
    planes = to_planes(smooth_image(90, 122), Color(9, FULL, 9, 14))
    frame = av_frame(planes)
    assert color_of(frame) == planes.color
    assert is_full_range(planes.color)
    assert all(np.array_equal(a, b) for a, b in zip(plane_views(frame), (planes.y, planes.u, planes.v), strict=True))
    assert np.array_equal(frame_to_bgr(frame, planes.color), to_bgr(planes))


def test_formats_named_yuvj_are_full_range() -> None:
    assert color_of(av.VideoFrame(4, 4, "yuvj420p")).range == FULL
    assert color_of(av.VideoFrame(4, 4, "yuv420p")) == Color()


def own(planes: Planes) -> Planes:
    return Planes(planes.y.copy(), planes.u.copy(), planes.v.copy(), planes.color)


@pytest.mark.parametrize("size", [(64, 96), (63, 95)])
def test_patch_leaves_undrawn_bytes_alone(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    height, width = size
    half = ((height + 1) // 2, (width + 1) // 2)
    noise = [rng.integers(16, 236, shape, dtype=np.uint8) for shape in (size, half, half)]
    planes = Planes(noise[0], noise[1], noise[2], Color(1))
    image = to_bgr(planes)
    drawn = image.copy()
    cv2.line(drawn, (10, 9), (50, 41), (0, 255, 0), 3, cv2.LINE_AA)
    cv2.rectangle(drawn, (60, 10), (71, 21), (0, 255, 0), -1)
    drawn[-1, -1] = 255 - drawn[-1, -1]
    patched = own(planes)
    patch(
        patched,
        image,
        drawn,
        np.array([[7, 5, 54, 45], [60, 10, 72, 22], [width - 1, height - 1, width, height]], np.int32),
    )

    touched = (drawn != image).any(-1)
    assert np.array_equal(patched.y[~touched], planes.y[~touched])
    padded = np.pad(touched, [(0, height % 2), (0, width % 2)])
    blocks = padded.reshape(half[0], 2, half[1], 2).any((1, 3))
    for got, before in ((patched.u, planes.u), (patched.v, planes.v)):
        assert np.array_equal(got[~blocks], before[~blocks])
    wanted = to_planes(drawn, Color(1))
    assert np.array_equal(patched.y[touched], wanted.y[touched])
    assert np.array_equal(patched.u[blocks], wanted.u[blocks])
    assert np.array_equal(patched.v[blocks], wanted.v[blocks])
    assert np.abs(to_bgr(patched)[12:20, 62:70].astype(int) - (0, 255, 0)).max() <= 3


def test_patch_without_boxes_or_without_change_does_nothing() -> None:
    planes = to_planes(smooth_image(32, 32), Color(5))
    image = to_bgr(planes)
    for boxes in (np.zeros((0, 4), np.int32), np.array([[0, 0, 32, 32]], np.int32)):
        patched = own(planes)
        patch(patched, image, image.copy(), boxes)
        assert np.array_equal(patched.y, planes.y)
        assert np.array_equal(patched.u, planes.u)
        assert np.array_equal(patched.v, planes.v)


@pytest.mark.parametrize(
    ("boxes", "wanted"),
    [
        ([], []),
        ([[3, 5, 8, 9]], [(2, 4, 8, 10)]),
        ([[-7, -3, 4, 4], [90, 58, 200, 200]], [(0, 0, 4, 4), (90, 58, 95, 63)]),
        ([[100, 10, 120, 20], [5, 5, 5, 9], [9, 9, 4, 4], [-9, -9, -2, -2]], []),
        ([[0, 0, 10, 10], [2, 0, 12, 10]], [(0, 0, 12, 10)]),
        ([[0, 0, 10, 10], [10, 0, 20, 10], [0, 10, 20, 20]], [(0, 0, 20, 20)]),
        ([[0, 0, 10, 10], [20, 20, 30, 30]], [(0, 0, 10, 10), (20, 20, 30, 30)]),
    ],
)
def test_boxes_are_evened_cut_and_merged(boxes: list[list[int]], wanted: list[tuple[int, ...]]) -> None:
    assert even_boxes(np.array(boxes, np.int32).reshape(-1, 4), (63, 95)) == wanted
