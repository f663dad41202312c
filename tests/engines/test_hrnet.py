"""Boxes to poses, through a network that is drawn rather than learnt."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.backends.base import EngineError, TensorSpec
from engines.cards import ModelCard, make_card
from engines.heatmap import Decode, mirrored_order
from engines.hrnet import PoseEstimator, PoseOptions
from engines.results import Image
from engines.skeletons import COCO17

Floats = NDArray[np.float32]

SIZE = (256, 192)
STRIDE = 4


def pose_card(**changes: Any) -> ModelCard:
    """A card of a network that sees pixels as they are: RGB, 0 to 255."""
    plain = {"size": SIZE, "color": "rgb", "scale": 1.0, "mean": [0, 0, 0], "std": [1, 1, 1]}
    return make_card("test", {"name": "drawn", "family": "heatmap", "input": plain, "skeleton": "coco17", **changes})


class BrightSpots:
    """Joint k is where channel k % 3 is brightest: heat map cell (x, y) is pixel (4x, 4y) of the crop."""

    name = "drawn"
    inputs = (TensorSpec("image", (None, 3, *SIZE), "float32"),)
    outputs = (TensorSpec("heatmaps", (None, 17, 64, 48), "float32"),)

    def __init__(self) -> None:
        self.batches: list[Floats] = []

    def infer(self, batch: Floats) -> tuple[Floats, ...]:
        self.batches.append(batch)
        cells = batch[:, :, ::STRIDE, ::STRIDE] / np.float32(255)
        return (np.ascontiguousarray(cells[:, np.arange(17) % 3]),)

    def close(self) -> None: ...


class BrightLines(BrightSpots):
    """The same as SimCC vectors: each pixel twice."""

    outputs = (
        TensorSpec("simcc_x", (None, 17, 2 * SIZE[1]), "float32"),
        TensorSpec("simcc_y", (None, 17, 2 * SIZE[0]), "float32"),
    )

    def infer(self, batch: Floats) -> tuple[Floats, ...]:
        self.batches.append(batch)
        joints = batch[:, np.arange(17) % 3] / np.float32(255)
        return joints.max(axis=2).repeat(2, axis=-1), joints.max(axis=3).repeat(2, axis=-1) / 2


class SwappedLines(BrightLines):
    """The same with y first, under the names it is given."""

    def __init__(self, *names: str, square: bool = False) -> None:
        super().__init__()
        sides = (SIZE[0], SIZE[0] if square else SIZE[1])
        self.inputs = (TensorSpec("image", (None, 3, *sides), "float32"),)
        self.outputs = tuple(
            TensorSpec(name, (None, 17, 2 * side), "float32") for name, side in zip(names, sides, strict=True)
        )

    def infer(self, batch: Floats) -> tuple[Floats, ...]:
        return super().infer(batch)[::-1]


class Says(BrightSpots):
    """Returns zeros of the shapes it is told, whatever it promised."""

    def __init__(self, *shapes: tuple[int, ...]) -> None:
        super().__init__()
        self._shapes = shapes

    def infer(self, batch: Floats) -> tuple[Floats, ...]:
        return tuple(np.zeros(shape, np.float32) for shape in self._shapes)


class OneCellPerJoint(BrightSpots):
    """A person whose joint k is at cell (10 + k, 20 + k), also when it stands in the mirror."""

    def infer(self, batch: Floats) -> tuple[Floats, ...]:
        maps = np.zeros((1, 17, 64, 48), np.float32)
        for joint in range(17):
            maps[0, joint, 20 + joint, 10 + joint] = 1
        if self.batches:  # the second call sees the mirror, where cell x is cell 48 - x
            maps = np.ascontiguousarray(maps[:, mirrored_order(17, COCO17.pairs), :, ::-1])
            maps = np.roll(maps, 1, axis=-1)
        self.batches.append(batch)
        return (maps,)


def spots(size: tuple[int, int], centers: NDArray[np.float64], sigma: float) -> Image:
    """A black picture (H, W, 3) BGR with a spot in each of red, green and blue at `centers` (3, 2) xy."""
    ys, xs = np.mgrid[: size[0], : size[1]]
    rgb = [np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / (2 * sigma**2)) for x, y in centers]
    return np.round(np.stack(rgb[::-1], axis=-1) * 255).astype(np.uint8)


def boxes_of(*rows: tuple[float, float, float, float]) -> Floats:
    return np.array(rows, np.float32).reshape(-1, 4)


def random_people(count: int) -> list[tuple[Image, Floats, NDArray[np.float64], float]]:
    """Pictures with one person each: picture, box (1, 4), its spots (3, 2), and pixels of the frame to a cell.

    Some boxes reach beyond the frame; the spots are inside both.
    """
    rng = np.random.default_rng(8)
    people = []
    while len(people) < count:
        center, sides = rng.uniform((40, 40), (360, 260)), rng.uniform(60, 300, 2)
        box = np.concatenate([center - sides / 2, center + sides / 2]).astype(np.float32)
        centers = rng.uniform(center - sides * 0.4, center + sides * 0.4, (3, 2))
        if (centers > 20).all() and (centers < (380, 280)).all():
            cell = STRIDE * max(sides[0] / SIZE[1], sides[1] / SIZE[0]) * 1.25
            people.append((spots((300, 400), centers, 2 * cell), box[None], centers, cell))
    return people


@pytest.mark.parametrize(("decode", "error", "bias"), [("quarter", 0.3, 0.03), ("dark", 0.1, 0.02)])
def test_spots_of_the_frame_come_back_without_bias(decode: Decode, error: float, bias: float) -> None:
    estimator = PoseEstimator(BrightSpots(), pose_card(), PoseOptions(decode=decode))
    people = random_people(60)
    poses = estimator.estimate([person[0] for person in people], [person[1] for person in people])
    off = np.stack([(p.keypoints[0, :3] - person[2]) / person[3] for p, person in zip(poses, people, strict=True)])
    assert np.abs(off).max() < error  # heat-map cells
    assert np.abs(off.mean(axis=(0, 1))).max() < bias


def test_flip_test_leaves_spots_where_they_are() -> None:
    estimator = PoseEstimator(BrightSpots(), pose_card(), PoseOptions(decode="dark", flip_test=True))
    people = random_people(30)
    grey = [np.repeat(person[0][:, :, 2:], 3, axis=2) for person in people]  # left and right joints are one spot
    poses = estimator.estimate(grey, [person[1] for person in people])
    off = np.stack([(p.keypoints[0] - person[2][:1]) / person[3] for p, person in zip(poses, people, strict=True)])
    # The reference moves mirrored maps by one cell, not by three quarters: the mean of both is an eighth off.
    assert np.abs(off - np.array([0.125, 0])).max() < 0.1


def test_flip_test_shows_the_mirrored_crop() -> None:
    backend = BrightSpots()
    estimator = PoseEstimator(backend, pose_card(), PoseOptions(flip_test=True))
    image = spots((256, 192), np.array([[60.0, 40], [100, 120], [140, 200]]), 8)
    estimator.estimate([image], [boxes_of((0, 0, 192, 256))])
    straight, mirrored = backend.batches
    np.testing.assert_array_equal(mirrored, straight[..., ::-1])
    assert mirrored.flags.c_contiguous


def test_flip_test_averages_each_joint_with_itself() -> None:
    estimator = PoseEstimator(OneCellPerJoint(), pose_card(), PoseOptions(decode="argmax", flip_test=True, padding=1.0))
    (poses,) = estimator.estimate([np.zeros((256, 192, 3), np.uint8)], [boxes_of((0, 0, 192, 256))])
    assert poses.scores.tolist() == [[1.0] * 17]  # one half where left met right
    assert poses.keypoints[0].tolist() == [[(10 + k) * STRIDE, (20 + k) * STRIDE] for k in range(17)]


def test_simcc_finds_the_spots_with_the_smaller_score() -> None:
    centers = np.array([[60.0, 40], [100, 120], [140, 200]])
    for flip_test in (False, True):
        backend = BrightLines()
        card = pose_card(family="simcc")
        estimator = PoseEstimator(backend, card, PoseOptions(padding=1.0, flip_test=flip_test))
        image = np.repeat(spots((256, 192), centers, 8)[:, :, 2:], 3, axis=2)
        (poses,) = estimator.estimate([image], [boxes_of((0, 0, 192, 256))])
        np.testing.assert_allclose(poses.keypoints[0], np.tile(centers[:1], (17, 1)), atol=0.5)
        np.testing.assert_allclose(poses.scores, 0.5, atol=0.01)


@pytest.mark.parametrize("names", [("simcc_y", "simcc_x"), ("a", "b")])
@pytest.mark.parametrize("flip_test", [False, True])
def test_simcc_vectors_are_found_in_either_order(names: tuple[str, str], flip_test: bool) -> None:
    options = PoseOptions(padding=1.0, flip_test=flip_test)
    centers = np.array([[60.0, 40]] * 3)
    image = spots((256, 192), centers, 8)
    (poses,) = PoseEstimator(SwappedLines(*names), pose_card(family="simcc"), options).estimate(
        [image], [boxes_of((0, 0, 192, 256))]
    )
    np.testing.assert_allclose(poses.keypoints[0], np.tile(centers[:1], (17, 1)), atol=0.5)


def test_simcc_vectors_of_a_square_crop_go_by_their_names() -> None:
    square = {"size": (256, 256), "color": "rgb", "scale": 1.0, "mean": [0, 0, 0], "std": [1, 1, 1]}
    card = pose_card(family="simcc", input=square)
    centers = np.array([[60.0, 40]] * 3)
    (poses,) = PoseEstimator(SwappedLines("simcc_y", "simcc_x", square=True), card, PoseOptions(padding=1.0)).estimate(
        [spots((256, 256), centers, 8)], [boxes_of((0, 0, 256, 256))]
    )
    np.testing.assert_allclose(poses.keypoints[0], np.tile(centers[:1], (17, 1)), atol=0.5)
    with pytest.raises(EngineError, match=r"which of a and b is x cannot be told, .* simcc_x and simcc_y"):
        PoseEstimator(SwappedLines("a", "b", square=True), card)


def test_simcc_names_that_contradict_the_shapes_are_refused() -> None:
    with pytest.raises(EngineError, match=r"outputs are \[N, 17, 512\] \[N, 17, 384\], wanted \[N, 17, 384\]"):
        PoseEstimator(SwappedLines("simcc_x", "simcc_y"), pose_card(family="simcc"))


def test_people_go_back_to_their_own_picture_in_order() -> None:
    estimator = PoseEstimator(BrightSpots(), pose_card())
    images, boxes, expected = [], [], []
    for count in (2, 0, 1, 3):
        at = np.array([100.0 + 40 * len(images), 150])
        images.append(spots((300, 400), np.tile(at, (3, 1)), 6))
        boxes.append(boxes_of(*[(at[0] - 40 - i, 70, at[0] + 40, 240 + i) for i in range(count)]))
        expected.append(np.tile(at, (count, 17, 1)))
    poses = estimator.estimate(images, boxes)
    assert [len(p.keypoints) for p in poses] == [2, 0, 1, 3]
    for found, wanted in zip(poses, expected, strict=True):
        assert found.skeleton is estimator.skeleton is COCO17
        assert found.keypoints.dtype == found.scores.dtype == np.float32
        np.testing.assert_allclose(found.keypoints, wanted, atol=2)
        np.testing.assert_allclose(found.scores, 1, atol=0.1)


@pytest.mark.parametrize(("max_batch", "sizes"), [(32, [7]), (7, [7]), (3, [3, 3, 1]), (1, [1] * 7)])
def test_all_people_of_a_step_are_cut_at_the_largest_batch(max_batch: int, sizes: list[int]) -> None:
    backend = BrightSpots()
    estimator = PoseEstimator(backend, pose_card(), PoseOptions(max_batch=max_batch))
    image = spots((300, 400), np.array([[100.0, 100], [150, 150], [200, 120]]), 6)
    boxes = [boxes_of(*[(50 + i, 50, 250, 250) for i in range(n)]) for n in (4, 3)]
    poses = estimator.estimate([image, image], boxes)
    assert [len(batch) for batch in backend.batches] == sizes
    assert all(b.dtype == np.float32 and b.flags.c_contiguous and b.shape[1:] == (3, *SIZE) for b in backend.batches)
    one_by_one = [PoseEstimator(BrightSpots(), pose_card()).estimate([image], [box[None]])[0] for box in boxes[0]]
    np.testing.assert_array_equal(poses[0].keypoints, np.concatenate([p.keypoints for p in one_by_one]))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_nobody_costs_no_call_of_the_backend(count: int) -> None:
    backend = BrightSpots()
    image = np.zeros((48, 64, 3), np.uint8)
    poses = PoseEstimator(backend, pose_card()).estimate([image] * count, [boxes_of()] * count)
    assert [p.keypoints.shape for p in poses] == [(0, 17, 2)] * count
    assert [p.scores.shape for p in poses] == [(0, 17)] * count
    assert backend.batches == []


def test_pixels_are_normalised_in_the_order_of_the_card() -> None:
    image = np.full((300, 300, 3), (10, 20, 30), np.uint8)  # blue, green, red
    for color, order in (("rgb", (30, 20, 10)), ("bgr", (10, 20, 30))):
        spec = {"size": SIZE, "color": color, "scale": 0.1, "mean": [1.0, 2.0, 0.5], "std": [2.0, 0.5, 1.0]}
        backend = BrightSpots()
        PoseEstimator(backend, pose_card(input=spec)).estimate([image], [boxes_of((100, 100, 200, 200))])
        wanted = [(order[0] * 0.1 - 1) / 2, (order[1] * 0.1 - 2) / 0.5, order[2] * 0.1 - 0.5]
        np.testing.assert_allclose(backend.batches[0][0, :, 128, 96], wanted, atol=1e-5)


def test_points_outside_the_frame_are_left_there() -> None:
    estimator = PoseEstimator(Says((1, 17, 64, 48)), pose_card())  # flat maps: cell (0, 0) of the crop
    (poses,) = estimator.estimate([np.zeros((100, 100, 3), np.uint8)], [boxes_of((0, 0, 96, 128))])
    assert poses.keypoints[0, 0].tolist() == [-12, -16]


def test_boxes_without_area_and_off_the_frame_give_finite_poses() -> None:
    boxes = boxes_of((10, 10, 10, 10), (500, 500, 600, 700), (-90, 0, -20, 60), (30, 30, 20, 10))
    (poses,) = PoseEstimator(BrightSpots(), pose_card()).estimate([np.full((48, 64, 3), 90, np.uint8)], [boxes])
    assert np.isfinite(poses.keypoints).all()
    assert poses.scores[1:3].max() == 0  # black crops
    assert poses.scores[0].max() > 0.3


def test_each_image_needs_its_boxes() -> None:
    estimator = PoseEstimator(BrightSpots(), pose_card())
    image = np.zeros((48, 64, 3), np.uint8)
    with pytest.raises(ValueError, match="boxes must be given for each image, got 1 for 2 images"):
        estimator.estimate([image, image], [boxes_of()])
    with pytest.raises(ValueError, match=r"boxes must be \(N, 4\), got \(4,\)"):
        estimator.estimate([image], [np.zeros(4, np.float32)])
    with pytest.raises(ValueError, match="boxes must be float32, got float64"):
        estimator.estimate([image], [np.zeros((1, 4))])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("family", "shapes", "said"),
    [
        ("heatmap", [(1, 16, 64, 48)], r"outputs are \[1, 16, 64, 48\], wanted \[1, 17, N, N\] for heatmap of coco17"),
        ("heatmap", [(1, 17, 64)], r"outputs are \[1, 17, 64\], wanted \[1, 17, N, N\]"),
        ("heatmap", [(2, 17, 64, 48)], r"outputs are \[2, 17, 64, 48\], wanted \[1, 17, N, N\]"),
        ("heatmap", [(1, 17, 384), (1, 17, 512)], r"outputs are \[1, 17, 384\] \[1, 17, 512\], wanted"),
        ("heatmap", [], r"outputs are none, wanted \[1, 17, N, N\]"),
        ("simcc", [(1, 17, 64, 48)], r"wanted \[1, 17, 384\] \[1, 17, 512\] for simcc of coco17 \(17 joints\)"),
        ("simcc", [(1, 17, 512), (1, 17, 384)], r"outputs are \[1, 17, 512\] \[1, 17, 384\], wanted"),
    ],
)
def test_outputs_unlike_the_card_are_an_engine_error(family: str, shapes: list[tuple[int, ...]], said: str) -> None:
    backend = Says(*shapes)
    backend.outputs = BrightLines.outputs if family == "simcc" else BrightSpots.outputs
    estimator = PoseEstimator(backend, pose_card(family=family))
    with pytest.raises(EngineError, match="^drawn: .*" + said + ".*; correct family, size or skeleton on its card$"):
        estimator.estimate([np.zeros((48, 64, 3), np.uint8)], [boxes_of((0, 0, 20, 40))])


def test_promised_outputs_unlike_the_card_are_found_at_once() -> None:
    with pytest.raises(
        EngineError, match=r"outputs are \[N, 17, 64, 48\], wanted \[N, 16, N, N\] for heatmap of mpii16"
    ):
        PoseEstimator(BrightSpots(), pose_card(skeleton="mpii16"))
    free = BrightSpots()
    free.outputs = (TensorSpec("heatmaps", (None, None, None, None), "float32"),)
    assert PoseEstimator(free, pose_card()).skeleton is COCO17


def test_detector_is_no_pose_model() -> None:
    card = dataclasses.replace(pose_card(), task="detect", family="yolox", skeleton=None)
    with pytest.raises(EngineError, match="drawn: its task is detect, wanted pose; choose another model for --pose"):
        PoseEstimator(BrightSpots(), card)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"decode": "soft"}, "decode must be one of argmax, quarter, dark, got 'soft'"),
        ({"max_batch": 0}, "max_batch must be 1 or more, got 0"),
        ({"padding": 0.0}, "padding must be above 0, got 0.0"),
        ({"padding": float("nan")}, "padding must be above 0, got nan"),
        ({"dark_kernel": 10}, "dark_kernel must be odd, got 10"),
    ],
)
def test_options_out_of_range_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        PoseOptions(**wrong)
