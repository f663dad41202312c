"""COCO annotations read to train on: whoever is in them, what is wrong with them, and the real ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from engines.skeletons import COCO17, HALPE26, MPII16
from engines.training.coco_labels import read_coco_labels

JOINTS = [number for k in range(17) for number in (20 + k, 30 + 2 * k, 2)]


def person(**more: Any) -> dict[str, Any]:
    base = {"image_id": 7, "category_id": 1, "iscrowd": 0, "keypoints": JOINTS, "bbox": [10, 20, 40, 60]}
    return base | more


def write(folder: Path, people: list[dict[str, Any]], pictures: int = 1, **more: Any) -> Path:
    """An annotation file whose pictures, numbered from 7, lie in `images` beside it."""
    (folder / "images").mkdir(exist_ok=True)
    images = []
    for number in range(7, 7 + pictures):
        cv2.imwrite(str(folder / "images" / f"{number}.png"), np.full((120, 160, 3), number, np.uint8))
        images.append({"id": number, "file_name": f"{number}.png", "height": 120, "width": 160})
    file = folder / "labels.json"
    file.write_text(json.dumps({"images": images, "annotations": people} | more))
    return file


def edit(file: Path, **more: Any) -> None:
    """Change the entry of the first picture."""
    data = json.loads(file.read_text())
    data["images"][0] |= more
    file.write_text(json.dumps(data))


def test_people_crowds_and_boxes_without_joints_are_read(tmp_path: Path) -> None:
    crowd = person(iscrowd=1, keypoints=[0] * 51, bbox=[100, 0, 50, 50], segmentation={"counts": [3], "size": [1, 3]})
    box_only = person(bbox=[60, 20, 40, 60])
    del box_only["keypoints"]
    hidden = person(bbox=[10, 20, 42, 90], keypoints=[20, 30, 1, *[0] * 48])
    pictures, faults = read_coco_labels(write(tmp_path, [person(), crowd, box_only, hidden], pictures=2))
    assert faults == ()
    first, second = pictures
    assert (first.path, first.has_all) == (tmp_path / "images" / "7.png", True)
    assert first.labels.boxes.tolist() == [[10, 20, 50, 80], [100, 0, 150, 50], [60, 20, 100, 80], [10, 20, 52, 110]]
    assert first.labels.crowd.tolist() == [False, True, False, False]
    assert first.labels.visible.sum(axis=1).tolist() == [17, 0, 0, 1]
    assert first.labels.keypoints[0, 16].tolist() == [36, 62]
    assert second.has_all
    assert second.labels.keypoints.shape == (0, 17, 2)


def test_someone_to_be_ignored_is_a_crowd(tmp_path: Path) -> None:
    ((picture,), _) = read_coco_labels(write(tmp_path, [person(ignore=1)]))
    assert picture.labels.crowd.tolist() == [True]


@pytest.mark.parametrize(
    ("label", "has_all"),
    [("lspet_one_person", False), ("boxes partial", False), ("coco_exact_all_persons", True), (None, True)],
)
def test_a_picture_says_whether_everybody_is_labelled(tmp_path: Path, label: str | None, has_all: bool) -> None:
    file = write(tmp_path, [person()], pictures=2)
    edit(file, labels=label)
    pictures, _ = read_coco_labels(file)
    assert [picture.has_all for picture in pictures] == [has_all, True]


def test_the_file_or_the_caller_says_so_of_all_pictures(tmp_path: Path) -> None:
    file = write(tmp_path, [person()], info={"labels": "one_person"})
    assert [picture.has_all for picture in read_coco_labels(file)[0]] == [False]
    file = write(tmp_path, [person()])
    assert [picture.has_all for picture in read_coco_labels(file, has_all=False)[0]] == [False]


def test_the_category_is_that_called_person(tmp_path: Path) -> None:
    categories = [{"id": 1, "name": "dog"}, {"id": 5, "name": "Person"}]
    file = write(tmp_path, [person(), person(category_id=5, bbox=[1, 2, 30, 40])], categories=categories)
    ((picture,), _) = read_coco_labels(file)
    assert picture.labels.boxes.tolist() == [[1, 2, 31, 42]]


def row(count: int) -> list[int]:
    return [number for k in range(count) for number in (20 + k, 30 + k, 2)]


def named(*names: str) -> dict[str, Any]:
    """Categories of which that of people names joints, or not."""
    own = {"id": 1, "name": "person"} | ({"keypoints": list(names)} if names else {})
    return {"categories": [{"id": 3, "name": "cat", "keypoints": ["nose"]}, own]}


def test_26_joints_are_read_by_name_or_by_number(tmp_path: Path) -> None:
    for more in (named(), named(*HALPE26.names)):
        ((picture,), faults) = read_coco_labels(write(tmp_path, [person(keypoints=row(26))], **more), wanted=HALPE26)
        assert faults == ()
        assert picture.labels.keypoints[0].tolist() == [[20 + k, 30 + k] for k in range(26)]


def test_joints_are_mapped_by_name_however_it_is_written(tmp_path: Path) -> None:
    file = write(tmp_path, [person(keypoints=row(4))], **named("Left Ankle", "tail", "left-eye", " Nose "))
    ((picture,), faults) = read_coco_labels(file)
    assert faults == ()
    assert np.flatnonzero(picture.labels.visible[0]).tolist() == [0, 1, 15]
    assert picture.labels.keypoints[0, [0, 1, 15]].tolist() == [[23, 33], [22, 32], [20, 30]]


def test_17_joints_without_a_known_name_are_coco_s(tmp_path: Path) -> None:
    for more in ({}, named(*(f"joint {k}" for k in range(17)))):
        ((picture,), _) = read_coco_labels(write(tmp_path, [person()], **more), wanted=MPII16)
        assert picture.labels.visible[0].sum() == 12
        # A right ankle is joint 0 of MPII, 16 of COCO.
        assert picture.labels.keypoints[0, 0].tolist() == [36, 62]


def test_a_file_of_boxes_alone_needs_no_names(tmp_path: Path) -> None:
    ((picture,), faults) = read_coco_labels(write(tmp_path, [person(keypoints=[])]), wanted=MPII16)
    assert (picture.labels.visible.shape, picture.labels.visible.any(), faults) == ((1, 16), False, ())


@pytest.mark.parametrize("more", [{}, named("tail", "paw"), {"categories": [{"id": 1, "name": "human"}]}])
def test_joints_that_cannot_be_told_are_refused(tmp_path: Path, more: dict[str, Any]) -> None:
    file = write(tmp_path, [person(keypoints=row(23)), person(keypoints=row(23)), person()], **more)
    words = (
        r"labels\.json: its people have 23 joints, of no known name, wanted the 26 of halpe26; name them .*left_heel"
    )
    with pytest.raises(ValueError, match=words):
        read_coco_labels(file, wanted=HALPE26)


def test_a_number_s_category_names_joints_where_none_is_called_person(tmp_path: Path) -> None:
    categories = [{"id": 1, "name": "human", "keypoints": ["right_wrist"]}]
    ((picture,), _) = read_coco_labels(write(tmp_path, [person(keypoints=row(1))], categories=categories))
    assert np.flatnonzero(picture.labels.visible[0]).tolist() == [COCO17.names.index("right_wrist")]


def test_faults_are_told_and_the_rest_is_read(tmp_path: Path) -> None:
    people = [
        person(keypoints=JOINTS[:48]),
        person(bbox=[90, 20, 0, 60]),
        person(image_id=99),
        person(image_id=8, bbox=None),
        person(image_id=9),
    ]
    file = write(tmp_path, people, pictures=4)
    (tmp_path / "images" / "9.png").unlink()
    (tmp_path / "images" / "10.png").write_bytes(b"")
    pictures, faults = read_coco_labels(file)
    assert [picture.path.name for picture in pictures] == ["7.png", "8.png"]
    assert [len(picture.labels.boxes) for picture in pictures] == [1, 0]
    assert not any(picture.has_all for picture in pictures)
    assert faults == (
        "1 people are of a picture that is not listed (left out), first image_id 99",
        "1 people have another number of joints than 17 (taken as boxes), first 7.png",
        "2 boxes have no area (left out), first 7.png",
        "1 pictures are missing (left out), first 9.png",
        "1 pictures cannot be read (left out), first 10.png",
    )


def test_a_number_that_two_pictures_have_is_the_first_one_s(tmp_path: Path) -> None:
    file = write(tmp_path, [person()], pictures=2)
    edit(file, id=8)
    data = json.loads(file.read_text())
    data["annotations"][0]["image_id"] = 8
    file.write_text(json.dumps(data))
    pictures, faults = read_coco_labels(file)
    assert [(picture.path.name, len(picture.labels.boxes)) for picture in pictures] == [("7.png", 1)]
    assert faults == ("1 pictures have a number that another has (left out), first 8.png",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "no JSON"),
        ("[]", "no COCO annotations"),
        ('{"images": [], "annotations": []}', "lists no pictures"),
        ('{"images": [{"id": 1}], "annotations": []}', r"no COCO annotations \(KeyError: 'file_name'\)"),
        ('{"images": {"a": 1}, "annotations": []}', "no COCO annotations"),
        ('{"images": [{"id": 1, "file_name": "a"}], "annotations": [{"category_id": 1}]}', "image_id"),
    ],
)
def test_another_file_is_refused_by_its_name(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "other.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=rf"other\.json: .*{words}"):
        read_coco_labels(file)


def test_a_file_of_which_no_picture_is_there_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"1 of its 1 pictures, 7\.png the first.*--images"):
        read_coco_labels(write(tmp_path, []), tmp_path)


@pytest.mark.assets
def test_the_real_training_labels_are_whole(assets: Path) -> None:
    pictures, faults = read_coco_labels(assets / "train" / "labels.json")
    assert faults == ()
    assert len(pictures) == 1518
    assert sum(len(picture.labels.boxes) for picture in pictures) == 1775
    assert sum(int(picture.labels.visible.any(axis=1).sum()) for picture in pictures) == 1655
    assert sum(picture.has_all for picture in pictures) == 22 + 46
