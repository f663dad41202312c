"""Overlaps of boxes, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tracker.iou import areas, intersection, iou, touching, widen


def boxes(*rows: tuple[float, float, float, float]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 4)


@pytest.mark.parametrize(
    ("other", "wanted"),
    [
        ((0, 0, 10, 20), 1.0),
        ((5, 0, 15, 20), 1 / 3),  # 100 shared of 300
        ((0, 10, 10, 20), 0.5),
        ((2, 2, 4, 4), 4 / 200),
        ((10, 0, 20, 20), 0.0),  # an edge in common is no overlap
        ((30, 30, 40, 40), 0.0),
        ((4, 4, 4, 8), 0.0),
        ((8, 8, 2, 2), 0.0),  # inside out
    ],
)
def test_overlap_is_shared_over_joint_area(other: tuple[float, float, float, float], wanted: float) -> None:
    assert iou(boxes((0, 0, 10, 20)), boxes(other)) == pytest.approx([wanted])


def test_boxes_are_paired_row_by_row_or_all_with_all() -> None:
    a = boxes((0, 0, 2, 2), (10, 10, 12, 12))
    b = boxes((10, 10, 12, 12), (1, 0, 3, 2), (0, 0, 2, 2))
    np.testing.assert_allclose(iou(a[:, None], b), [[0, 1 / 3, 1], [1, 0, 0]])
    np.testing.assert_allclose(iou(a, b[:2]), [0, 0])
    np.testing.assert_allclose(iou(a, b[2:]), [1, 0])


@pytest.mark.parametrize(("rows", "columns"), [(0, 0), (0, 3), (2, 0)])
def test_without_boxes_the_table_is_empty(rows: int, columns: int) -> None:
    a, b = np.zeros((rows, 4), np.float32), np.zeros((columns, 4), np.float32)
    assert iou(a[:, None], b).shape == (rows, columns)
    assert [part.shape for part in touching(a, b)] == [(0,), (0,)]


def test_boxes_without_area_overlap_nothing_not_even_themselves() -> None:
    point = boxes((5, 5, 5, 5))
    assert iou(point, point) == 0


def test_boxes_far_from_the_origin_keep_their_digits() -> None:
    a = boxes((1e6, 1e6, 1e6 + 2, 1e6 + 2))
    assert iou(a, a + np.float32([1, 0, 1, 0])) == pytest.approx(1 / 3)


def test_area_of_an_inside_out_box_is_nothing() -> None:
    np.testing.assert_array_equal(areas(boxes((0, 0, 3, 4), (3, 4, 0, 0), (0, 4, 3, 0), (1, 1, 1, 9))), [12, 0, 0, 0])


def test_widening_adds_a_share_of_the_size_on_every_side() -> None:
    np.testing.assert_allclose(widen(boxes((10, 20, 20, 60)), 0.5), [[5, 0, 25, 80]])


def test_widened_neighbours_overlap() -> None:
    a, b = boxes((0, 0, 10, 10)), boxes((11, 0, 21, 10))
    assert iou(a, b) == 0
    assert iou(widen(a, 0.3), widen(b, 0.3)) == pytest.approx(5 * 16 / (2 * 256 - 5 * 16))


def test_what_is_shared_is_counted_in_square_pixels() -> None:
    assert intersection(boxes((0, 0, 10, 20)), boxes((5, 15, 30, 40))).tolist() == [25]


@pytest.mark.parametrize("seed", range(20))
def test_pairs_that_touch_are_those_that_share_area(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = (np.sort(rng.integers(0, 40, (rng.integers(1, 30), 2, 2)), axis=1).reshape(-1, 4) for _ in range(2))
    rows, columns = touching(a.astype(float), b.astype(float))
    found = set(zip(rows.tolist(), columns.tolist(), strict=True))
    assert len(found) == len(rows)
    assert found >= {(i, j) for i, j in np.argwhere(intersection(a[:, None], b) > 0).tolist()}
    # A box without area lies within others, but shares none with them.
    assert all(intersection(a[i], b[j]) > 0 or not areas(a[i]) or not areas(b[j]) for i, j in found)
