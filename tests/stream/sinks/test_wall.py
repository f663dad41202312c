"""Where pictures stand side by side, and how they are put there."""

from __future__ import annotations

import numpy as np
import pytest

from stream.sinks.wall import Rect, place, tiles

EMPTY = 24


@pytest.mark.parametrize(
    ("count", "grid"), [(1, (1, 1)), (2, (1, 2)), (3, (2, 2)), (4, (2, 2)), (5, (2, 3)), (9, (3, 3)), (10, (3, 4))]
)
def test_the_grid_is_as_square_as_holds_them(count: int, grid: tuple[int, int]) -> None:
    rects = tiles(count, (360, 480))
    assert len(rects) == count
    assert (len({rect.top for rect in rects}), len({rect.left for rect in rects})) == grid


def test_tiles_lie_row_by_row_two_pixels_apart() -> None:
    assert tiles(4, (100, 201)) == [
        Rect(0, 0, 48, 98), Rect(0, 100, 48, 99), Rect(50, 0, 48, 98), Rect(50, 100, 48, 99)
    ]  # fmt: skip


@pytest.mark.parametrize("count", [1, 2, 7, 30])
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (719, 1279)])
def test_no_tile_is_empty_however_small_the_view(count: int, size: tuple[int, int]) -> None:
    assert all(rect.height >= 1 and rect.width >= 1 for rect in tiles(count, size))


def test_a_point_lies_in_one_tile_or_between_them() -> None:
    rects = tiles(4, (100, 200))
    assert [index for index, rect in enumerate(rects) if rect.holds(150, 20)] == [1]
    assert [index for index, rect in enumerate(rects) if rect.holds(99, 20)] == []


def test_a_picture_keeps_its_shape_and_stands_in_the_middle() -> None:
    view = np.zeros((200, 400, 3), np.uint8)
    place(view, Rect(0, 200, 200, 200), np.full((50, 100, 3), 200, np.uint8), "a")
    assert (view[:, :200] == 0).all()
    assert (view[50:150, 200:] == 200).all()
    assert (view[150:, 200:] == EMPTY).all()
    assert (view[30:50, 300:] == EMPTY).all()
    assert view[:20, 200:230].max() > 200, "the label in the corner"


def test_a_picture_that_is_no_longer_true_is_dark_under_its_notice() -> None:
    view = np.zeros((200, 200, 3), np.uint8)
    place(view, Rect(0, 0, 200, 200), np.full((200, 200, 3), 210, np.uint8), "a", "lost")
    assert (view[180:] == 70).all()
    assert view[90:115, 80:120].max() > 200, "the notice in the middle"


@pytest.mark.parametrize("image", [np.full((1, 1, 3), 9, np.uint8), np.full((2000, 3, 3), 9, np.uint8), None])
@pytest.mark.parametrize("side", [1, 5, 64])
def test_any_picture_goes_into_any_tile(image: np.ndarray | None, side: int) -> None:
    view = np.zeros((side, side, 3), np.uint8)
    place(view, Rect(0, 0, side, side), image, "a long name", "connecting")
    assert view.shape == (side, side, 3)
