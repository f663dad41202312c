"""SimCC vectors to key points."""

from __future__ import annotations

import numpy as np

from engines.simcc import decode_simcc, flip_back_simcc


def peaks(places: list[list[int]], length: int, values: list[list[float]] | None = None) -> np.ndarray:
    """Vectors (N, K, length) that are 0 but at one place each."""
    vectors = np.zeros((len(places), len(places[0]), length), np.float32)
    heights = values or [[1.0] * len(row) for row in places]
    for n, row in enumerate(places):
        for k, place in enumerate(row):
            vectors[n, k, place] = heights[n][k]
    return vectors


def test_place_is_half_a_pixel_and_the_score_the_smaller_maximum() -> None:
    simcc_x = peaks([[0, 7], [383, 10]], 384, [[0.9, 0.2], [0.5, 0.5]])
    simcc_y = peaks([[511, 8], [1, 11]], 512, [[0.4, 0.8], [0.5, 0.6]])
    points, scores = decode_simcc(simcc_x, simcc_y)
    assert points.dtype == scores.dtype == np.float32
    assert points.tolist() == [[[0, 255.5], [3.5, 4]], [[191.5, 0.5], [5, 5.5]]]
    np.testing.assert_allclose(scores, [[0.4, 0.2], [0.5, 0.5]])


def test_first_of_equal_maxima_is_taken() -> None:
    points, scores = decode_simcc(np.full((1, 1, 8), 0.3, np.float32), np.full((1, 1, 6), -0.1, np.float32))
    assert points.tolist() == [[[0, 0]]]
    assert scores.tolist() == [[np.float32(-0.1)]]


def test_no_people_give_no_points() -> None:
    points, scores = decode_simcc(np.zeros((0, 17, 384), np.float32), np.zeros((0, 17, 512), np.float32))
    assert points.shape == (0, 17, 2)
    assert scores.shape == (0, 17)


def test_flip_back_returns_the_vectors_of_the_crop_itself() -> None:
    width, pairs = 192, ((0, 1),)
    xs, ys = [[100, 31, 2]], [[4, 5, 6]]  # places of three joints in the crop
    # Pixel x is pixel 191 - x of the mirror: place 2x is place 382 - 2x; joints 0 and 1 stand for one another.
    mirrored_x = peaks([[382 - 31, 382 - 100, 382 - 2]], 2 * width)
    mirrored_y = peaks([[5, 4, 6]], 20)
    back_x, back_y = flip_back_simcc(mirrored_x, mirrored_y, pairs)
    np.testing.assert_array_equal(back_x.argmax(axis=-1), xs)
    np.testing.assert_array_equal(back_y.argmax(axis=-1), ys)
    assert back_x.shape == mirrored_x.shape
    assert mirrored_x[0, 0].argmax() == 382 - 31
