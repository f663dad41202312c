"""Batches of varied pictures: where boxes go when pixels go there."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from engines.training.labels import LabelledPicture, Labels  # noqa: E402
from engines.training.mosaic import (  # noqa: E402
    MosaicOptions,
    Placing,
    collate,
    judge,
    letterboxed,
    make_batch,
    place,
    recolour,
)
from engines.training.picture_pack import PackedPeople, PicturePack, open_picture_pack  # noqa: E402

SIZE = (64, 96)


@pytest.fixture
def pack(tmp_path: Path) -> PicturePack:
    """Two black pictures with a white person each, and one without."""
    pictures = []
    for name, (height, width), boxes in (
        ("a.png", (40, 60), [[10, 10, 25, 30]]),
        ("b.png", (60, 40), [[5, 20, 25, 50]]),
        ("c.png", (32, 32), []),
    ):
        pixels: NDArray[np.uint8] = np.zeros((height, width, 3), np.uint8)
        for x1, y1, x2, y2 in boxes:
            pixels[y1:y2, x1:x2] = 255
        cv2.imwrite(str(tmp_path / name), pixels)
        count = len(boxes)
        labels = Labels(
            np.array(boxes, np.float32).reshape(-1, 4),
            np.zeros((count, 17, 2), np.float32),
            np.zeros((count, 17), np.bool_),
            np.zeros(count, np.bool_),
        )
        pictures.append(LabelledPicture(tmp_path / name, labels, True))
    return open_picture_pack(tmp_path / "pack", pictures)


def people(boxes: list[list[float]], passed: list[bool] | None = None) -> PackedPeople:
    return PackedPeople(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.ones(len(boxes), np.float32),
        np.array(passed or [False] * len(boxes), np.bool_),
    )


@pytest.mark.parametrize("is_mirrored", [False, True])
def test_boxes_go_where_their_pixels_go(pack: PicturePack, is_mirrored: bool) -> None:
    canvas: NDArray[np.uint8] = np.full((*SIZE, 3), 7, np.uint8)
    placing = Placing((1.5, 0.5), (3.0, 30.0), is_mirrored)
    found = place(pack, 0, canvas, (0, 10, 96, 64), placing)
    left = 3 + 1.5 * (60 - 25 if is_mirrored else 10)
    assert found.boxes.tolist() == [[left, 30 + 5, left + 1.5 * 15, 30 + 15]]
    assert (canvas[:10] == 7).all()  # outside the area
    assert (canvas[11:29] == 114).all()
    white = np.argwhere(canvas[..., 0] > 128)
    assert np.abs(white.min(axis=0) - [35, left]).max() <= 1
    assert np.abs(white.max(axis=0) + 1 - [45, left + 22.5]).max() <= 1


def test_an_area_shows_its_own_pixels_only(pack: PicturePack) -> None:
    canvas: NDArray[np.uint8] = np.full((*SIZE, 3), 7, np.uint8)
    found = place(pack, 0, canvas, (20, 20, 40, 40), Placing((1.0, 1.0), (5.0, 5.0)))
    assert found.boxes.tolist() == [[15, 15, 30, 35]]
    assert (canvas[20:35, 20:30] == 255).all()
    assert (canvas[35:40, 20:40] == 0).all()
    assert (canvas[40:] == 7).all()


def test_people_are_clipped_and_those_of_whom_little_is_left_passed_over() -> None:
    """Left: all, 40 %, 20 %, 5 pixels of width, nothing; the last was passed over before."""
    found = judge(
        people(
            [
                [10, 10, 30, 30],
                [-12, 0, 8, 20],
                [0, -32, 20, 8],
                [40, 10, 45, 30],
                [200, 10, 220, 30],
                [50, 10, 70, 30],
            ],
            [False] * 5 + [True],
        ),
        (0, 0, 96, 64),
        0.3,
        6.0,
    )
    assert found.boxes.tolist() == [
        [10, 10, 30, 30],
        [0, 0, 8, 20],
        [0, 0, 20, 8],
        [40, 10, 45, 30],
        [50, 10, 70, 30],
    ]
    assert found.passed.tolist() == [False, False, True, True, True]


def test_letterboxed_is_in_the_top_left_and_pads_with_114(pack: PicturePack) -> None:
    image, found = letterboxed(pack, 1, SIZE)
    scale = 64 / 60
    assert image.shape == (64, 96, 3)
    assert (image[:, 43:] == 114).all()
    assert (image[0, :40] == 0).all()
    np.testing.assert_allclose(found.boxes, [[5 * 43 / 40, 20 * scale, 25 * 43 / 40, 50 * scale]], rtol=1e-6)


def test_colours_change_as_said() -> None:
    image: NDArray[np.uint8] = np.zeros((2, 2, 3), np.uint8)
    image[..., 2] = 200  # red
    assert recolour(image, (0.0, 1.0, 1.0))[0, 0].tolist() == [0, 0, 200]
    assert recolour(image, (0.0, 1.0, 0.5))[0, 0].tolist() == [0, 0, 100]
    assert recolour(image, (0.0, 0.0, 1.0))[0, 0].tolist() == [200, 200, 200]
    assert recolour(image, (1 / 3, 1.0, 1.0))[0, 0].tolist() == [0, 200, 0]


def test_a_batch_is_padded_and_its_people_come_back() -> None:
    images: list[NDArray[np.uint8]] = [np.zeros((32, 64, 3), np.uint8), np.full((32, 64, 3), 9, np.uint8)]
    batch = collate(images, [people([[0, 0, 8, 8], [1, 1, 9, 9], [2, 2, 10, 10]], [False, True, False]), people([])])
    assert batch.images.shape == (2, 3, 32, 64)
    assert batch.images.dtype == torch.float32
    assert batch.images[1].unique().tolist() == [9]
    assert batch.boxes.shape == (2, 2, 4)
    assert batch.counts.tolist() == [2, 0]
    assert batch.passed_counts.tolist() == [1, 0]
    first, second = batch.people()
    assert first.boxes.tolist() == [[0, 0, 8, 8], [2, 2, 10, 10]]
    assert first.weights.tolist() == [1, 1]
    assert first.passed.tolist() == [[1, 1, 9, 9]]
    assert second.boxes.shape == second.passed.shape == (0, 4)


@pytest.mark.parametrize("is_plain", [False, True])
def test_the_same_chance_gives_the_same_batch(pack: PicturePack, is_plain: bool) -> None:
    def drawn(seed: int) -> torch.Tensor:
        rng = np.random.default_rng(seed)
        return make_batch(pack, [0, 1, 2], SIZE, 3, rng, MosaicOptions(), is_plain=is_plain).images

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_boxes_hold_the_people_in_whatever_is_drawn(pack: PicturePack, share: float) -> None:
    """The people are white, all else is black or grey: no bright pixel lies outside what is said of them."""
    options = MosaicOptions(mosaic=share, hue=0, saturation=0, value=0)
    batch = make_batch(pack, [0, 1, 2], SIZE, 40, np.random.default_rng(5), options)
    seen = 0
    for image, own in zip(batch.images, batch.people(), strict=True):
        bright = image[0] > 200
        for x1, y1, x2, y2 in torch.cat([own.boxes, own.passed]).tolist():
            rows, columns = slice(max(0, int(y1) - 1), int(y2) + 2), slice(max(0, int(x1) - 1), int(x2) + 2)
            seen += int(bright[rows, columns].sum())
            bright[rows, columns] = False
        assert not bright.any()
        assert (own.boxes[:, 2:] - own.boxes[:, :2] >= 6).all()
    assert seen > 1000


def test_plain_pictures_are_no_larger_than_the_letterbox_makes_them(pack: PicturePack) -> None:
    batch = make_batch(pack, [0], SIZE, 20, np.random.default_rng(0), MosaicOptions(), is_plain=True)
    heights = torch.stack([own.boxes[0, 3] - own.boxes[0, 1] for own in batch.people()])
    assert heights.max() <= 20 * 1.6 + 1e-3
    assert heights.min() >= 0.75 * 20 * 1.6 - 1e-3
    assert heights.max() - heights.min() > 2


@pytest.mark.parametrize(
    ("options", "message"), [({"mosaic": 2.0}, "mosaic must be in"), ({"scale": (0.0, 1.0)}, "scale must be a range")]
)
def test_options_that_make_no_sense(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MosaicOptions(**options)  # type: ignore[arg-type]
