"""MPII's annotations and its score: the share of joints within half a head's size of the truth (PCKh@0.5).

The rules are those of the reference code (HRNet, lib/dataset/mpii.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engines.annotated import locate_pictures, read_json
from engines.backends.base import EngineError
from engines.results import Detections, Poses, Skeleton
from engines.skeletons import MPII16

PERSON_PIXELS: Final = 200
"""Pixels of a person's height at scale 1 (`pixel_std`)."""
_DOWN, _GROWTH = 15, 1.25
"""How far, at scale 1, the annotated centre is moved down, and how much the scale grows, so that no limb is cut off."""
HEAD_SIZE: Final = 0.6
"""Of the diagonal of the head's box, what PCKh takes for the head's size (`SC_BIAS`)."""
NECK_TO_TOP: Final = 0.8
"""Of that diagonal, how far apart head top and upper neck lie: MPII made them from the box (seen to 0.01 pixel)."""

GROUPS: Final = {
    "Head": ("head_top",),
    **{part.title(): (f"left_{part}", f"right_{part}") for part in
       ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")},
}  # fmt: skip
"""The columns of MPII's table: each the mean of its joints."""
JOINTS: Final = len(MPII16.names)
_UNSCORED = ("pelvis", "thorax")
"""Joints that are left out of the mean."""


@dataclass(frozen=True, slots=True)
class MpiiPicture:
    """A picture, and which rows of the people are in it; its size is not annotated."""

    number: int
    path: Path
    people: tuple[int, ...]
    size: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class MpiiPeople:
    """P listed people: `rows` are theirs by the name of their picture, in the order of the file.

    `joints` is (P, 16, 2) float64 xy in pixels from 0, `visible` (P, 16); `boxes` (P, 4) float32 xyxy are squares about
    the annotated centres.
    """

    rows: Mapping[str, tuple[int, ...]]
    joints: NDArray[np.float64]
    visible: NDArray[np.bool_]
    boxes: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class MpiiTruth:
    """P annotated people, in the order of their file, and the pictures that they are in.

    `joints` is (P, 16, 2) float64 xy in pixels from 0, `visible` (P, 16); `boxes` (P, 4) float32 xyxy are squares about
    the annotated centres; `head_sizes` (P,) in pixels.
    """

    pictures: tuple[MpiiPicture, ...]
    joints: NDArray[np.float64]
    visible: NDArray[np.bool_]
    boxes: NDArray[np.float32]
    head_sizes: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class MpiiScores:
    """The share of joints found, in percent: of each column of MPII's table, and of all; None where no joint counts.

    `joints` are those that the mean is of.
    """

    groups: dict[str, float | None]
    mean: float | None
    joints: tuple[str, ...]


def read_mpii(file: Path, images: Path | None = None, official: Path | None = None) -> MpiiTruth:
    """Read a list of people as the reference code has it (`valid.json`): image, center, scale, joints, joints_vis.

    `official` is its `gt_valid.mat`, whose joints and head boxes then count; without it the head's size is told by head
    top and upper neck. Raises ValueError for files that are something else.
    """
    people = read_people(file)
    paths = locate_pictures(file, list(people.rows), images)
    pictures = tuple(
        MpiiPicture(number, path, rows)
        for number, (path, rows) in enumerate(zip(paths, people.rows.values(), strict=True))
    )
    sizes = head_sizes(people.joints, people.visible)
    truth = MpiiTruth(pictures, people.joints, people.visible, people.boxes, sizes)
    return truth if official is None else _with_official(truth, official)


def read_people(file: Path) -> MpiiPeople:
    """The people that a file lists; ValueError where it is no such file or lists nobody."""
    entries = read_json(file)
    try:
        names = [str(entry["image"]) for entry in entries]
        if not names:
            raise ValueError("nobody is in it")
        centers = np.array([entry["center"] for entry in entries], np.float64).reshape(-1, 2)
        scales = np.array([entry["scale"] for entry in entries], np.float64)
        joints = np.array([entry["joints"] for entry in entries], np.float64).reshape(len(names), JOINTS, 2)
        visible = np.array([entry["joints_vis"] for entry in entries], np.bool_).reshape(len(names), JOINTS)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{file}: no MPII people ({type(error).__name__}: {error}); name one like the reference code's valid.json"
        ) from error
    rows: dict[str, tuple[int, ...]] = {}
    for row, name in enumerate(names):
        rows[name] = (*rows.get(name, ()), row)
    # MPII counts pixels from 1.
    return MpiiPeople(rows, joints - 1, visible, person_boxes(centers, scales))


def person_boxes(centers: NDArray[np.float64], scales: NDArray[np.float64]) -> NDArray[np.float32]:
    """The squares (P, 4) float32 xyxy, pixels from 0, about annotated centres (P, 2) in pixels from 1; scales (P,).

    A crop of a square, with the usual padding, covers what the reference's does.
    """
    annotated = centers[:, 0] != -1
    middles = centers - 1
    middles[:, 1] += np.where(annotated, _DOWN * scales, 0)
    # The growth is the padding of a crop; a person without a centre gets none, so the square is smaller by it.
    halves = np.where(annotated, scales, scales / _GROWTH)[:, None] * PERSON_PIXELS / 2
    return np.concatenate([middles - halves, middles + halves], axis=1).astype(np.float32)


def head_sizes(joints: NDArray[np.float64], visible: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The sizes (P,) of heads by head top and upper neck of joints (P, 16, 2); nan where one is not annotated."""
    ends = [MPII16.names.index(name) for name in ("upper_neck", "head_top")]
    lengths = np.linalg.norm(joints[:, ends[1]] - joints[:, ends[0]], axis=-1)
    return np.where(visible[:, ends].all(axis=1), HEAD_SIZE / NECK_TO_TOP * lengths, np.nan)


def mpii_boxes(truth: MpiiTruth) -> dict[int, Detections]:
    """The people's squares by picture, each with score 1."""
    return {
        p.number: Detections(truth.boxes[list(p.people)], np.ones(len(p.people), np.float32)) for p in truth.pictures
    }


def score_mpii(truth: MpiiTruth, poses: Mapping[int, Poses], threshold: float = 0.5) -> MpiiScores:
    """PCKh of poses by picture, row i being of the picture's i-th person; of the joints that both skeletons name.

    People without a head's size are passed over. Raises EngineError where no joint has a name of MPII's.
    """
    own, theirs = shared_joints(next(iter(poses.values())).skeleton)
    points = np.zeros(truth.joints.shape)
    for picture in truth.pictures:
        points[np.ix_(picture.people, own)] = poses[picture.number].keypoints[:, theirs]
    counted = truth.visible & np.isin(np.arange(len(MPII16.names)), own)
    hits, counts = count_hits(points, truth.joints, counted, truth.head_sizes, threshold)
    return _summary(hits, counts)


def count_hits(
    points: NDArray[np.float64],
    joints: NDArray[np.float64],
    counted: NDArray[np.bool_],
    sizes: NDArray[np.float64],
    threshold: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many of the joints (P, 16, 2) `points` come within `threshold` heads of, and how many count, each (16,).

    Those count that `counted` (P, 16) says, of people whose head's size (P,) is known.
    """
    counted = counted & (sizes > 0)[:, None]
    distances = np.linalg.norm(points - joints, axis=-1)
    hits = counted & (distances <= threshold * np.where(sizes > 0, sizes, 0)[:, None])
    return hits.sum(axis=0), counted.sum(axis=0)


def shared_joints(skeleton: Skeleton) -> tuple[list[int], list[int]]:
    """The joints of MPII that a skeleton names too, and which of its own they are; EngineError where there are none."""
    pairs = [(own, skeleton.names.index(name)) for own, name in enumerate(MPII16.names) if name in skeleton.names]
    if not pairs:
        raise EngineError(f"{skeleton.name}: has no joint of MPII's; choose another model")
    return [own for own, _ in pairs], [theirs for _, theirs in pairs]


def _summary(hits: NDArray[np.int64], counts: NDArray[np.int64]) -> MpiiScores:
    """The table's columns and the mean, in percent, of hits and counts (16,)."""
    shares = {
        name: 100 * int(hit) / int(count)
        for name, hit, count in zip(MPII16.names, hits, counts, strict=True)
        if count > 0
    }
    groups: dict[str, float | None] = {}
    for group, names in GROUPS.items():
        known = [shares[name] for name in names if name in shares]
        groups[group] = sum(known) / len(known) if known else None
    scored = [name not in _UNSCORED for name in MPII16.names]
    total = int(counts[scored].sum())
    return MpiiScores(
        groups=groups,
        mean=100 * int(hits[scored].sum()) / total if total else None,
        joints=tuple(name for name in shares if name not in _UNSCORED),
    )


def _with_official(truth: MpiiTruth, file: Path) -> MpiiTruth:
    """The truth with the joints, visibility and head boxes of the reference code's `gt_valid.mat`."""
    from scipy.io import loadmat

    try:
        data = loadmat(file)
        joints = np.asarray(data["pos_gt_src"], np.float64).transpose(2, 0, 1)  # (P, 16, 2)
        missing = np.asarray(data["jnt_missing"]).T.astype(np.bool_)  # (P, 16)
        corners = np.asarray(data["headboxes_src"], np.float64)  # (2, 2, P)
    except (KeyError, ValueError, NotImplementedError) as error:
        raise ValueError(f"{file}: no gt_valid.mat of the reference code ({type(error).__name__}: {error})") from error
    if joints.shape != truth.joints.shape:
        raise ValueError(
            f"{file}: has {len(joints)} people, the annotations have {len(truth.joints)}; name its valid.json"
        )
    sizes = HEAD_SIZE * np.linalg.norm(corners[1] - corners[0], axis=0)
    return replace(truth, joints=joints - 1, visible=~missing, head_sizes=sizes)
