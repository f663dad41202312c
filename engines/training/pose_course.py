"""A course in poses: sets of pictures in, a trained network with its card out, gone on with where it was left."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from engines.export import Say, silent
from engines.nets.hrnet import HRNet
from engines.nets.hrnet_layout import HrnetLayout
from engines.nets.hrnet_start import FrozenPart, begin, freeze
from engines.nets.unfold import calibrate
from engines.results import Skeleton
from engines.skeletons import skeleton
from engines.training.checkpoint import BEST
from engines.training.course import Follow, Trained, going_on, origin_of, warning
from engines.training.crew import Crew
from engines.training.crowd_file import crowd_file, kept_crowd
from engines.training.labels import LabelledSet, each_once
from engines.training.loop import Loop, LoopOptions, Tell
from engines.training.people import Crowd, gather
from engines.training.pose import PoseLesson, PoseTraining
from engines.training.pose_pack import PosePack, open_pose_pack
from engines.training.split import Parts, part, shares_of
from engines.training.teacher import TeacherOptions, open_box_teacher, open_pose_teacher

Rows = NDArray[np.int64]

CALIBRATED = 8
"""Batches that a network out of an ONNX is calibrated on."""


@dataclass(frozen=True, slots=True)
class PoseCourse:
    """What a course in poses takes beside its sets.

    `layout` None takes that of the checkpoint `start`, or a slim one; `start` None begins from nothing. `held` is the
    share of the pictures to mark by, None the usual one; those like any of `excluded` are not used at all. `most`
    people are learnt from. The part `frozen` of the network does not learn.
    """

    training: PoseTraining
    loop: LoopOptions = field(default_factory=LoopOptions)
    skeleton: str = "coco17"
    layout: HrnetLayout | None = None
    start: Path | None = None
    frozen: FrozenPart | None = None
    teacher: TeacherOptions = field(default_factory=TeacherOptions)
    held: float | None = None
    excluded: tuple[Path, ...] = ()
    most: int | None = None
    device: str = "cpu"


def train_pose(
    sets: Sequence[LabelledSet],
    course: PoseCourse,
    folder: Path,
    packs: Path,
    crew: Crew,
    say: Say,
    follow: Follow,
    tell: Tell,
) -> Trained:
    """Train in `folder`, which gets the checkpoint and the best weights; `packs` holds the packed people.

    `say` is told in a line what is learnt from, `tell` of each step. Of a crew the first packs, while the others wait.
    Raises ValueError for sets that do not do, OSError where files cannot be read or written, EngineError where networks
    do not fit.
    """
    joints, training = skeleton(course.skeleton), course.training
    paths = [picture.path for _, picture in each_once(sets)]
    parts = part(paths, course.held, training.seed, course.excluded)
    network, frozen = start_network(course, len(joints.names))
    pack = pack_people(sets, joints, course, packs, follow, say) if crew.is_first else None
    crew.wait()
    pack = pack or pack_people(sets, joints, course, packs, follow, say)  # the others find it there
    learnt, held = people_of(pack, parts, course.most, training.seed)
    check_joints(joints, (pack.labelled | pack.taught)[learnt])
    own = replace(training, seed=crew.seed(training.seed))
    weights = shares_of(sets, pack.sets[learnt])
    lesson = PoseLesson(network, pack, joints, own, learnt, held, weights, frozen, course.device)
    if course.start is not None and course.start.suffix == ".onnx":  # its normalisations hold no statistics
        calibrate(network.to(course.device), lesson.crops(CALIBRATED))
    loop = Loop(lesson, course.loop, folder, course.device, crew, _origin(paths, parts, course))
    count = sum(parameter.numel() for parameter in network.parameters())
    say(
        f"{len(learnt):,} people to learn from, {len(held):,} held back to mark by, {int(parts.left.sum()):,} pictures "
        f"left out; {count / 1e6:.2f} M parameters{warning(parts)}{going_on(loop)}"
    )
    progress = loop.run(tell)
    samples = training.samples(progress.step) * crew.size
    return Trained(folder / BEST, progress, loop.is_done, samples, len(learnt), len(held), int(parts.left.sum()))


def _origin(paths: Sequence[Path], parts: Parts, course: PoseCourse) -> str:
    """What a checkpoint of this course is told by."""
    start = course.start and course.start.name
    said = (course.training, course.skeleton, start, course.most, course.frozen)
    return origin_of(paths, parts, (*said, course.loop.steps, course.loop.rate))


def pack_people(
    sets: Sequence[LabelledSet], joints: Skeleton, course: PoseCourse, folder: Path, follow: Follow, say: Say = silent
) -> PosePack:
    """The packed people of the sets, found and taught by the teachers where they are not labelled.

    Where another process is at it, `say` is told so, and it is waited for.
    """
    count, size = len(joints.names), course.training.stages[-1].size
    with ExitStack() as stack:
        poses = None
        if course.teacher.pose is not None:
            poses = stack.enter_context(open_pose_teacher(course.teacher))
            if poses.skeleton != joints:
                raise ValueError(f"the teacher poses {poses.skeleton.name}, wanted {joints.name}; name another")
        crowd = find_crowd(sets, count, course.teacher, folder, follow, say)
        untold = sum(not person.visible.any() for person in crowd.people)
        if poses is None and untold:
            raise ValueError(f"nobody labelled the joints of {untold:,} people; name a --teacher, or take them out")
        return open_pose_pack(crowd, count, size, poses, folder, lambda paths: follow(paths, "packing people"), say)


def find_crowd(
    sets: Sequence[LabelledSet], joints: int, teacher: TeacherOptions, folder: Path, follow: Follow, say: Say = silent
) -> Crowd:
    """All people of the sets, those who are not labelled found by the teacher; once, then they are kept in `folder`.

    Whom somebody labelled by a box alone is among them where there is a teacher to pose them.
    """
    with_untold = teacher.pose is not None

    def find() -> Crowd:
        with ExitStack() as stack:
            boxes = None
            if teacher.detector is not None or not all(one.is_labelled for one in sets):
                boxes = stack.enter_context(open_box_teacher(teacher))
            crowd = gather(sets, joints, boxes, lambda paths: follow(paths, "finding people"), with_untold)
        if not crowd.people:
            raise ValueError("nobody to learn from in these pictures; add labels, or a teacher: --teacher-detector")
        return crowd

    return kept_crowd(crowd_file(folder, sets, joints, teacher, with_untold), find, say)


def people_of(pack: PosePack, parts: Parts, most: int | None, seed: int) -> tuple[Rows, Rows]:
    """The people to learn from, at most so many, and those to mark by, (n,) each; without those of no known joint."""
    rows = np.flatnonzero(pack.labelled.any(axis=1) | pack.taught.any(axis=1))
    is_held, is_left = parts.held[pack.pictures[rows]], parts.left[pack.pictures[rows]]
    learnt, held = rows[~is_held & ~is_left], rows[is_held]
    if most is not None and len(learnt) > most:
        learnt = np.sort(np.random.default_rng(seed).permutation(learnt)[:most])
    if not len(learnt) or not len(held):
        raise ValueError(
            f"{len(learnt)} people to learn from, {len(held)} to mark by; wanted some of both: add data or --hold more"
        )
    return learnt, held


def check_joints(joints: Skeleton, known: NDArray[np.bool_]) -> None:
    """Raise ValueError where a joint is known of none of the people, `known` (n, K): it would be learnt as noise."""
    unknown = [joints.names[joint] for joint in np.flatnonzero(~np.any(known, axis=0))]
    if unknown:
        raise ValueError(f"nobody tells where {', '.join(unknown)} are; name a --teacher, or another --skeleton")


def start_network(course: PoseCourse, joints: int) -> tuple[HRNet, list[nn.Module]]:
    """The network as it begins, and its modules that stay as they are."""
    if course.frozen is not None and course.start is None:
        raise ValueError(f"a {course.frozen} that has learned nothing is no use frozen; name a network with --from")
    network = begin(course.layout, joints, course.start, course.training.seed)
    for stage in course.training.stages:
        replace(network.layout, size=stage.size)  # raises where its coarsest branch would not be whole
    return network, freeze(network, course.frozen) if course.frozen is not None else []
