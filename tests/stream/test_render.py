from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.results import Image, Poses
from engines.skeletons import COCO17, MPII16
from stream.frame import Frame
from stream.pipeline import Result
from stream.render import ACCENTS, LEFT, MIDDLE, RIGHT, Style, draw, draw_text
from tracker.results import Tracks

GREY = 90
LEFT_WRIST, RIGHT_WRIST, LEFT_ELBOW = 9, 10, 7
BARE = Style(ids=False)


def picture(size: tuple[int, int]) -> Image:
    return np.full((*size, 3), GREY, np.uint8)


def result(
    keypoints: NDArray[np.float32],
    scores: NDArray[np.float32] | float = 1.0,
    boxes: NDArray[np.float32] | None = None,
    ids: list[int] | None = None,
    size: tuple[int, int] = (48, 64),
    skeleton=COCO17,
) -> Result:
    people, joints = keypoints.shape[:2]
    scores = np.broadcast_to(np.asarray(scores, np.float32), (people, joints)).copy()
    if boxes is None:
        boxes = np.tile(np.array([10, 10, 30, 40], np.float32), (people, 1))
    ids = list(range(1, people + 1)) if ids is None else ids
    frame = Frame(picture(size), 0, 0, Fraction(1, 25), "x", 0)
    tracks = Tracks(np.array(ids, np.int64), boxes, np.ones(people, np.float32))
    return Result(frame, tracks, Poses(keypoints.astype(np.float32), scores, skeleton))


def one_joint(joint: int, x: float, y: float, **more: object) -> Result:
    scores = np.zeros((1, 17), np.float32)
    scores[0, joint] = 1
    return result(np.full((1, 17, 2), (x, y), np.float32), scores, **more)


def outside(shape: tuple[int, ...], rectangles: NDArray[np.int32]) -> NDArray[np.bool_]:
    mask = np.ones(shape[:2], bool)
    for x1, y1, x2, y2 in rectangles.tolist():
        mask[y1:y2, x1:x2] = False
    return mask


def wild_pose(rng: np.random.Generator, size: tuple[int, int], people: int) -> Result:
    """People anywhere in and around the picture, some joints far off, some nowhere."""
    height, width = size
    middles = rng.uniform((-0.3 * width, -0.3 * height), (1.3 * width, 1.3 * height), (people, 1, 2))
    points = (middles + rng.normal(0, rng.uniform(1, 1 + 0.4 * height), (people, 17, 2))).astype(np.float32)
    points[rng.random((people, 17)) < 0.05] = rng.choice([np.nan, np.inf, -np.inf, 1e30, -1e9, 40000.0])
    boxes = np.concatenate([middles[:, 0] - rng.uniform(1, 99), middles[:, 0] + rng.uniform(1, 99)], 1)
    return result(points, rng.random((people, 17)).astype(np.float32), boxes.astype(np.float32), size=size)


@pytest.mark.parametrize("size", [(240, 320), (333, 517), (1, 1), (7, 400)])
@pytest.mark.parametrize("style", [Style(), Style(boxes=True), Style(boxes=True, scale=3)])
def test_pixels_outside_the_rectangles_are_untouched(size: tuple[int, int], style: Style) -> None:
    rng = np.random.default_rng(sum(size))
    touched = 0
    for people in (1, 2, 5) * 8:
        image = rng.integers(0, 256, (*size, 3), np.uint8)
        before = image.copy()
        rectangles = draw(image, wild_pose(rng, size, people), style)
        mask = outside(image.shape, rectangles)
        assert np.array_equal(image[mask], before[mask])
        assert (rectangles[:, :2] >= 0).all()
        assert (rectangles[:, 2:] <= (size[1], size[0])).all()
        assert (rectangles[:, :2] < rectangles[:, 2:]).all()
        touched += int((image != before).any())
    assert touched > 0


def test_a_body_is_not_cut_by_its_rectangle() -> None:
    rng = np.random.default_rng(1)
    for _ in range(30):
        image = picture((600, 800))
        points = rng.uniform((200, 150), (600, 450), (1, 17, 2)).astype(np.float32)
        boxes = np.array([[200, 150, 600, 450]], np.float32)
        ((x1, y1, x2, y2),) = draw(image, result(points, boxes=boxes, size=(600, 800)), Style(ids=False, scale=2))
        edge = np.concatenate([image[y1, x1:x2], image[y2 - 1, x1:x2], image[y1:y2, x1], image[y1:y2, x2 - 1]])
        assert (edge == GREY).all()


def test_the_rectangle_hugs_a_lone_joint() -> None:
    image = picture((100, 100))
    ((x1, y1, x2, y2),) = draw(image, one_joint(0, 50, 40), BARE)
    assert (x1 + x2 - 1, y1 + y2 - 1) == (100, 80)
    assert x2 - x1 <= 11
    assert np.array_equal(image[40, 50], MIDDLE)


def test_a_joint_lies_on_its_sub_pixel_place() -> None:
    for x, y in ((20.0, 30.0), (20.25, 30.5), (20.5, 29.75)):
        image = np.zeros((60, 60, 3), np.uint8)
        draw(image, one_joint(0, x, y, size=(60, 60)), Style(ids=False, background="black", scale=8))
        weights = image[..., 0].astype(float)
        rows, columns = np.mgrid[:60, :60]
        assert (weights * columns).sum() / weights.sum() == pytest.approx(x, abs=0.1)
        assert (weights * rows).sum() / weights.sum() == pytest.approx(y, abs=0.1)


@pytest.mark.parametrize(("joint", "colour"), [(LEFT_WRIST, LEFT), (RIGHT_WRIST, RIGHT), (0, MIDDLE)])
def test_a_joint_has_the_colour_of_its_side(joint: int, colour: tuple[int, int, int]) -> None:
    image = picture((48, 64))
    draw(image, one_joint(joint, 20, 20), BARE)
    assert tuple(image[20, 20].tolist()) == colour


@pytest.mark.parametrize(
    ("skeleton", "limb", "colour"),
    [(COCO17, (7, 9), LEFT), (COCO17, (8, 10), RIGHT), (COCO17, (5, 6), MIDDLE), (MPII16, (0, 1), RIGHT)],
)
def test_a_limb_has_the_colour_of_its_side(skeleton, limb: tuple[int, int], colour: tuple[int, int, int]) -> None:
    joints = len(skeleton.names)
    points, scores = np.zeros((1, joints, 2), np.float32), np.zeros((1, joints), np.float32)
    points[0, limb[0]], points[0, limb[1]] = (10, 20), (50, 20)
    scores[0, list(limb)] = 1
    image = picture((48, 64))
    draw(image, result(points, scores, skeleton=skeleton), BARE)
    assert tuple(image[20, 30].tolist()) == colour


def test_joints_under_the_threshold_and_their_limbs_are_not_drawn() -> None:
    points, scores = np.zeros((1, 17, 2), np.float32), np.zeros((1, 17), np.float32)
    points[0, LEFT_ELBOW], points[0, LEFT_WRIST] = (10, 20), (50, 20)
    scores[0, LEFT_ELBOW], scores[0, LEFT_WRIST] = 0.5, 0.49
    image = picture((48, 64))
    draw(image, result(points, scores), Style(joint_threshold=0.5, ids=False))
    assert tuple(image[20, 10].tolist()) == LEFT
    assert (image[:, 20:] == GREY).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_joint_that_is_nowhere_is_not_drawn(bad: float) -> None:
    image = picture((48, 64))
    rectangles = draw(image, one_joint(0, bad, 20), BARE)
    assert rectangles.shape == (0, 4)
    assert (image == GREY).all()


def test_a_limb_leaves_the_picture_in_its_true_direction() -> None:
    points, scores = np.zeros((1, 17, 2), np.float32), np.zeros((1, 17), np.float32)
    points[0, LEFT_ELBOW], points[0, LEFT_WRIST] = (10, 10), (10_010, 10_010)
    scores[0, [LEFT_ELBOW, LEFT_WRIST]] = 1
    image = picture((300, 300))
    draw(image, result(points, scores), BARE)
    assert (image[np.arange(20, 300), np.arange(20, 300)] == LEFT).all()


def test_nobody_leaves_the_picture_as_it_is() -> None:
    image = picture((48, 64))
    empty = result(np.zeros((0, 17, 2), np.float32), np.zeros((0, 17), np.float32), np.zeros((0, 4), np.float32))
    rectangles = draw(image, empty, Style(boxes=True))
    assert rectangles.shape == (0, 4)
    assert rectangles.dtype == np.int32
    assert (image == GREY).all()


def test_black_hides_the_picture_and_reports_all_of_it() -> None:
    image = picture((48, 64))
    rectangles = draw(image, one_joint(0, 20, 20), Style(ids=False, background="black"))
    assert rectangles.tolist() == [[0, 0, 64, 48]]
    assert tuple(image[20, 20].tolist()) == MIDDLE
    assert (image[:, 40:] == 0).all()


def test_an_identity_is_labelled_in_its_own_colour_above_its_box() -> None:
    image = picture((300, 300))
    boxes = np.array([[100, 100, 180, 250]], np.float32)
    nobody_seen = result(np.zeros((1, 17, 2), np.float32), 0.0, boxes, [8])
    ((x1, y1, x2, y2),) = draw(image, nobody_seen, Style())
    assert y2 == 100
    assert abs((x1 + x2) / 2 - 140) <= 1
    assert tuple(image[y1, x1].tolist()) == ACCENTS[8 % len(ACCENTS)]
    assert len(np.unique(image[y1:y2, x1:x2].reshape(-1, 3), axis=0)) > 2  # paper, ink and what lies between


@pytest.mark.parametrize("identity", [0, 3])
def test_who_has_no_identity_or_is_off_the_picture_has_no_label(identity: int) -> None:
    image = picture((100, 100))
    box = [10, 10, 50, 90] if identity == 0 else [-80, 10, -20, 90]
    drawn = draw(image, result(np.zeros((1, 17, 2), np.float32), 0.0, np.array([box], np.float32), [identity]), Style())
    assert drawn.shape == (0, 4)
    assert (image == GREY).all()


def test_a_label_at_the_edge_stays_whole_in_the_picture() -> None:
    image = picture((200, 200))
    boxes = np.array([[-10, -5, 6, 150]], np.float32)
    ((x1, y1, x2, y2),) = draw(image, result(np.zeros((1, 17, 2), np.float32), 0.0, boxes), Style())
    assert (x1, y1) == (0, 0)
    assert x2 > 10
    assert y2 > 10


def test_a_box_is_drawn_on_its_edges() -> None:
    image = picture((100, 100))
    boxes = np.array([[20, 30, 60, 80]], np.float32)
    draw(image, result(np.zeros((1, 17, 2), np.float32), 0.0, boxes, [2]), Style(ids=False, boxes=True))
    for x, y in ((20, 50), (60, 50), (40, 30), (40, 80)):
        assert np.abs(image[y, x].astype(int) - ACCENTS[2]).max() < 30
    assert (image[35:75, 25:55] == GREY).all()


def test_lines_grow_with_the_picture_and_with_the_person() -> None:
    def width(size: tuple[int, int], person: float) -> int:
        points, scores = np.zeros((1, 17, 2), np.float32), np.zeros((1, 17), np.float32)
        points[0, LEFT_ELBOW], points[0, LEFT_WRIST] = (40, 100), (160, 100)
        scores[0, [LEFT_ELBOW, LEFT_WRIST]] = 1
        image = np.zeros((*size, 3), np.uint8)
        boxes = np.array([[0, 0, person / 2, person]], np.float32)
        draw(image, result(points, scores, boxes), Style(ids=False, background="black"))
        return int((image[:, 100, 0] > 100).sum())

    assert 1 <= width((240, 320), 100) <= 3
    assert width((1080, 1920), 900) > width((1080, 1920), 300) > width((240, 320), 100)
    assert width((2160, 3840), 1800) > width((1080, 1920), 900)


def test_text_larger_than_the_picture_is_cut_at_its_edge() -> None:
    image = picture((5, 8))
    assert draw_text(image, "12345", (4, 2), 20, (0, 0, 0), (255, 255, 255)) == (0, 0, 8, 5)


@pytest.mark.parametrize("wrong", [{"background": "white"}, {"scale": 0.0}])
def test_a_style_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Style(**wrong)
