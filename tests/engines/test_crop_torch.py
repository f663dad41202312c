"""People's crops by torch, against cv2.warpAffine."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from engines.crop import Crops  # noqa: E402
from engines.crop_torch import cut, framed, placed  # noqa: E402
from engines.results import Image  # noqa: E402

SIZE = (256, 192)
EXACT = int(cv2.__version__.split(".")[0]) >= 5
"""Whether warpAffine rounds no positions; before, it rounds them to 1/32 pixel."""


def boxes_of(*rows: tuple[float, float, float, float]) -> NDArray[np.float32]:
    return np.array(rows, np.float32).reshape(-1, 4)


def random_boxes(count: int, size: tuple[int, int], seed: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    centers, sides = rng.uniform((0, 0), size[::-1], (count, 2)), rng.uniform(1, 900, (count, 2))
    return np.concatenate([centers - sides / 2, centers + sides / 2], axis=1).astype(np.float32)


def noise(size: tuple[int, int], seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def cut_by_torch(images: list[Image], owners: list[int], crops: Crops) -> NDArray[np.float32]:
    """The crops (M, height, width, 3)."""
    places = placed(crops, owners, [image.shape[:2] for image in images])
    pictures = cut(framed([torch.from_numpy(image) for image in images]), torch.from_numpy(places), crops.size)
    assert pictures.dtype == torch.float32
    assert pictures.shape == (len(owners), 3, *crops.size)
    return np.asarray(pictures.permute(0, 2, 3, 1))


def cut_by_opencv(images: list[Image], owners: list[int], crops: Crops) -> NDArray[np.uint8]:
    pictures = np.empty((len(owners), *crops.size, 3), np.uint8)
    for person, owner in enumerate(owners):
        crops.cut(person, images[owner], pictures[person])
    return pictures


@pytest.mark.parametrize("size", [SIZE, (128, 96), (256, 256), (65, 33)])
def test_a_grey_level_is_opencvs(size: tuple[int, int]) -> None:
    images = [noise(own, index) for index, own in enumerate([(1080, 1920), (427, 241), (50, 3), (1, 1)])]
    if not EXACT:  # a position 1/64 pixel off is worth less than a grey level where nothing is steep
        images = [cv2.GaussianBlur(image, (0, 0), 8) for image in images]
    owners = [index for index in range(4) for _ in range(6)]
    boxes = np.concatenate([random_boxes(6, image.shape[:2], seed) for seed, image in enumerate(images)])
    crops = Crops.around(boxes, size)
    off = np.abs(cut_by_torch(images, owners, crops) - cut_by_opencv(images, owners, crops))
    assert off.max() <= 1
    if EXACT:
        assert (off > 0).mean() < 1e-4


def test_people_may_be_of_any_picture_in_any_order() -> None:
    images = [noise((40, 60), 1), noise((30, 20), 2)]
    owners = [1, 0, 1, 1, 0]
    crops = Crops.around(random_boxes(5, (30, 20), 3) / 10, (32, 24))
    together = cut_by_torch(images, owners, crops)
    for person, owner in enumerate(owners):
        (alone,) = cut_by_torch([images[owner]], [0], Crops(crops.matrices[person : person + 1], crops.size))
        np.testing.assert_array_equal(together[person], alone)


def test_crop_at_scale_one_is_the_picture_itself() -> None:
    image = noise((400, 500))
    crops = Crops.around(boxes_of((120, 60, 312, 316)), SIZE, padding=1.0)
    np.testing.assert_array_equal(cut_by_torch([image], [0], crops)[0], image[60:316, 120:312])


def test_a_pixel_between_four_is_their_mean_and_half_of_two_at_the_edge() -> None:
    image = np.array([[0, 100], [200, 60]], np.uint8)[:, :, None].repeat(3, axis=2)
    matrices = np.array([[[1, 0, 0.5], [0, 1, 0.5]]])  # crop pixel (u, v) is at (u - 0.5, v - 0.5)
    crop = cut_by_torch([image], [0], Crops(matrices, (3, 3)))[0, :, :, 0]
    assert crop.tolist() == [[0, 25, 25], [50, 90, 40], [50, 65, 15]]


def test_crop_is_black_beyond_the_frame() -> None:
    image = np.full((300, 200, 3), 255, np.uint8)
    boxes = boxes_of((-96, 0, 96, 256), (5000, 5000, 5100, 5100), (-3e38, -3e38, 3e38, 3e38), (3e38, 0, 3e38, 0))
    crop, *others = cut_by_torch([image], [0] * 4, Crops.around(boxes, SIZE, padding=1.0))
    assert not crop[:, :96].any()
    assert (crop[:, 96:] == 255).all()
    assert not others[0].any()
    assert np.isfinite(np.stack(others)).all()


def test_no_people_give_no_crops() -> None:
    crops = Crops.around(boxes_of(), SIZE)
    assert cut_by_torch([noise((4, 4))], [], crops).shape == (0, *SIZE, 3)
