"""The lesson of poses: what is wanted of which joint, mirrored or not, how it is marked, and that it learns."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from drawn_people import (  # noqa: E402
    CELLS,
    JOINTS,
    MARGIN,
    SIZE,
    STICK,
    lesson_of,
    pack_of,
    stick_people,
    tiny_layout,
)
from torch import Generator, Tensor, nn  # noqa: E402

from engines.nets.hrnet import HRNet  # noqa: E402
from engines.training.looks import PLAIN  # noqa: E402
from engines.training.loop import Loop, LoopOptions  # noqa: E402
from engines.training.placement import STILL, PlacementOptions  # noqa: E402
from engines.training.pose import PoseLesson, PoseTraining, Stage, stages_of  # noqa: E402
from engines.training.pose_pack import FULL  # noqa: E402
from engines.training.targets import gaussians  # noqa: E402

MIRROR = [0, 2, 1, 4, 3]
HARD = [1.0, 1.5, 1.5, 1.5, 1.5]
"""Weights: of the nose, the wrists and the ankles."""
FLIPPED = PlacementOptions(turn_deg=0, scale=0, shift=0, flip=1, half_body=0)


class Told(nn.Module):
    """A network that gives what it was told of the people, in the order in which they come."""

    def __init__(self, maps: Tensor) -> None:
        super().__init__()
        self.maps, self.shown = maps, 0

    def forward(self, crops: Tensor) -> Tensor:
        first, self.shown = self.shown, self.shown + len(crops)
        return self.maps[first : self.shown]


def tiny(seed: int = 0) -> HRNet:
    torch.manual_seed(seed)
    return HRNet(tiny_layout())


def in_cells(points: np.ndarray) -> Tensor:
    """Packed pixels in cells of the still crop's heat maps."""
    return (torch.from_numpy(points) - torch.tensor(MARGIN)) / 4


def told_maps(count: int, seed: int = 3) -> np.ndarray:
    """What a teacher may have said: a number for each cell."""
    return np.random.default_rng(seed).integers(0, 256, (count, JOINTS, *CELLS), np.uint8)


def half_taught(count: int = 3) -> tuple[PoseLesson, np.ndarray, np.ndarray]:
    """A lesson in which nose and left wrist are labelled and the teacher tells the ankles; points and maps."""
    points, maps = stick_people(count), told_maps(count)
    labelled = np.repeat(np.array([[True, True, False, False, False]]), count, axis=0)
    taught = np.repeat(np.array([[False, False, False, True, True]]), count, axis=0)
    return lesson_of(tiny(), pack_of(points, labelled=labelled, taught=taught, maps=maps)), points, maps


def test_labelled_joints_take_the_label_and_the_others_what_the_teacher_says() -> None:
    lesson, points, maps = half_taught()
    batch = lesson._batch(np.arange(3), SIZE, STILL, Generator())
    assert (batch.crops.shape, batch.maps.shape) == ((3, 3, *SIZE), (3, JOINTS, *CELLS))
    torch.testing.assert_close(batch.maps[:, :2], gaussians(in_cells(points), CELLS)[:, :2])
    torch.testing.assert_close(batch.maps[:, 2:], torch.from_numpy(maps[:, 2:] / np.float32(FULL)), atol=1e-5, rtol=0)
    assert batch.weights.tolist() == [[1, 1.5, 0, 1.5, 1.5]] * 3


def test_a_mirrored_crop_has_the_mirrored_maps_with_left_and_right_swapped() -> None:
    lesson, points, _ = half_taught()
    still = lesson._batch(np.arange(3), SIZE, STILL, Generator())
    flipped = lesson._batch(np.arange(3), SIZE, FLIPPED, Generator())
    torch.testing.assert_close(flipped.crops, still.crops.flip(-1), atol=1e-4, rtol=0)
    assert flipped.weights.tolist() == [[1, 0, 1.5, 1.5, 1.5]] * 3
    # Pixel x is pixel 47 - x of the mirror, and so cell c is cell 11.75 - c.
    mirrored = in_cells(points)
    mirrored[..., 0] = 11.75 - mirrored[..., 0]
    torch.testing.assert_close(flipped.maps[:, 2], gaussians(mirrored, CELLS)[:, 1], atol=1e-5, rtol=0)
    back = still.maps.flip(-1)
    between = 0.25 * back + 0.75 * nn.functional.pad(back, (1, 0))[..., :-1]
    torch.testing.assert_close(flipped.maps[:, 3:], between[:, [4, 3]], atol=1e-4, rtol=0)


def test_joints_outside_the_crop_count_for_nothing() -> None:
    points = stick_people(1)
    points[0, 0] = (MARGIN[0] - 3, 40)  # three quarters of a cell outside
    points[0, 1] = (MARGIN[0] - 1, 40)
    points[0, 4] = (36, 16 + 64)  # a cell below the last one
    batch = lesson_of(tiny(), pack_of(points))._batch(np.arange(1), SIZE, STILL, Generator())
    assert batch.weights.tolist() == [[0, 1.5, 1.5, 1.5, 0]]


def test_crops_are_normalised_as_hrnet_eats_them() -> None:
    pack = pack_of(stick_people(1), crops=np.broadcast_to(np.array([255, 0, 51], np.uint8), (1, 96, 72, 3)).copy())
    crops = lesson_of(tiny(), pack)._batch(np.arange(1), SIZE, STILL, Generator()).crops
    wanted = [(0.2 - 0.485) / 0.229, (0 - 0.456) / 0.224, (1 - 0.406) / 0.225]  # blue, green, red came in
    torch.testing.assert_close(crops.mean((0, 2, 3)), torch.tensor(wanted))


def test_a_smaller_stage_shows_the_same_people() -> None:
    points = stick_people(2)
    batch = lesson_of(tiny(), pack_of(points))._batch(np.arange(2), (32, 24), STILL, Generator())
    assert batch.maps.shape == (2, JOINTS, 8, 6)
    torch.testing.assert_close(batch.maps, gaussians(in_cells(points) / 2, (8, 6)))


def test_a_step_that_is_done_again_is_the_same_and_the_next_is_another() -> None:
    lesson = lesson_of(tiny().eval(), pack_of(stick_people(8)), PlacementOptions())
    with torch.no_grad():
        first, again, other = (lesson.loss(lesson.network, step)[0].item() for step in (4, 4, 5))
    assert first == again
    assert first != other


def test_people_are_drawn_as_often_as_their_share_says() -> None:
    points = stick_people(3)
    points[1:] = -1000  # what is not in the crop costs nothing
    rows, training = np.arange(3), PoseTraining((Stage(SIZE, 60, 4),), placement=STILL, looks=PLAIN)

    def loss(*shares: float) -> float:
        network = tiny().eval()
        lesson = PoseLesson(network, pack_of(points), STICK, training, rows, rows, np.array(shares, float))
        return lesson.loss(network, 0)[0].item()

    assert loss(0, 1, 3) == 0
    assert loss(1, 0, 0) > 1


def test_stages_follow_each_other() -> None:
    stages = (Stage((32, 24), 3, 4), Stage(SIZE, 2, 4))
    lesson = lesson_of(tiny(), pack_of(stick_people(2)), stages=stages)
    assert [lesson.grade(step) for step in range(7)] == [0, 0, 0, 1, 1, 1, 1]
    assert PoseTraining(stages).steps == 5


def test_stages_are_told_in_words() -> None:
    assert stages_of(["128x96:6000:64", "256x192:900:32"]) == (
        Stage((128, 96), 6000, 64),
        Stage((256, 192), 900, 32),
    )


@pytest.mark.parametrize("word", ["128x96:6000", "128:6000:64", "axb:1:1", ""])
def test_words_that_are_no_stage_are_refused(word: str) -> None:
    with pytest.raises(ValueError, match=f"as 128x96:6000:64, got {word!r}"):
        stages_of([word])


def test_who_knows_all_joints_gets_the_best_marks_and_who_knows_none_none() -> None:
    points = stick_people(40)  # more than a call
    pack = pack_of(points)
    best = lesson_of(tiny(), pack).validate(Told(gaussians(in_cells(points), CELLS)), 0)
    assert best["pck_labelled"] == 1
    assert best["score"] == best["oks_labelled"] > 0.95
    far = lesson_of(tiny(), pack).validate(Told(torch.zeros(40, JOINTS, *CELLS)), 0)
    assert far["pck_labelled"] == 0
    assert far["score"] < 0.1


def test_marks_by_hand() -> None:
    # All joints are off by two cells, 8 pixels, of a box 64 / 1.25 high and 48 / 1.25 wide, of which 0.53 is body:
    # exp(-64 / (2 * 0.53 * 51.2 * 38.4 * 0.2^2)) = 0.4641, and 8 is more than a tenth of 51.2.
    cells = np.array([[[3, 4], [2, 6], [8, 6], [3, 11], [7, 11]]], np.float32)
    points = cells * 4 + np.array(MARGIN, np.float32)
    labelled = np.array([[True, True, False, False, False]])
    taught = np.array([[False, False, False, True, True]])
    maps = gaussians(torch.from_numpy(cells), CELLS) * torch.tensor([0.9, 0.9, 0.9, 0.9, 0.2])[:, None, None]
    pack = pack_of(points, labelled=labelled, taught=taught, maps=(maps * FULL).round().to(torch.uint8).numpy())
    off = torch.from_numpy(cells) + torch.tensor([2.0, 0.0])
    off[0, 0] = torch.from_numpy(cells)[0, 0]  # but the nose
    off[0, 4] = 0  # an ankle of which the teacher is not sure: not marked
    marks = lesson_of(tiny(), pack).validate(Told(gaussians(off, CELLS)), 0)
    wrong = math.exp(-64 / (2 * 0.53 * (64 / 1.25) * (48 / 1.25) * 0.2**2))
    assert wrong == pytest.approx(0.4641, abs=1e-4)
    mean = (1 + 2 * wrong) / 3
    assert marks == pytest.approx({"score": mean, "oks_labelled": mean, "pck_labelled": 0.5}, abs=1e-4)


def test_a_sheet_shows_the_held_people_in_their_colours() -> None:
    points = stick_people(3)
    sheet = lesson_of(tiny(), pack_of(points, labelled=np.zeros((3, JOINTS), np.bool_))).sheet(
        Told(torch.zeros(3, JOINTS, *CELLS)), 0
    )
    assert sheet is not None
    assert (sheet.shape, sheet.dtype) == ((64, 3 * 48, 3), np.uint8)
    x, y = np.round(points[1, 3] - np.array(MARGIN)).astype(int)
    assert np.abs(sheet[y, 48 + x].astype(int) - (40, 40, 255)).max() < 30


def test_a_tiny_network_learns_to_find_the_joints(tmp_path: Path) -> None:
    torch.manual_seed(0)
    pack = pack_of(stick_people(8))
    lesson = lesson_of(tiny(), pack)
    losses, marks = [], []
    options = LoopOptions(60, rate=0.02, warm_up=5, average=0.9, validate_every=30, precision="fp32")
    with torch.inference_mode():
        first = lesson.validate(lesson.network.eval(), 0)["pck_labelled"]
    Loop(lesson, options, tmp_path).run(
        lambda _, told: losses.append(told["loss"]) if "loss" in told else marks.append(told["val/pck_labelled"])
    )
    assert len(losses) == 60
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) / 2
    assert marks[-1] > first + 0.3


@pytest.mark.gpu
def test_the_gpu_learns_the_same_and_the_cpu_goes_on(tmp_path: Path) -> None:
    points, options = stick_people(8), LoopOptions(2, warm_up=0, validate_every=2, precision="fp32")
    labelled = np.ones((8, JOINTS), np.bool_)
    labelled[:, 3:] = False
    pack = pack_of(points, labelled=labelled, taught=~labelled, maps=told_maps(8))
    told: dict[str, list[float]] = {"cpu": [], "cuda": []}
    for device, losses in told.items():
        training = PoseTraining((Stage(SIZE, 3, 8),))  # turned, and of other looks
        lesson = PoseLesson(tiny(), pack, STICK, training, np.arange(8), np.arange(8), np.ones(8), device=device)
        loop = Loop(lesson, options, tmp_path / device, device)
        loop.run(lambda _, figures, losses=losses: losses.append(figures.get("loss", figures.get("val/score"))))
        assert (tmp_path / device / "validation-0000002.jpg").is_file()
    assert told["cuda"] == pytest.approx(told["cpu"], rel=0.02)
    lesson = lesson_of(tiny(), pack, stages=(Stage(SIZE, 3, 8),))
    assert Loop(lesson, LoopOptions(3), tmp_path / "cuda").run(lambda *_: None).step == 3
