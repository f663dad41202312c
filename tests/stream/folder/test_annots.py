from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from stream.folder.annots import annots_text, cut_box, read_annots, within

BOXES = np.array([[1.5, 2.25, 11.5, 22.75], [0, 0, 3, 4]], np.float32)


def test_the_file_has_corners_sides_and_half_sides_and_an_indent_of_two() -> None:
    text = annots_text("in/a.jpg", BOXES)
    assert text.startswith('{\n  "path": "in/a.jpg",\n  "boxes": [\n    {\n      "x1": 1.5,')
    first = json.loads(text)["boxes"][0]
    assert list(first) == ["x1", "y1", "x2", "y2", "w", "h", "center"]
    assert first == {"x1": 1.5, "y1": 2.25, "x2": 11.5, "y2": 22.75, "w": 10, "h": 20.5, "center": {"x": 5, "y": 10.25}}


def test_boxes_come_back_to_the_bit(tmp_path: Path) -> None:
    boxes = np.random.default_rng(0).uniform(-5, 4000, (20, 4)).astype(np.float32)
    (tmp_path / "a.json").write_text(annots_text("a", boxes))
    np.testing.assert_array_equal(read_annots(tmp_path / "a.json"), boxes)


def test_nobody_is_an_empty_list(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(annots_text("a", np.zeros((0, 4), np.float32)))
    assert json.loads((tmp_path / "a.json").read_text()) == {"path": "a", "boxes": []}
    assert read_annots(tmp_path / "a.json").shape == (0, 4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no JSON"),
        ("[]", "boxes must be a list"),
        ('{"boxes": {}}', "boxes must be a list, got dict"),
        ('{"boxes": [{"x1": 1, "y1": 1, "x2": 2}]}', r"boxes\[0\]\.y2 must be a number, got None"),
        ('{"boxes": [{"x1": "1", "y1": 1, "x2": 2, "y2": 2}]}', r"boxes\[0\]\.x1 must be a number, got '1'"),
        ('{"boxes": [{"x1": NaN, "y1": 1, "x2": 2, "y2": 2}]}', r"boxes\[0\]\.x1 must be a number, got nan"),
        ('{"boxes": [7]}', r"boxes\[0\]\.x1"),
    ],
)
def test_a_file_that_says_something_else_is_refused_by_name_and_key(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=rf"a\.json: .*{message}"):
        read_annots(tmp_path / "a.json")


def test_corner_and_sides_are_each_rounded_down() -> None:
    # int(1.9) + int(11.8 - 1.9) = 1 + 9, although int(11.8) is 11.
    assert cut_box(np.array([[1.9, 2.2, 11.8, 22.9]], np.float32)).tolist() == [[1, 2, 10, 22]]


def test_boxes_are_clamped_to_the_picture() -> None:
    boxes = np.array([[-4, -5, 30, 7], [3, 3, 5, 5]], np.float32)
    assert within(boxes, (10, 20)).tolist() == [[0, 0, 20, 7], [3, 3, 5, 5]]
