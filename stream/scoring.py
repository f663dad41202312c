"""What `run.py eval` does: models opened, run over annotated pictures, and their scores as rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, get_args

from engines.annotated import Picture
from engines.coco import (
    CocoScores,
    CocoTruth,
    PoseRules,
    box_results,
    check_library,
    pose_results,
    read_detections,
    score_boxes,
    score_poses,
    truth_boxes,
)
from engines.evaluate import REPORTED, WorstPerson, crop_areas, detect_people, estimate_poses, worst_people
from engines.heatmap import EXACT_SHIFT, REFERENCE_SHIFT, Decode
from engines.hrnet import PoseEstimator, PoseOptions
from engines.mpii import MpiiScores, MpiiTruth, mpii_boxes, score_mpii
from engines.opening import OpenModel
from engines.results import Detections, Poses
from engines.wording import size_words
from engines.yolo import PersonDetector
from stream.config import ModelOptions
from stream.models import opened

TRUTH, DETECTOR = "truth", "detector"
"""Where boxes come from; anything else is a COCO results file."""
BEST: Final = PoseOptions(decode="dark", flip_test=True, flip_shift=EXACT_SHIFT)
"""What scored highest of all combinations (gt/coco_val, fp32), with the default PoseRules."""

Follow = Callable[[Sequence[Picture], str], Iterable[Picture]]
"""Hands on the pictures one by one and shows how far they are, under a few words."""


@dataclass(frozen=True, slots=True)
class Variation:
    """One way to estimate poses and to make results of them."""

    pose: PoseOptions = BEST
    rules: PoseRules = field(default_factory=PoseRules)


@dataclass(frozen=True, slots=True)
class CocoRow:
    """The scores of people's boxes (`variation` None), or of poses; `boxes` names the boxes that were used."""

    boxes: str
    count: int
    variation: Variation | None
    scores: CocoScores


@dataclass(frozen=True, slots=True)
class Found:
    """Boxes by picture, where from (`source`, and `name` for people), and the poses in them of the first variation."""

    source: str
    name: str
    boxes: Mapping[int, Detections]
    poses: Mapping[int, Poses]


@dataclass(frozen=True, slots=True)
class CocoReport:
    """All rows, what was found by each source of boxes, and a line on each model."""

    rows: tuple[CocoRow, ...]
    found: tuple[Found, ...]
    notes: tuple[str, ...]


def score_coco(
    truth: CocoTruth,
    models: ModelOptions,
    sources: Sequence[str],
    variations: Sequence[Variation],
    follow: Follow,
) -> CocoReport:
    """Score the boxes of `sources` (TRUTH, DETECTOR or files of results), and the poses in them by each variation.

    The poses of equal PoseOptions are estimated once. Truth has no row for its boxes, and as none of them stands twice
    for a person no suppression.
    """
    check_library()
    rows: list[CocoRow] = []
    found: list[Found] = []
    notes: list[str] = []
    for source in dict.fromkeys(sources):
        name, boxes, note = _boxes(truth, source, models, follow)
        found.append(Found(source, name, boxes, {}))
        notes += [note] if note else []
        if source != TRUTH:
            rows.append(CocoRow(name, _count(boxes), None, score_boxes(truth, box_results(boxes))))
    if not truth.people:
        return CocoReport(tuple(rows), tuple(found), (*notes, f"{truth.file}: has no key points; no poses are scored"))
    with opened(models, "pose") as pose:
        for place, each in enumerate(found):
            scored, poses = _score_poses(truth, each, pose, variations, follow)
            rows += scored
            found[place] = replace(each, poses=poses)
        notes.append(_note("pose", pose))
    return CocoReport(tuple(rows), tuple(found), tuple(notes))


def score_pose(truth: CocoTruth, models: ModelOptions) -> CocoScores:
    """The scores of the poses in the true boxes, as a run estimates them: without flip test, with a quarter shift."""
    check_library()
    plain = Variation(PoseOptions(), PoseRules())
    with opened(models, "pose") as model:
        rows, _ = _score_poses(truth, Found(TRUTH, TRUTH, truth_boxes(truth), {}), model, [plain], _in_silence)
    return rows[0].scores


def score_detector(truth: CocoTruth, models: ModelOptions) -> CocoScores:
    """The scores of the boxes that the detector finds."""
    check_library()
    _, boxes, _ = _boxes(truth, DETECTOR, models, _in_silence)
    return score_boxes(truth, box_results(boxes))


def one_change(base: Variation) -> list[Variation]:
    """`base`, and every variation that differs from it in one thing."""
    pose, rules = base.pose, base.rules
    decodes = [replace(pose, decode=decode) for decode in get_args(Decode) if decode != pose.decode]
    shift = EXACT_SHIFT if pose.flip_shift == REFERENCE_SHIFT else REFERENCE_SHIFT
    shifts = [replace(pose, flip_shift=shift)] if pose.flip_test else []
    poses = [*decodes, *shifts, replace(pose, flip_test=not pose.flip_test)]
    others = [
        replace(rules, oks_nms=PoseRules().oks_nms if rules.oks_nms is None else None),
        replace(rules, rescore=not rules.rescore),
    ]
    return [base, *(replace(base, pose=other) for other in poses), *(replace(base, rules=other) for other in others)]


def worst_of(truth: CocoTruth, found: Found, count: int) -> list[tuple[WorstPerson, Poses]]:
    """The `count` people whom the poses of one source of boxes missed most, worst first, each with those poses."""
    if not found.poses:
        return []
    worst = worst_people(truth, found.poses, count, paired=found.source == TRUTH)
    return [(person, found.poses[person.picture.number]) for person in worst]


def run_mpii(truth: MpiiTruth, models: ModelOptions, pose: PoseOptions, follow: Follow) -> tuple[MpiiScores, str]:
    """The scores of a pose model in the annotated people's squares, and a line on the model."""
    with opened(models, "pose") as model:
        estimator = PoseEstimator(model.backend, model.card, pose)
        poses = estimate_poses(estimator, follow(truth.pictures, "poses"), mpii_boxes(truth))
        return score_mpii(truth, poses), _note("pose", model)


def _boxes(
    truth: CocoTruth, source: str, models: ModelOptions, follow: Follow
) -> tuple[str, dict[int, Detections], str | None]:
    """What to call a source of boxes, its boxes by picture, and a line on the model that made them."""
    if source == TRUTH:
        return "ground truth", truth_boxes(truth), None
    if source != DETECTOR:
        return Path(source).name, read_detections(Path(source), truth), None
    with opened(models, "detect") as model:
        detector = PersonDetector(model.backend, model.card, REPORTED)
        boxes = detect_people(detector, follow(truth.pictures, "boxes"))
        return f"{model.card.name} at {size_words(model.card.input.size)}", boxes, _note("detector", model)


def _score_poses(
    truth: CocoTruth, found: Found, model: OpenModel, variations: Sequence[Variation], follow: Follow
) -> tuple[list[CocoRow], Mapping[int, Poses]]:
    """A row for each variation, and the poses of the first."""
    rows: list[CocoRow] = []
    known: dict[PoseOptions, dict[int, Poses]] = {}
    for variation in dict.fromkeys(_that_matter(found, model, variations)):
        options = variation.pose
        if options not in known:
            estimator = PoseEstimator(model.backend, model.card, options)
            words = f"poses, {found.name}, {options.decode}"
            known[options] = estimate_poses(estimator, follow(truth.pictures, words), found.boxes)
        areas = crop_areas(found.boxes, model.card.input.size, options.padding)
        results = pose_results(found.boxes, known[options], areas, variation.rules)
        rows.append(CocoRow(found.name, len(results), variation, score_poses(truth, results)))
    return rows, next(iter(known.values()))


def _that_matter(found: Found, model: OpenModel, variations: Sequence[Variation]) -> Iterator[Variation]:
    """The variations without what makes no difference: suppression in true boxes, the decoding of SimCC vectors."""
    for variation in variations:
        pose, rules = variation.pose, variation.rules
        if found.source == TRUTH:
            rules = replace(rules, oks_nms=None)
        if model.card.family == "simcc":
            pose = replace(pose, decode="argmax")
        yield Variation(pose, rules)


def _in_silence(pictures: Sequence[Picture], _words: str) -> Iterable[Picture]:
    return pictures


def _note(role: str, model: OpenModel) -> str:
    return f"{role}: {model.note}, on {model.backend.name}"


def _count(boxes: Mapping[int, Detections]) -> int:
    return sum(len(found.scores) for found in boxes.values())
