from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from engines.cards import make_card
from engines.heatmap import flip_back
from engines.hrnet import PoseEstimator
from engines.skeletons import COCO17
from stream.folder.poser import HeatmapTap, Poser

MakePoser = Callable[..., Poser]
NOBODY = np.zeros((0, 4), np.float32)


def spot(x: int, y: int) -> np.ndarray:
    """A picture (120, 200) with a green spot around (x, y)."""
    image = np.zeros((120, 200, 3), np.uint8)
    image[y - 2 : y + 3, x - 2 : x + 3, 1] = 255
    return image


@pytest.mark.parametrize("stretch", [False, True])
@pytest.mark.parametrize("box", [(60, 10, 120, 90), (60, 10, 130, 40), (100, 20, 110, 100)])
def test_the_spot_is_found_where_it_is_whatever_the_crop(
    make_poser: MakePoser, stretch: bool, box: tuple[int, int, int, int]
) -> None:
    x, y = (box[0] + box[2]) // 2, (box[1] + box[3]) // 2
    (posed,) = make_poser(stretch=stretch).pose([spot(x, y)], [np.array([box], np.float32)])
    # A cell is 1/12 of the crop's width and 1/16 of its height, which is up to 107 by 142 pixels here.
    np.testing.assert_allclose(posed.poses.keypoints[0, 0], (x, y), atol=6)


def test_joints_in_cells_are_where_the_heat_maps_are_highest(make_poser: MakePoser) -> None:
    box = np.array([[60, 10, 120, 90]], np.float32)
    (posed,) = make_poser().pose([spot(80, 30)], [box])
    assert posed.heatmap_size == (16, 12)
    assert posed.heatmaps is not None
    assert posed.heatmaps.shape == (1, 17, 16, 12)
    row, column = np.unravel_index(posed.heatmaps[0, 0].argmax(), (16, 12))
    # 80 lies 10 left of the middle of the box; crops are 75 by 100 and 12 by 16 cells: 6 - 1.6 and 8 - 3.2.
    assert (column, row) == (4, 5) or (column, row) == (4, 4)
    np.testing.assert_allclose(posed.cells[0, 0], (column, row), atol=0.2501)


def test_the_crop_that_is_shown_is_the_one_the_network_saw(make_poser: MakePoser) -> None:
    image, boxes = spot(80, 30), np.array([[60, 10, 120, 90]], np.float32)
    for stretch in (False, True):
        poser = make_poser(stretch=stretch)
        (posed,) = poser.pose([image], [boxes])
        (crop,) = poser.crops(image, boxes)
        green = crop[..., 1].reshape(16, 4, 12, 4).mean(axis=(1, 3)) / 255
        assert posed.heatmaps is not None
        np.testing.assert_allclose(posed.heatmaps[0, 0], green, atol=1e-6)


def test_a_stretched_crop_is_the_cut_itself(make_poser: MakePoser) -> None:
    image = np.zeros((40, 40, 3), np.uint8)
    image[10:30, 5:35] = (10, 20, 30)
    (crop,) = make_poser(stretch=True).crops(image, np.array([[5, 10, 35, 30]], np.float32))
    assert crop.shape == (64, 48, 3)
    assert (crop == (10, 20, 30)).all()


def test_people_of_many_pictures_go_through_together_and_come_back_to_their_own(make_poser, network) -> None:
    box = np.array([[60, 10, 120, 90]], np.float32)
    images = [spot(80, 30), spot(80, 30), spot(100, 70)]
    first, nobody, two = make_poser(network=network).pose(images, [box, NOBODY, np.concatenate([box, box])])
    assert network.batches == [3]
    assert [len(one.poses.keypoints) for one in (first, nobody, two)] == [1, 0, 2]
    assert nobody.heatmaps is not None
    assert nobody.heatmaps.shape == (0, 17, 16, 12)
    np.testing.assert_allclose(first.poses.keypoints[0, 0], (80, 30), atol=4)
    np.testing.assert_allclose(two.poses.keypoints[:, 0], [(100, 70)] * 2, atol=4)


@pytest.mark.parametrize("stretch", [False, True])
def test_nobody_at_all_asks_nothing_of_the_network(make_poser, network, stretch: bool) -> None:
    (posed,) = make_poser(network=network, stretch=stretch).pose([spot(9, 9)], [NOBODY])
    assert network.batches == []
    assert posed.poses.keypoints.shape == (0, 17, 2)
    assert posed.heatmaps is None


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_the_flip_test_averages_with_the_mirror(network, shift: float) -> None:
    tap = HeatmapTap(network, COCO17.pairs, shift)
    batch = np.random.default_rng(0).random((2, 3, 64, 48), np.float32)
    (plain,) = network.infer(batch)
    (mirrored,) = network.infer(np.ascontiguousarray(batch[..., ::-1]))
    (found,) = tap.infer(batch)
    np.testing.assert_array_equal(found, (plain + flip_back(mirrored, COCO17.pairs, shift)) / 2)
    kept = tap.take()
    assert kept is not None
    np.testing.assert_array_equal(kept, found)
    assert tap.take() is None


def test_heat_maps_that_nobody_wants_are_not_told(network) -> None:
    inputs = {"size": (64, 48), "mean": [0, 0, 0], "std": [1, 1, 1]}
    card = make_card("spot", {"name": "spot", "family": "heatmap", "skeleton": "coco17", "input": inputs})
    poser = Poser(PoseEstimator(network, card), COCO17, (64, 48), (16, 12))
    (posed,) = poser.pose([spot(80, 30)], [np.array([[60, 10, 120, 90]], np.float32)])
    assert posed.heatmaps is None
    np.testing.assert_allclose(posed.cells[0, 0], (4.4, 4.8), atol=1)


def test_a_box_off_the_picture_is_posed_none_the_less(make_poser: MakePoser) -> None:
    boxes = np.array([[-50, -50, -10, -10], [190, 100, 300, 300]], np.float32)
    for stretch in (False, True):
        (posed,) = make_poser(stretch=stretch).pose([spot(80, 30)], [boxes])
        assert np.isfinite(posed.poses.keypoints).all()
