"""Packed pictures: what is in them, who, and when they are packed anew."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engines.results import Detections, Image
from engines.training.labels import LabelledPicture, Labels
from engines.training.picture_pack import PackOptions, open_picture_pack, room_for, shrink, teach

Boxes = list[list[float]]


class Teacher:
    """Finds the same in every picture."""

    def __init__(self, boxes: Boxes, scores: list[float], identity: str = "123") -> None:
        self.identity = identity
        self.asked = 0
        self._found = Detections(np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32))

    def detect(self, images: Sequence[Image]) -> list[Detections]:
        self.asked += len(images)
        return [self._found] * len(images)


def labels(boxes: Boxes, crowd: list[bool] | None = None) -> Labels:
    count = len(boxes)
    return Labels(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.zeros((count, 17, 2), np.float32),
        np.zeros((count, 17), np.bool_),
        np.array(crowd or [False] * count, np.bool_),
    )


def folders(packs: Path) -> list[Path]:
    return [path for path in packs.iterdir() if path.is_dir()]


def picture(folder: Path, name: str, height: int, width: int, own: Labels, has_all: bool = True) -> LabelledPicture:
    pixels: NDArray[np.uint8] = np.full((height, width, 3), len(name), np.uint8)
    cv2.imwrite(str(folder / name), pixels)
    return LabelledPicture(folder / name, own, has_all)


def test_pictures_come_back_shrunk_with_their_boxes(tmp_path: Path) -> None:
    pictures = [
        picture(tmp_path, "a.png", 100, 200, labels([[20, 10, 120, 90], [0, 0, 50, 50]], [False, True])),
        picture(tmp_path, "bb.png", 40, 30, labels([])),
    ]
    pack = open_picture_pack(tmp_path / "pack", pictures, options=PackOptions(side=100))
    assert len(pack) == 2
    assert pack.picture(0).shape == (50, 100, 3)
    assert pack.picture(1).shape == (40, 30, 3)
    assert np.unique(pack.picture(0)).tolist() == [5]
    assert np.unique(pack.picture(1)).tolist() == [6]
    people = pack.people(0)
    assert people.boxes.tolist() == [[10, 5, 60, 45], [0, 0, 25, 25]]
    assert people.scores.tolist() == [1, 1]
    assert people.passed.tolist() == [False, True]
    assert pack.people(1).boxes.shape == (0, 4)
    assert pack.has_all.tolist() == [True, True]


def test_the_teacher_is_asked_only_where_not_everybody_is_labelled(tmp_path: Path) -> None:
    teacher = Teacher([[0, 0, 10, 10]], [0.75])
    pictures = [
        picture(tmp_path, "a.png", 40, 40, labels([])),
        picture(tmp_path, "b.png", 40, 40, labels([]), has_all=False),
    ]
    pack = open_picture_pack(tmp_path / "pack", pictures, teacher)
    assert teacher.asked == 1
    assert len(pack.people(0).boxes) == 0
    assert pack.people(1).boxes.tolist() == [[0, 0, 10, 10]]
    assert pack.people(1).scores.tolist() == [0.75]
    assert pack.has_all.tolist() == [True, False]


def test_a_pack_is_opened_again_and_made_anew_for_other_labels(tmp_path: Path) -> None:
    teacher, another = Teacher([], []), Teacher([], [], "124")
    same = [picture(tmp_path, "a.png", 40, 40, labels([[1, 1, 9, 9]]), has_all=False)]
    for _ in range(2):
        open_picture_pack(tmp_path / "pack", same, teacher)
    assert teacher.asked == 1
    open_picture_pack(tmp_path / "pack", same, another)
    assert (teacher.asked, another.asked) == (1, 1)
    other = [LabelledPicture(same[0].path, labels([[1, 1, 9, 8]]), False)]
    assert open_picture_pack(tmp_path / "pack", other, teacher).people(0).boxes.tolist() == [[1, 1, 9, 8]]
    assert teacher.asked == 2
    assert len(folders(tmp_path / "pack")) == 3


def test_a_teacher_who_is_not_asked_makes_no_other_pack(tmp_path: Path) -> None:
    same = [picture(tmp_path, "a.png", 40, 40, labels([[1, 1, 9, 9]]))]
    for teacher in (None, Teacher([], []), Teacher([], [], "124")):
        open_picture_pack(tmp_path / "pack", same, teacher)
    assert len(folders(tmp_path / "pack")) == 1


def test_the_room_that_is_wanted_is_that_of_shrunk_pictures(tmp_path: Path) -> None:
    sizes = [(40, 30), (100, 200)]  # of 3600 bytes, and of 50 by 100 pixels: 15000
    pictures = [picture(tmp_path, f"{n}.png", *size, labels([])) for n, size in enumerate(sizes)]
    assert room_for(pictures, 100) == 18600
    assert room_for(pictures[:1] * 31, 100) == 31 * 3600
    assert room_for([pictures[n % 2] for n in range(33)], 100) == 33 * 3600  # every second is looked at
    assert room_for([], 100) == 0


def test_a_pack_that_fails_leaves_nothing(tmp_path: Path) -> None:
    good = picture(tmp_path, "a.png", 40, 40, labels([]))
    (tmp_path / "b.png").write_bytes(b"no picture")
    bad = LabelledPicture(tmp_path / "b.png", labels([]), True)
    with pytest.raises(OSError, match=r"b\.png: cannot be read as a picture"):
        open_picture_pack(tmp_path / "pack", [good, bad])
    assert folders(tmp_path / "pack") == []


def test_without_a_teacher_who_is_needed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.png: not everybody in it is labelled; name a teacher"):
        open_picture_pack(tmp_path / "pack", [picture(tmp_path, "a.png", 40, 40, labels([]), has_all=False)])


def test_labels_go_before_the_teacher_who_is_sorted_by_sureness() -> None:
    """Of five found: one labelled already, one sure, one the worse double of that, one doubtful, one nothing."""
    found = Detections(
        np.array(
            [[0, 0, 10, 11], [20, 0, 30, 10], [20, 0, 30, 9], [40, 0, 50, 10], [60, 0, 70, 10]],
            np.float32,
        ),
        np.array([0.9, 0.5, 0.45, 0.2, 0.05], np.float32),
    )
    taught = teach(labels([[0, 0, 10, 10]]), False, found, PackOptions())
    assert taught.boxes[:, 0].tolist() == [0, 20, 40]
    assert taught.boxes[0].tolist() == [0, 0, 10, 10]
    assert taught.scores.tolist() == pytest.approx([1, 0.5, 0.2])
    assert taught.passed.tolist() == [False, False, True]
    assert teach(labels([[0, 0, 10, 10]]), True, found, PackOptions()).boxes.tolist() == [[0, 0, 10, 10]]


def test_nothing_is_enlarged() -> None:
    image: NDArray[np.uint8] = np.zeros((30, 20, 3), np.uint8)
    small, scale = shrink(image, 480)
    assert small is image
    assert scale == (1, 1)
    small, scale = shrink(image, 15)
    assert small.shape == (15, 10, 3)
    assert scale == (0.5, 0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"side": 8}, "side must be 32"),
        ({"doubt": 0.5}, "doubt and person"),
        ({"doubt": 0.05}, "0.1 <= doubt"),
        ({"same": 1.0}, "same must lie"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PackOptions(**options)  # type: ignore[arg-type]
