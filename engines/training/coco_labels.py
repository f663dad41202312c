"""COCO key-point annotations as something to train on: boxes, joints and crowds, and what is wrong with them.

Beyond COCO's own keys an entry of `images`, or `info` for the whole file, may say in `labels` how complete a picture
is: a word with `one_person` or `partial` in it means that not everybody is labelled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from engines.annotated import read_json
from engines.coco import JOINTS, PERSON
from engines.training.checking import Faults, checked_picture
from engines.training.labels import LabelledPicture, Labels
from engines.training.pictures import expected_paths

INCOMPLETE: Final = ("one_person", "partial")
"""Words in `labels` that say that not everybody in a picture is labelled."""

Entry = Mapping[str, Any]


def read_coco_labels(
    file: Path, images: Path | None = None, has_all: bool = True
) -> tuple[tuple[LabelledPicture, ...], tuple[str, ...]]:
    """The pictures of a COCO annotation file with their people (17 joints), and what was found wrong, a line each.

    Pictures lie in `images`, or where `locate_pictures` finds them. Everybody is labelled unless `labels` or `has_all`
    says otherwise; what is no person, is of another category, and is passed over. Raises FileNotFoundError where the
    file or all of its pictures are not there, ValueError where it is no such file.
    """
    data = read_json(file)
    faults = Faults()
    try:
        entries = _by_number(data["images"], faults)
        people = _people_of(data, entries, faults)
        names = [str(entry["file_name"]) for entry in entries.values()]
        sizes = [(int(e["height"]), int(e["width"])) if "height" in e else None for e in entries.values()]
        labels = [_labels(rows, name, faults) for rows, name in zip(people.values(), names, strict=True)]
        info = data.get("info")
        complete = has_all and _is_complete(info if isinstance(info, Mapping) else {})
        everybody = [complete and _is_complete(entry) for entry in entries.values()]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{file}: no COCO annotations ({type(error).__name__}: {error}); name one like "
            "person_keypoints_train2017.json"
        ) from error
    if not names:
        raise ValueError(f"{file}: lists no pictures; name one like person_keypoints_train2017.json")
    paths = expected_paths(file, names, images)
    checked = (checked_picture(*row, faults) for row in zip(paths, labels, everybody, sizes, strict=True))
    return tuple(picture for picture in checked if picture is not None), faults.lines()


def _by_number(entries: Sequence[Entry], faults: Faults) -> dict[int, Entry]:
    """The entries of pictures by their number, each once."""
    found: dict[int, Entry] = {}
    for entry in entries:
        if found.setdefault(entry["id"], entry) is not entry:
            faults.add("pictures have a number that another has (left out)", str(entry["file_name"]))
    return found


def _people_of(data: Entry, entries: Mapping[int, Entry], faults: Faults) -> dict[int, list[Entry]]:
    """The annotations of people by the number of their picture."""
    person = next((c["id"] for c in data.get("categories", ()) if str(c["name"]).lower() == "person"), PERSON)
    people: dict[int, list[Entry]] = {number: [] for number in entries}
    for annotation in data["annotations"]:
        if annotation["category_id"] != person:
            continue
        if annotation["image_id"] in people:
            people[annotation["image_id"]].append(annotation)
        else:
            faults.add("people are of a picture that is not listed (left out)", f"image_id {annotation['image_id']}")
    return people


def _labels(people: Sequence[Entry], name: str, faults: Faults) -> Labels:
    """A picture's people; a box that is not given has no area."""
    boxes = np.array([person.get("bbox") or (0, 0, 0, 0) for person in people], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    joints = np.array([_joints(person, name, faults) for person in people], np.float32).reshape(-1, JOINTS, 3)
    # Of a crowd `segmentation` is a run-length mask; its box says enough of where not to learn.
    crowd = np.array([bool(person.get("iscrowd") or person.get("ignore")) for person in people], np.bool_)
    return Labels(boxes, np.ascontiguousarray(joints[..., :2]), joints[..., 2] > 0, crowd)


def _joints(person: Entry, name: str, faults: Faults) -> Sequence[float]:
    """x, y, v of each joint, all zero for a person without."""
    joints: Sequence[float] = person.get("keypoints") or ()
    if len(joints) == 3 * JOINTS:
        return joints
    faults.add(f"people have another number of joints than {JOINTS} (taken as boxes)", name, int(len(joints) > 0))
    return (0.0,) * (3 * JOINTS)


def _is_complete(entry: Entry) -> bool:
    return not any(word in str(entry.get("labels", "")) for word in INCOMPLETE)
