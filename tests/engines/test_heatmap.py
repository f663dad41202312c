"""Heat maps to key points, against a slow loop."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engines.heatmap import Decode, cells_to_crop, decode_heatmaps, flip_back, mirrored_order

Floats = NDArray[np.float32]


def one_map(height: int, width: int, **cells: float) -> Floats:
    """A heat map (1, 1, h, w) that is 0 but in the cells named x_y."""
    maps = np.zeros((1, 1, height, width), np.float32)
    for name, value in cells.items():
        x, y = map(int, name.strip("c").split("_"))
        maps[0, 0, y, x] = value
    return maps


def gaussians(centers: NDArray[np.float64], size: tuple[int, int] = (64, 48), sigma: float = 2.0) -> Floats:
    """Heat maps (N, K, h, w) of Gaussians about `centers` (N, K, 2) xy."""
    ys, xs = np.mgrid[: size[0], : size[1]]
    x, y = centers[..., 0, None, None], centers[..., 1, None, None]
    return np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / (2 * sigma**2)).astype(np.float32)


def slow_decode(heatmaps: Floats, decode: Decode, kernel: int = 11) -> tuple[Floats, Floats]:
    """What the reference and DARK's authors do, joint by joint."""
    count, joints, height, width = heatmaps.shape
    points = np.zeros((count, joints, 2), np.float32)
    scores = np.zeros((count, joints), np.float32)
    for n in range(count):
        for k in range(joints):
            heatmap = heatmaps[n, k]
            y, x = np.unravel_index(np.argmax(heatmap), heatmap.shape)
            scores[n, k] = heatmap[y, x]
            if scores[n, k] <= 0:
                x = y = 0
            points[n, k] = x, y
            if decode == "quarter" and 1 < x < width - 1 and 1 < y < height - 1:
                points[n, k, 0] += 0.25 * np.sign(heatmap[y, x + 1] - heatmap[y, x - 1])
                points[n, k, 1] += 0.25 * np.sign(heatmap[y + 1, x] - heatmap[y - 1, x])
            if decode == "dark" and 1 < x < width - 2 and 1 < y < height - 2:
                points[n, k] += slow_dark(heatmap, x, y, kernel)
    return points, scores


def slow_dark(heatmap: Floats, x: int, y: int, kernel: int) -> NDArray[np.float64]:
    border = kernel // 2
    blurred = cv2.GaussianBlur(np.pad(heatmap.astype(np.float64), border), (kernel, kernel), 0)
    logs = np.log(np.maximum(blurred[border:-border, border:-border], 1e-10))
    slope = np.array([logs[y, x + 1] - logs[y, x - 1], logs[y + 1, x] - logs[y - 1, x]]) / 2
    xx = (logs[y, x + 2] - 2 * logs[y, x] + logs[y, x - 2]) / 4
    yy = (logs[y + 2, x] - 2 * logs[y, x] + logs[y - 2, x]) / 4
    xy = (logs[y + 1, x + 1] - logs[y - 1, x + 1] - logs[y + 1, x - 1] + logs[y - 1, x - 1]) / 4
    bend = np.array([[xx, xy], [xy, yy]])
    if np.linalg.det(bend) == 0:
        return np.zeros(2)
    step = -np.linalg.inv(bend) @ slope
    return step if np.abs(step).max() <= 2 else np.zeros(2)


@pytest.mark.parametrize(
    ("maps", "point"),
    [
        (one_map(8, 6, c3_4=1.0), (3, 4)),
        (one_map(8, 6, c3_4=1.0, c4_4=0.5), (3.25, 4)),
        (one_map(8, 6, c3_4=1.0, c2_4=0.5, c3_5=0.1), (2.75, 4.25)),
        (one_map(8, 6, c3_4=1.0, c2_4=0.5, c4_4=0.5, c3_3=0.1), (3, 3.75)),  # equal neighbours: no shift
        (one_map(8, 6, c1_4=1.0, c2_4=0.5), (1, 4)),  # cell 1 is not shifted, in neither direction
        (one_map(8, 6, c3_1=1.0, c4_1=0.5), (3, 1)),
        (one_map(8, 6, c4_6=1.0, c5_6=0.5, c4_7=0.5), (4.25, 6.25)),  # the last cell but one is
        (one_map(8, 6, c5_4=1.0, c4_4=0.5), (5, 4)),
        (one_map(8, 6, c0_0=1.0, c1_0=0.5), (0, 0)),
        (one_map(8, 6, c2_3=1.0, c4_5=1.0), (2, 3)),  # of equal maxima the first, by rows
    ],
)
def test_quarter_shift_goes_toward_the_higher_neighbour(maps: Floats, point: tuple[float, float]) -> None:
    points, scores = decode_heatmaps(maps)
    assert points.dtype == scores.dtype == np.float32
    assert points.tolist() == [[list(point)]]
    assert scores.tolist() == [[1.0]]


@pytest.mark.parametrize("decode", ["argmax", "quarter", "dark"])
@pytest.mark.parametrize("value", [0.0, -0.5])
def test_map_without_a_positive_value_gives_the_first_cell(decode: Decode, value: float) -> None:
    points, scores = decode_heatmaps(np.full((1, 2, 8, 6), value, np.float32), decode)
    assert points.tolist() == [[[0, 0], [0, 0]]]
    assert scores.tolist() == [[value, value]]


@pytest.mark.parametrize("decode", ["argmax", "quarter", "dark"])
@pytest.mark.parametrize("shape", [(5, 17, 64, 48), (3, 16, 64, 64), (2, 3, 9, 7), (1, 1, 1, 1), (40, 4, 5, 5)])
def test_equals_the_slow_loop_on_noise(decode: Decode, shape: tuple[int, int, int, int]) -> None:
    rng = np.random.default_rng(4)
    noise = rng.normal(0, 1, shape).astype(np.float32)
    coarse = np.round(noise).astype(np.float32)  # many ties
    for maps in (noise, coarse, noise - 5):
        points, scores = decode_heatmaps(maps, decode)
        slow_points, slow_scores = slow_decode(maps, decode)
        np.testing.assert_allclose(points, slow_points, atol=2e-3)
        np.testing.assert_array_equal(scores, slow_scores)


@pytest.mark.parametrize(("decode", "kernel"), [("quarter", 11), ("dark", 11), ("dark", 17)])
def test_equals_the_slow_loop_on_gaussians_up_to_the_border(decode: Decode, kernel: int) -> None:
    rng = np.random.default_rng(5)
    centers = rng.uniform((-2, -2), (50, 66), (8, 17, 2))
    maps = gaussians(centers)
    points, scores = decode_heatmaps(maps, decode, kernel)
    slow_points, slow_scores = slow_decode(maps, decode, kernel)
    np.testing.assert_allclose(points, slow_points, atol=1e-4)
    np.testing.assert_array_equal(scores, slow_scores)


@pytest.mark.parametrize(("decode", "error"), [("argmax", 0.51), ("quarter", 0.26), ("dark", 0.01)])
def test_finds_the_centre_of_a_gaussian_without_bias(decode: Decode, error: float) -> None:
    centers = np.random.default_rng(6).uniform((10, 10), (38, 54), (40, 17, 2))
    points, _ = decode_heatmaps(gaussians(centers), decode)
    assert np.abs(points - centers).max() < error
    assert np.abs((points - centers).mean(axis=(0, 1))).max() < 0.06 * error


def test_dark_leaves_a_plateau_where_it_is() -> None:
    points, _ = decode_heatmaps(np.full((1, 1, 31, 31), 0.5, np.float32), "dark")
    assert points.tolist() == [[[0, 0]]]
    maps = np.full((1, 1, 31, 31), 0.5, np.float32)
    maps[0, 0, 15, 15] = np.nextafter(np.float32(0.5), np.float32(1))
    points, _ = decode_heatmaps(maps, "dark")
    np.testing.assert_allclose(points, [[[15, 15]]], atol=1e-3)


def test_no_people_give_no_points() -> None:
    for decode in ("argmax", "quarter", "dark"):
        points, scores = decode_heatmaps(np.zeros((0, 17, 64, 48), np.float32), decode)
        assert points.shape == (0, 17, 2)
        assert scores.shape == (0, 17)


def test_cells_become_pixels_of_the_crop_by_the_ratio_of_sizes() -> None:
    points = np.array([[[0, 0], [10.25, 20], [47, 63]]], np.float32)
    assert cells_to_crop(points, (64, 48), (256, 192)).tolist() == [[[0, 0], [41, 80], [188, 252]]]
    assert cells_to_crop(points, (64, 64), (256, 128)).tolist() == [[[0, 0], [20.5, 80], [94, 252]]]


def test_flip_back_mirrors_swaps_and_shifts() -> None:
    maps = np.array([[[[1, 2, 3, 4]], [[5, 6, 7, 8]], [[9, 0, 0, 0]]]], np.float32)
    kept = maps.copy()
    assert flip_back(maps, ((1, 2),), shift=0).tolist() == [[[[4, 3, 2, 1]], [[0, 0, 0, 9]], [[8, 7, 6, 5]]]]
    assert flip_back(maps, ((1, 2),), shift=0.75)[0, 0].tolist() == [[4, 3.75, 2.75, 1.75]]
    assert flip_back(maps, ((1, 2),)).tolist() == [[[[4, 4, 3, 2]], [[0, 0, 0, 0]], [[8, 8, 7, 6]]]]
    np.testing.assert_array_equal(maps, kept)


def test_flip_back_returns_the_maps_of_the_crop_itself() -> None:
    width, pairs = 192, ((0, 1),)
    centers = np.random.default_rng(7).uniform((10, 10), (38, 54), (5, 3, 2))  # cells
    pixels = centers * 4
    mirrored = np.stack([width - 1 - pixels[..., 0], pixels[..., 1]], axis=-1)[:, [1, 0, 2]] / 4
    points, _ = decode_heatmaps(flip_back(gaussians(mirrored), pairs), "dark")
    quarter_right = np.array([0.25, 0])  # three quarters too far left, then moved by one
    np.testing.assert_allclose(points, centers + quarter_right, atol=0.01)


def test_mirrored_order_is_its_own_inverse() -> None:
    order = mirrored_order(5, ((0, 4), (1, 2)))
    assert order.tolist() == [4, 2, 1, 3, 0]
    assert order[order].tolist() == [0, 1, 2, 3, 4]
