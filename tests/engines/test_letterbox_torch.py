"""Frames in a network's input by torch, against cv2.resize."""

from __future__ import annotations

import numpy as np
import pytest
from astronaut import photograph

torch = pytest.importorskip("torch")

from engines.letterbox import Placement, fit  # noqa: E402
from engines.letterbox_torch import paint  # noqa: E402
from engines.results import Image  # noqa: E402

FRAMES = [(1080, 1920), (1280, 720), (241, 427), (33, 1001), (832, 832), (416, 640), (7, 5), (1, 9), (1, 1)]


def noise(size: tuple[int, int]) -> Image:
    return np.random.default_rng(sum(size)).integers(0, 256, (*size, 3), np.uint8)


def painted(images: list[Image], input_size: tuple[int, int], placement: Placement) -> list[Image]:
    boxed = [fit(image.shape[:2], input_size, placement) for image in images]
    batch = paint([torch.from_numpy(image) for image in images], boxed, 114)
    assert batch.dtype == torch.float32
    assert batch.shape == (len(images), 3, *input_size)
    return list(batch.permute(0, 2, 3, 1).numpy())


@pytest.mark.parametrize("placement", ["top-left", "center"])
@pytest.mark.parametrize("input_size", [(416, 416), (384, 640), (32, 32)])
def test_a_grey_level_is_opencvs(input_size: tuple[int, int], placement: Placement) -> None:
    images = [noise(size) for size in FRAMES]
    for image, picture in zip(images, painted(images, input_size, placement), strict=True):
        wanted = fit(image.shape[:2], input_size, placement).paint(image, 114)
        off = np.abs(picture - wanted)
        assert off.max() <= 1  # OpenCV on another processor may round otherwise
        assert (off > 0).mean() < 0.001, f"{image.shape} in {input_size}"


def test_a_pixel_is_made_of_its_two_neighbours() -> None:
    image = np.array([0, 100, 200, 40], np.uint8)[None, :, None].repeat(3, axis=2)  # 4 columns in 2
    ((row,),) = painted([image], (1, 2), "top-left")
    assert row[:, 0].tolist() == [50, 120]


def test_what_the_frame_does_not_cover_is_padded() -> None:
    (picture,) = painted([np.zeros((10, 20, 3), np.uint8)], (32, 32), "center")
    assert (picture[:8] == 114).all()
    assert (picture[8:24] == 0).all()
    assert (picture[24:] == 114).all()


def test_a_frame_of_the_inputs_size_is_copied() -> None:
    image = noise((32, 48))
    kept = image.copy()
    (picture,) = painted([image], (32, 48), "top-left")
    np.testing.assert_array_equal(picture, image)
    picture[:] = 0
    np.testing.assert_array_equal(image, kept)


def test_a_photograph_is_opencvs() -> None:
    image = photograph()
    (picture,) = painted([image], (416, 416), "top-left")
    off = np.abs(picture - fit(image.shape[:2], (416, 416), "top-left").paint(image, 114))
    assert off.max() <= 1
    assert (off > 0).mean() < 0.001


def test_a_frame_of_another_size_is_refused() -> None:
    box = fit((10, 20), (32, 32), "center")
    with pytest.raises(ValueError, match=r"picture must be \(10, 20\) \(height, width\), got \(20, 10\)"):
        paint([torch.zeros((20, 10, 3), dtype=torch.uint8)], [box], 0)
