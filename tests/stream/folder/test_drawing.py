from __future__ import annotations

import cv2
import numpy as np
import pytest

from stream.folder.drawing import BLUE, GREEN, RED, PoseStyle, draw_boxes, draw_poses, heatmap_grid

ONLY_CIRCLES = PoseStyle(label=False, line=False, circle_radius=4, circle_thickness=1)
ONLY_LINES = PoseStyle(label=False, circle=False, line_thickness=1)
ONLY_LABELS = PoseStyle(circle=False, line=False, label_font_scale=0.5, label_thickness=1)


def black(height: int = 80, width: int = 100) -> np.ndarray:
    return np.zeros((height, width, 3), np.uint8)


def points(*xy: tuple[float, float]) -> np.ndarray:
    return np.array([xy], np.float32)


def colours(image: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(c) for c in np.unique(image.reshape(-1, 3), axis=0).tolist()} - {(0, 0, 0)}


def test_boxes_are_red_outlines_of_thickness_five() -> None:
    image, wanted = black(), black()
    draw_boxes(image, np.array([[20.9, 10.2, 60.7, 50.5]], np.float32))
    cv2.rectangle(wanted, (20, 10), (60, 50), (0, 0, 255), 5)
    np.testing.assert_array_equal(image, wanted)
    assert colours(image) == {RED}
    assert {18, 19, 20, 21, 22, 58, 62} <= set(np.flatnonzero(image[30, :, 2]).tolist())
    assert not image[20:40, 30:50].any()


def test_circles_are_red_rings_around_the_joints() -> None:
    image = black()
    draw_poses(image, points((50.7, 40.2)), (), ONLY_CIRCLES)
    assert colours(image) == {RED}
    assert np.flatnonzero(image[40, :, 2]).tolist() == [46, 54]


def test_lines_are_red_and_join_the_limbs_only() -> None:
    image = black()
    draw_poses(image, points((10, 20), (50, 20), (50, 70)), ((0, 1),), ONLY_LINES)
    assert colours(image) == {RED}
    assert np.flatnonzero(image[20, :, 2]).tolist() == list(range(10, 51))
    assert not image[22:].any()


@pytest.mark.parametrize(("joint", "colour"), [(0, BLUE), (1, GREEN), (2, RED), (3, BLUE), (10, GREEN)])
def test_numbers_cycle_through_blue_green_and_red(joint: int, colour: tuple[int, int, int]) -> None:
    image = black()
    far = [(-5000.0, -5000.0)] * joint
    draw_poses(image, points(*far, (40, 40)), (), ONLY_LABELS)
    # Letters have soft edges: shades of one channel.
    assert image.max(axis=(0, 1)).tolist() == list(colour)


def test_defaults_are_the_older_tools() -> None:
    style = PoseStyle()
    assert (style.circle, style.label, style.line) == (True, True, True)
    assert (style.circle_radius, style.circle_thickness) == (20, 10)
    assert (style.label_font_scale, style.label_thickness, style.line_thickness) == (3.0, 8, 5)


def test_joints_that_are_nowhere_or_far_off_do_no_harm() -> None:
    image = black()
    draw_poses(image, points((np.nan, np.inf), (1e30, -1e30), (-3, 200)), ((0, 1), (1, 2)), PoseStyle())
    assert image.shape == (80, 100, 3)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("circle_radius", -1),
        ("circle_thickness", 0),
        ("line_thickness", -1),
        ("label_thickness", 99_999),
        ("label_font_scale", 0.0),
    ],
)
def test_sizes_that_cannot_be_drawn_are_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{field} must be"):
        PoseStyle(**{field: value})


def test_the_grid_is_the_crop_then_a_tile_for_each_joint() -> None:
    heatmaps = np.zeros((2, 8, 6), np.float32)
    heatmaps[1, 5, 2] = 1.0
    crop = np.full((32, 24, 3), 100, np.uint8)
    grid = heatmap_grid(crop, heatmaps, np.array([[100, 100], [2.25, 5.0]], np.float32))
    assert grid.shape == (8, 18, 3)
    assert (grid[0, :6] == 100).all()
    # 0.7 of the palette's dark blue (128, 0, 0) and 0.3 of the picture.
    assert grid[0, 7].tolist() == [120, 30, 30]
    assert grid[5, 12 + 2, 2] > grid[0, 12, 2]
    assert grid[5, 12 + 1].tolist() == list(RED)
