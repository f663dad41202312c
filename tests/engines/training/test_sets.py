"""Sets as the command line names them, and the report of what is in them."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from engines.skeletons import HALPE26, MPII16
from engines.training.sets import SetOptions, read_set, report


def picture(file: Path, value: int) -> None:
    file.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(file), np.full((120, 160, 3), value, np.uint8))


def coco(folder: Path, **more: Any) -> Path:
    """Annotations of two pictures; in the first are a person with joints, one without, and a crowd."""
    picture(folder / "images" / "a.png", 1)
    picture(folder / "images" / "b.png", 2)
    images = [{"id": k, "file_name": f"{name}.png", "height": 120, "width": 160} for k, name in enumerate("ab")]
    base = {"image_id": 0, "category_id": 1, "iscrowd": 0}
    people = [
        base | {"keypoints": [20, 30, 2] * 17, "bbox": [10, 20, 40, 60]},
        base | {"bbox": [60, 20, 40, 60]},
        base | {"bbox": [110, 20, 40, 60], "iscrowd": 1},
    ]
    file = folder / "labels.json"
    file.write_text(json.dumps({"images": images, "annotations": people} | more))
    return file


def mpii(folder: Path) -> Path:
    picture(folder / "m.png", 3)
    person = {"image": "m.png", "center": [80, 60], "scale": 0.5, "joints": [[41 + k, 51] for k in range(16)]}
    file = folder / "train.json"
    file.write_text("\n " + json.dumps([person | {"joints_vis": [1] * 16}]))
    return file


@pytest.mark.parametrize(("ending", "weight"), [("", 1), ("*2", 2), ("*0.25", 0.25), ("*1e-1", 0.1)])
def test_a_weight_follows_a_star(tmp_path: Path, ending: str, weight: float) -> None:
    found = read_set(f"{coco(tmp_path)}{ending}")
    assert (found.name, found.weight, found.is_labelled) == (f"{tmp_path / 'labels.json'}{ending}", weight, True)
    assert [len(one.labels.boxes) for one in found.pictures] == [3, 0]


@pytest.mark.parametrize("ending", ["*0", "*-1", "*", "*many", "*nan", "*inf"])
def test_another_weight_is_refused(tmp_path: Path, ending: str) -> None:
    with pytest.raises(ValueError, match=r"the weight after \* must be a number above 0"):
        read_set(f"{coco(tmp_path)}{ending}")


def test_a_path_with_a_star_that_is_there_is_a_path(tmp_path: Path) -> None:
    picture(tmp_path / "a*2" / "a.png", 1)
    assert read_set(str(tmp_path / "a*2")).weight == 1


def test_mpii_is_told_by_what_is_in_the_file_and_gets_the_wanted_joints(tmp_path: Path) -> None:
    file = mpii(tmp_path)
    ((one,), (other,)) = read_set(str(file)).pictures, read_set(str(file), SetOptions(MPII16)).pictures
    assert one.labels.visible[0].tolist() == [False] * 5 + [True] * 12
    # A left shoulder is joint 13 of MPII, 5 of COCO; a right ankle 0 and 16.
    assert one.labels.keypoints[0, [5, 16]].tolist() == [[53, 50], [40, 50]]
    assert other.labels.keypoints[0, [13, 0]].tolist() == [[53, 50], [40, 50]]
    assert other.labels.visible.all()
    assert not one.has_all
    assert (one.has_boxes, other.has_boxes) == (False, False)


def test_coco_gets_the_wanted_joints_and_has_boxes(tmp_path: Path) -> None:
    first, _ = read_set(str(coco(tmp_path)), SetOptions(HALPE26)).pictures
    assert np.flatnonzero(first.labels.visible[0]).tolist() == list(range(17))
    assert first.has_boxes


def test_a_folder_and_a_clip_are_to_be_labelled(tmp_path: Path) -> None:
    picture(tmp_path / "mine" / "b.png", 1)
    picture(tmp_path / "mine" / "a.png", 2)
    (tmp_path / "mine" / "notes.txt").write_text("words")
    found = read_set(f"{tmp_path / 'mine'}*3", SetOptions(MPII16))
    assert [one.path.name for one in found.pictures] == ["a.png", "b.png"]
    assert (found.is_labelled, found.weight, found.pictures[0].has_all) == (False, 3, False)
    assert found.pictures[0].labels.keypoints.shape == (0, 16, 2)


def test_of_a_folder_pictures_and_frames_of_clips_are_taken(tmp_path: Path) -> None:
    picture(tmp_path / "mine" / "z.png", 1)
    clip = cv2.VideoWriter(str(tmp_path / "mine" / "a.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 2, (64, 32))
    for number in range(3):
        clip.write(np.full((32, 64, 3), 50 * number, np.uint8))
    clip.release()
    found = read_set(str(tmp_path / "mine"), SetOptions(MPII16, work=tmp_path / "work"))
    assert [one.path.name for one in found.pictures] == ["z.png", "a-000000.jpg", "a-000002.jpg"]
    assert found.pictures[1].path.parent.parent == tmp_path / "work"
    assert {one.labels.keypoints.shape for one in found.pictures} == {(0, 16, 2)}
    assert (found.is_labelled, found.faults) == (False, ())


def test_unlabelled_pictures_that_exif_turns_are_told_with_the_remedy(tmp_path: Path) -> None:
    for name, orientation in (("a.jpg", 1), ("b.jpg", 6), ("c.jpg", 3)):
        picture(tmp_path / "mine" / name, 1)
        data = (tmp_path / "mine" / name).read_bytes()
        tag = struct.pack(">HHHIHxxI", 1, 0x0112, 3, 1, orientation, 0)
        head = b"\xff\xe1\0\x22Exif\0\0MM\0*\0\0\0\x08"
        (tmp_path / "mine" / name).write_bytes(data[:2] + head + tag + data[2:])
    assert read_set(str(tmp_path / "mine")).faults == (
        "2 pictures are turned by their EXIF orientation, which is passed over (turn their pixels with exiftran -ai or "
        "jpegtran, or label them), first b.jpg",
    )


def test_unlabelled_pictures_that_cannot_be_read_are_left_out_and_told(tmp_path: Path) -> None:
    picture(tmp_path / "mine" / "a.jpg", 1)
    (tmp_path / "mine" / "b.jpg").write_bytes(b"<html>")
    (tmp_path / "mine" / "c.jpg").write_bytes(b"")
    found = read_set(str(tmp_path / "mine"))
    assert [one.path.name for one in found.pictures] == ["a.jpg"]
    assert found.faults == ("2 pictures cannot be read (left out), first b.jpg",)


def test_options_reach_the_readers(tmp_path: Path) -> None:
    file = coco(tmp_path)
    (tmp_path / "images").rename(tmp_path / "elsewhere")
    found = read_set(str(file), SetOptions(images=tmp_path / "elsewhere", has_all=False))
    assert [one.has_all for one in found.pictures] == [False, False]
    several = read_set(str(file), SetOptions(images=(tmp_path / "nowhere", tmp_path / "elsewhere")))
    assert [one.path for one in several.pictures] == [one.path for one in found.pictures]


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("notes.txt", ValueError, r"notes\.txt: is no data to train on; name COCO"),
        ("nowhere", FileNotFoundError, "nowhere: is not there; name annotations"),
        ("empty", ValueError, "empty: no picture to train on; name a folder that has some"),
        (
            "broken.json",
            ValueError,
            r"broken\.json: no picture to train on; 1 pictures cannot be read .left out., first",
        ),
        ("words.json", ValueError, r"words\.json: no JSON"),
    ],
)
def test_what_is_no_set_is_refused(tmp_path: Path, name: str, kind: type[Exception], words: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("words")
    (tmp_path / "words.json").write_text("words")
    (tmp_path / "c.png").write_bytes(b"")
    (tmp_path / "broken.json").write_text('{"images": [{"id": 1, "file_name": "c.png"}], "annotations": []}')
    with pytest.raises(kind, match=words):
        read_set(str(tmp_path / name))


def test_the_report_counts_and_names_faults_and_copies(tmp_path: Path) -> None:
    file = coco(tmp_path, info={})
    data = json.loads(file.read_text())
    data["annotations"].append(data["annotations"][0] | {"bbox": [0, 0, 0, 9]})
    file.write_text(json.dumps(data))
    mine = tmp_path / "mine"
    for name, value in (("c.png", 2), ("d.png", 7), ("e.png", 7)):
        picture(mine / name, value)
    assert report([read_set(f"{file}*2"), read_set(str(mine))]) == [
        f"{file}*2: 2 pictures (1 with everybody labelled), 2 people (1 with joints), 17 labelled joints, 1 crowds; "
        "weight 2",
        "  1 boxes have no area (left out), first a.png",
        f"{mine}: 3 pictures, for the teacher to label; weight 1",
        f"1 pictures of {mine} are in {file}*2 too, first b.png and c.png",
        f"1 pictures of {mine} are there twice, first d.png and e.png",
    ]
