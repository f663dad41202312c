"""MPII's lists read to train on, against the reader that scores by them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from engines.mpii import read_mpii
from engines.training.mpii_labels import read_mpii_labels


def person(image: str = "a.png", **more: Any) -> dict[str, Any]:
    base = {"image": image, "center": [101, 101], "scale": 0.5, "joints_vis": [1] * 15 + [0]}
    return base | {"joints": [[81 + k, 71 + k] for k in range(15)] + [[-1, -1]]} | more


def write(folder: Path, people: list[dict[str, Any]]) -> Path:
    for name in {entry["image"] for entry in people}:
        cv2.imwrite(str(folder / name), np.zeros((240, 320, 3), np.uint8))
    file = folder / "train.json"
    file.write_text(json.dumps(people))
    return file


def test_people_are_read_by_picture_in_pixels_from_0(tmp_path: Path) -> None:
    people = [person(), person("b.png"), person(center=[201, 101])]
    people[2]["joints"] = [[181, 71]] * 16
    (first, second), faults = read_mpii_labels(write(tmp_path, people))
    assert faults == ()
    assert (first.path.name, second.path.name) == ("a.png", "b.png")
    # 15 pixels down at scale 1, so 7.5; 200 pixels at scale 1, so 50 to each side.
    assert first.labels.boxes.tolist() == [[50, 57.5, 150, 157.5], [150, 57.5, 250, 157.5]]
    assert first.labels.keypoints[0, 2].tolist() == [82, 72]
    assert first.labels.visible.sum(axis=1).tolist() == [15, 15]
    assert first.labels.keypoints[0, 15].tolist() == [0, 0]
    assert not first.has_all
    assert not first.has_boxes
    assert not first.labels.crowd.any()


def test_a_missing_picture_is_a_fault(tmp_path: Path) -> None:
    file = write(tmp_path, [person(), person("b.png")])
    (tmp_path / "a.png").unlink()
    pictures, faults = read_mpii_labels(file)
    assert [picture.path.name for picture in pictures] == ["b.png"]
    assert faults == ("1 pictures are missing (left out), first a.png",)


@pytest.mark.parametrize("text", ["[]", '[{"image": "a.png"}]', "{}", "3"])
def test_another_file_is_refused_by_its_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "other.json").write_text(text)
    with pytest.raises(ValueError, match=r"other\.json: no MPII people .*valid\.json"):
        read_mpii_labels(tmp_path / "other.json")


@pytest.mark.assets
def test_real_people_are_as_the_scores_read_them(assets: Path) -> None:
    file = assets / "gt" / "mini" / "mpii" / "test_mpii.json"
    truth, (pictures, faults) = read_mpii(file), read_mpii_labels(file)
    assert faults == ()
    assert [picture.path for picture in pictures] == [picture.path for picture in truth.pictures]
    for picture, wanted in zip(pictures, truth.pictures, strict=True):
        rows = list(wanted.people)
        np.testing.assert_array_equal(picture.labels.boxes, truth.boxes[rows])
        np.testing.assert_array_equal(picture.labels.visible, truth.visible[rows])
        seen = picture.labels.visible
        np.testing.assert_allclose(picture.labels.keypoints[seen], truth.joints[rows][seen], atol=1e-3)
