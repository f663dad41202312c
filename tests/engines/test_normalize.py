from __future__ import annotations

import numpy as np
import pytest

from engines.normalize import to_batch

IMAGE = np.array([[[10, 20, 30], [40, 50, 60]]], np.uint8)  # one row of two pixels, BGR


def test_raw_bgr_is_the_pixels_as_planes() -> None:
    batch = to_batch([IMAGE], out_rgb=False)
    assert batch.dtype == np.float32
    assert batch.tolist() == [[[[10, 40]], [[20, 50]], [[30, 60]]]]


def test_rgb_swaps_the_planes() -> None:
    assert to_batch([IMAGE], out_rgb=True).tolist() == [[[[30, 60]], [[20, 50]], [[10, 40]]]]


def test_scale_mean_and_std_apply_in_the_order_of_the_output() -> None:
    batch = to_batch([IMAGE], out_rgb=True, scale=0.1, mean=(1.0, 2.0, 3.0), std=(2.0, 4.0, 0.5))
    np.testing.assert_allclose(batch[0, :, 0], [[1.0, 2.5], [0.0, 0.75], [-4.0, 2.0]], rtol=1e-6, atol=1e-6)


def test_equals_the_plain_arithmetic() -> None:
    images = np.random.default_rng(1).integers(0, 256, (3, 33, 17, 3), np.uint8)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    plain = ((images[..., ::-1] / 255 - mean) / std).transpose(0, 3, 1, 2)
    batch = to_batch(list(images), True, 1 / 255, mean, std)
    assert batch.flags.c_contiguous
    np.testing.assert_allclose(batch, plain, atol=1e-5)


def test_a_view_into_a_larger_picture_is_taken() -> None:
    large = np.random.default_rng(2).integers(0, 256, (8, 9, 3), np.uint8)
    np.testing.assert_array_equal(to_batch([large[2:5, 3:7]], False), to_batch([large[2:5, 3:7].copy()], False))


def test_pictures_of_two_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one size, got \(1, 3, 3\) beside \(1, 2, 3\)"):
        to_batch([IMAGE, np.zeros((1, 3, 3), np.uint8)], False)


def test_no_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="one or more, got none"):
        to_batch([], False)
