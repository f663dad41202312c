"""COCO key-point annotations as something to train on: boxes, joints and crowds, and what is wrong with them.

Beyond COCO's own keys an entry of `images`, or `info` for the whole file, may say in `labels` how complete a picture
is: a word with `one_person` or `partial` in it means that not everybody is labelled.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from engines.annotated import read_json
from engines.coco import PERSON
from engines.results import Skeleton
from engines.skeletons import COCO17
from engines.training.checking import Faults, checked_picture
from engines.training.labels import LabelledPicture, Labels, in_joints
from engines.training.pictures import Folders, expected_paths

INCOMPLETE: Final = ("one_person", "partial")
"""Words in `labels` that say that not everybody in a picture is labelled."""

Entry = Mapping[str, Any]


def read_coco_labels(
    file: Path, images: Folders = None, has_all: bool = True, wanted: Skeleton = COCO17
) -> tuple[tuple[LabelledPicture, ...], tuple[str, ...]]:
    """The pictures of a COCO annotation file with their people, and what was found wrong, a line each.

    Joints are those `wanted`, by the names that `keypoints` of the category gives them, else by their number. Pictures
    lie in `images`, or where `locate_pictures` finds them. Everybody is labelled unless `labels` or `has_all` says
    otherwise; what is no person, is of another category, and is passed over. Raises FileNotFoundError where the file or
    all of its pictures are not there, ValueError where it is no such file or its joints cannot be told.
    """
    data = read_json(file)
    faults = Faults()
    with _told_of(file):
        entries = _by_number(data["images"], faults)
        person = _person_category(data)
        people = _people_of(data, person["id"], entries, faults)
        own = _joint_names(person, people, wanted)
        names = [str(entry["file_name"]) for entry in entries.values()]
        sizes = [(int(e["height"]), int(e["width"])) if "height" in e else None for e in entries.values()]
        info = data.get("info")
        complete = has_all and _is_complete(info if isinstance(info, Mapping) else {})
        everybody = [complete and _is_complete(entry) for entry in entries.values()]
    if not names:
        raise ValueError(f"{file}: lists no pictures; name one like person_keypoints_train2017.json")
    if not own:
        raise ValueError(
            f"{file}: its people have {_usual_joints(people)} joints, of no known name, wanted the {len(wanted.names)} "
            f"of {wanted.name}; name them in `keypoints` of the category as that does: {', '.join(wanted.names)}"
        )
    with _told_of(file):
        rows = [_labels(those, len(own), name, faults) for those, name in zip(people.values(), names, strict=True)]
    labels = [in_joints(row, own, wanted) for row in rows]
    paths = expected_paths(file, names, images)
    checked = (checked_picture(*row, faults) for row in zip(paths, labels, everybody, sizes, strict=True))
    return tuple(picture for picture in checked if picture is not None), faults.lines()


@contextmanager
def _told_of(file: Path) -> Iterator[None]:
    """Tell what a file that has another form lacks."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{file}: no COCO annotations ({type(error).__name__}: {error}); name one like "
            "person_keypoints_train2017.json"
        ) from error


def _by_number(entries: Sequence[Entry], faults: Faults) -> dict[int, Entry]:
    """The entries of pictures by their number, each once."""
    found: dict[int, Entry] = {}
    for entry in entries:
        if found.setdefault(entry["id"], entry) is not entry:
            faults.add("pictures have a number that another has (left out)", str(entry["file_name"]))
    return found


def _person_category(data: Entry) -> Entry:
    """The category called person, or that of COCO's number."""
    categories = data.get("categories", ())
    called = next((c for c in categories if str(c["name"]).lower() == "person"), None)
    return called or next((c for c in categories if c["id"] == PERSON), {"id": PERSON})


def _people_of(data: Entry, category: int, entries: Mapping[int, Entry], faults: Faults) -> dict[int, list[Entry]]:
    """The annotations of people by the number of their picture."""
    people: dict[int, list[Entry]] = {number: [] for number in entries}
    for annotation in data["annotations"]:
        if annotation["category_id"] != category:
            continue
        if annotation["image_id"] in people:
            people[annotation["image_id"]].append(annotation)
        else:
            faults.add("people are of a picture that is not listed (left out)", f"image_id {annotation['image_id']}")
    return people


def _joint_names(category: Entry, people: Mapping[int, Sequence[Entry]], wanted: Skeleton) -> tuple[str, ...]:
    """What the file's joints are called, as the skeletons have it; nothing where that cannot be told.

    Without a name that is wanted 17 joints are COCO's, and as many as are wanted are those.
    """
    names = tuple(re.sub(r"[\s-]+", "_", str(name).strip().lower()) for name in category.get("keypoints") or ())
    if not set(names).isdisjoint(wanted.names):
        return names
    count = _usual_joints(people)
    return next((known.names for known in (COCO17, wanted) if count in (0, len(known.names))), ())


def _usual_joints(people: Mapping[int, Sequence[Entry]]) -> int:
    """How many joints most people have who have any; 0 where nobody has."""
    counts = Counter(len(p["keypoints"]) // 3 for those in people.values() for p in those if p.get("keypoints"))
    return max(counts, key=lambda count: counts[count], default=0)


def _labels(people: Sequence[Entry], count: int, name: str, faults: Faults) -> Labels:
    """A picture's people, of so many joints; a box that is not given has no area."""
    boxes = np.array([person.get("bbox") or (0, 0, 0, 0) for person in people], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    joints = np.array([_joints(person, count, name, faults) for person in people], np.float32).reshape(-1, count, 3)
    # Of a crowd `segmentation` is a run-length mask; its box says enough of where not to learn.
    crowd = np.array([bool(person.get("iscrowd") or person.get("ignore")) for person in people], np.bool_)
    return Labels(boxes, np.ascontiguousarray(joints[..., :2]), joints[..., 2] > 0, crowd)


def _joints(person: Entry, count: int, name: str, faults: Faults) -> Sequence[float]:
    """x, y, v of each joint, all zero for a person without."""
    joints: Sequence[float] = person.get("keypoints") or ()
    if len(joints) == 3 * count:
        return joints
    faults.add(f"people have another number of joints than {count} (taken as boxes)", name, int(len(joints) > 0))
    return (0.0,) * (3 * count)


def _is_complete(entry: Entry) -> bool:
    return not any(word in str(entry.get("labels", "")) for word in INCOMPLETE)
