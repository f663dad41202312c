"""The sets that a training is given on the command line, and what was found in them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engines.results import Skeleton
from engines.skeletons import COCO17, MPII16
from engines.training.clips import SUFFIXES as CLIPS
from engines.training.clips import clip_pictures
from engines.training.coco_labels import read_coco_labels
from engines.training.labels import LabelledPicture, LabelledSet, Labels
from engines.training.likeness import digest
from engines.training.mpii_labels import read_mpii_labels
from engines.training.pictures import list_pictures


@dataclass(frozen=True, slots=True)
class SetOptions:
    """How sets are read.

    Joints become those of `skeleton`, by their names. Annotated pictures lie in the folder `images`, or beside their
    file. Frames of clips, one every `every_s` seconds, are kept in the folder `work`. Without `has_all` no annotation
    counts as naming everybody in its picture.
    """

    skeleton: Skeleton = COCO17
    images: Path | None = None
    work: Path = Path("work")
    every_s: float = 1.0
    has_all: bool = True


def read_set(spec: str, options: SetOptions = SetOptions()) -> LabelledSet:
    """The set `PATH` or `PATH*WEIGHT` (1): COCO or MPII annotations (.json), a folder of pictures, or a clip.

    Raises ValueError for a spec or file of another kind, or one of which nothing is left; OSError for what is not there
    or cannot be read.
    """
    path, weight = _parse(spec)
    is_labelled = path.suffix.lower() == ".json" and path.is_file()
    faults: tuple[str, ...] = ()
    if is_labelled:
        pictures, faults = _read_annotations(path, options)
    elif path.is_dir():
        pictures = _unlabelled(list_pictures(path), options.skeleton)
    elif path.suffix.lower() in CLIPS:
        pictures = _unlabelled(clip_pictures(path, options.work, options.every_s), options.skeleton)
    else:
        raise ValueError(f"{path}: is no data to train on; name COCO or MPII annotations (.json), a folder or a clip")
    if not pictures:
        raise ValueError(f"{path}: no picture to train on; {faults[0] if faults else 'name a folder that has some'}")
    return LabelledSet(spec, pictures, weight, is_labelled, faults)


def report(sets: Sequence[LabelledSet]) -> list[str]:
    """What was found in sets: a line each, their faults indented below, and last the pictures that are there twice.

    Reads every picture's bytes. Raises OSError where one has gone.
    """
    lines = []
    for one in sets:
        lines.append(f"{one.name}: {_contents(one)}; weight {one.weight:g}")
        lines += [f"  {fault}" for fault in one.faults]
    return lines + _copies(sets)


def in_joints(labels: Labels, own: Skeleton, wanted: Skeleton) -> Labels:
    """The labels in the joints of another skeleton: of equal name; the others are not labelled."""
    if own == wanted:
        return labels
    places = [(own.names.index(name), k) for k, name in enumerate(wanted.names) if name in own.names]
    theirs, ours = [a for a, _ in places], [b for _, b in places]
    people, joints = len(labels.boxes), len(wanted.names)
    keypoints, visible = np.zeros((people, joints, 2), np.float32), np.zeros((people, joints), np.bool_)
    keypoints[:, ours], visible[:, ours] = labels.keypoints[:, theirs], labels.visible[:, theirs]
    return Labels(labels.boxes, keypoints, visible, labels.crowd)


def _parse(spec: str) -> tuple[Path, float]:
    """Path and weight of a spec."""
    name, star, text = spec.rpartition("*")
    if not star or Path(spec).exists():
        name, text = spec, "1"
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not (math.isfinite(weight) and weight > 0):
        raise ValueError(f"{spec}: the weight after * must be a number above 0, got {text!r}")
    path = Path(name)
    if not path.exists():
        raise FileNotFoundError(f"{path}: is not there; name annotations (.json), a folder of pictures or a clip")
    return path, weight


def _unlabelled(paths: Iterable[Path], skeleton: Skeleton) -> tuple[LabelledPicture, ...]:
    nobody = Labels.none(len(skeleton.names))
    return tuple(LabelledPicture(path, nobody, False) for path in paths)


def _read_annotations(file: Path, options: SetOptions) -> tuple[tuple[LabelledPicture, ...], tuple[str, ...]]:
    """Of COCO, whose file is a mapping, or MPII, whose file is a list."""
    with file.open("rb") as opened:
        is_list = opened.read(1024).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")
    if is_list:
        found, faults = read_mpii_labels(file, options.images)
    else:
        found, faults = read_coco_labels(file, options.images, options.has_all)
    own = MPII16 if is_list else COCO17
    return tuple(LabelledPicture(p.path, in_joints(p.labels, own, options.skeleton), p.has_all) for p in found), faults


def _contents(one: LabelledSet) -> str:
    pictures = f"{len(one.pictures):,} pictures"
    if not one.is_labelled:
        return f"{pictures}, for the teacher to label"
    people = sum(int((~p.labels.crowd).sum()) for p in one.pictures)
    crowds = sum(int(p.labels.crowd.sum()) for p in one.pictures)
    posed = sum(int((p.labels.visible.any(axis=1) & ~p.labels.crowd).sum()) for p in one.pictures)
    joints = sum(int(p.labels.visible[~p.labels.crowd].sum()) for p in one.pictures)
    complete = sum(p.has_all for p in one.pictures)
    return (
        f"{pictures} ({complete:,} with everybody labelled), {people:,} people ({posed:,} with joints), "
        f"{joints:,} labelled joints, {crowds:,} crowds"
    )


def _copies(sets: Sequence[LabelledSet]) -> list[str]:
    """A line for each set, or two of them, that have pictures of the same bytes."""
    seen: dict[str, tuple[int, Path]] = {}
    pairs: dict[tuple[int, int], list[str]] = {}
    for number, one in enumerate(sets):
        for picture in one.pictures:
            first, path = seen.setdefault(digest(picture.path), (number, picture.path))
            if path is not picture.path:
                pairs.setdefault((first, number), []).append(f"{path.name} and {picture.path.name}")
    return [
        f"{len(examples):,} pictures of {sets[b].name} are "
        + ("there twice" if a == b else f"in {sets[a].name} too")
        + f", first {examples[0]}"
        for (a, b), examples in pairs.items()
    ]
