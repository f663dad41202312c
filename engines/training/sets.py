"""The sets that a training is given on the command line, and what was found in them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from engines.results import Skeleton
from engines.skeletons import COCO17, MPII16
from engines.training.checking import UNREADABLE, Faults
from engines.training.clips import SUFFIXES as CLIPS
from engines.training.clips import clip_pictures, list_clips
from engines.training.coco_labels import read_coco_labels
from engines.training.labels import LabelledPicture, LabelledSet, Labels, in_joints
from engines.training.likeness import digest, ending
from engines.training.mpii_labels import read_mpii_labels
from engines.training.pictures import MIRRORED, Folders, list_pictures, picture_header

_TURNED = (
    "pictures are turned by their EXIF orientation, which is passed over (turn their pixels with exiftran -ai or "
    "jpegtran, or label them)"
)


@dataclass(frozen=True, slots=True)
class SetOptions:
    """How sets are read.

    Joints become those of `skeleton`, by their names. Annotated pictures lie in the folder `images`, in the first of
    several that has them, or beside their file. Frames of clips, one every `every_s` seconds, are kept in the folder
    `work`. Without `has_all` no annotation counts as naming everybody in its picture.
    """

    skeleton: Skeleton = COCO17
    images: Folders = None
    work: Path = Path("work")
    every_s: float = 1.0
    has_all: bool = True


def read_set(spec: str, options: SetOptions = SetOptions()) -> LabelledSet:
    """The set `PATH` or `PATH*WEIGHT` (1): COCO or MPII annotations (.json), a folder, or a clip.

    Of a folder the pictures and the frames of the clips are taken, not those in its folders. Raises ValueError for
    a spec or file of another kind, or one of which nothing is left; OSError for what is not there or cannot be read.
    """
    path, weight = _parse(spec)
    is_labelled = path.suffix.lower() == ".json" and path.is_file()
    if is_labelled:
        pictures, faults = _read_annotations(path, options)
    elif path.is_dir():
        pictures, faults = _unlabelled(list_pictures(path), list_clips(path), options)
    elif path.suffix.lower() in CLIPS:
        pictures, faults = _unlabelled([], [path], options)
    else:
        raise ValueError(f"{path}: is no data to train on; name COCO or MPII annotations (.json), a folder or a clip")
    if not pictures:
        raise ValueError(f"{path}: no picture to train on; {faults[0] if faults else 'name a folder that has some'}")
    return LabelledSet(spec, pictures, weight, is_labelled, faults)


def report(sets: Sequence[LabelledSet]) -> list[str]:
    """What was found in sets: a line each, their faults indented below, and last the pictures that are there twice.

    Reads the end of every picture, and all bytes of those that may be copies. Raises OSError where one has gone.
    """
    lines = []
    for one in sets:
        lines.append(f"{one.name}: {_contents(one)}; weight {one.weight:g}")
        lines += [f"  {fault}" for fault in one.faults]
    return lines + _copies(sets)


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


def _unlabelled(
    paths: Sequence[Path], clips: Sequence[Path], options: SetOptions
) -> tuple[tuple[LabelledPicture, ...], tuple[str, ...]]:
    """Pictures and the frames of clips, with nobody labelled, and what was found wrong."""
    faults, nobody, kept = Faults(), Labels.none(len(options.skeleton.names)), list[Path]()
    for path in paths:
        header = picture_header(path)
        if header is None:
            faults.add(UNREADABLE, path.name)
            continue
        kept.append(path)
        if header.orientation > MIRRORED:
            faults.add(_TURNED, path.name)
    kept += [frame for clip in clips for frame in clip_pictures(clip, options.work, options.every_s)]
    return tuple(LabelledPicture(path, nobody, False) for path in kept), faults.lines()


def _read_annotations(file: Path, options: SetOptions) -> tuple[tuple[LabelledPicture, ...], tuple[str, ...]]:
    """Of COCO, whose file is a mapping, or MPII, whose file is a list."""
    with file.open("rb") as opened:
        is_list = opened.read(1024).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")
    if not is_list:
        return read_coco_labels(file, options.images, options.has_all, options.skeleton)
    found, faults = read_mpii_labels(file, options.images)
    return tuple(replace(p, labels=in_joints(p.labels, MPII16.names, options.skeleton)) for p in found), faults


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
    for number, path in _doubtful([(number, p.path) for number, one in enumerate(sets) for p in one.pictures]):
        first, other = seen.setdefault(digest(path), (number, path))
        if other is not path:
            pairs.setdefault((first, number), []).append(f"{other.name} and {path.name}")
    return [
        f"{len(examples):,} pictures of {sets[b].name} are "
        + ("there twice" if a == b else f"in {sets[a].name} too")
        + f", first {examples[0]}"
        for (a, b), examples in pairs.items()
    ]


def _doubtful(pictures: Sequence[tuple[int, Path]]) -> Iterator[tuple[int, Path]]:
    """Those pictures, in order, whose length and last bytes another has too: few, so that few need be read."""
    ends = [ending(path) for _, path in pictures]
    counts = Counter(ends)
    return (picture for picture, end in zip(pictures, ends, strict=True) if counts[end] > 1)
