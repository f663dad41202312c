"""A course in finding people: sets of pictures in, a trained YOLOX out, gone on with where it was left."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.export import Say
from engines.training.checkpoint import BEST
from engines.training.course import Trained, going_on, origin_of, warning
from engines.training.crew import Crew
from engines.training.detector import DetectorLesson, DetectorTraining
from engines.training.labels import LabelledPicture, LabelledSet, Labels, each_once
from engines.training.loop import Loop, LoopOptions, Tell
from engines.training.picture_pack import PackOptions, PicturePack, open_picture_pack
from engines.training.split import part, shares_of
from engines.training.teacher import TeacherOptions, open_box_teacher


@dataclass(frozen=True, slots=True)
class DetectorCourse:
    """What a course in finding people takes beside its sets; see PoseCourse."""

    training: DetectorTraining
    loop: LoopOptions = field(default_factory=LoopOptions)
    pack: PackOptions = field(default_factory=PackOptions)
    teacher: TeacherOptions = field(default_factory=TeacherOptions)
    held: float | None = None
    excluded: tuple[Path, ...] = ()
    device: str = "cpu"


def train_detector(
    sets: Sequence[LabelledSet], course: DetectorCourse, folder: Path, packs: Path, crew: Crew, say: Say, tell: Tell
) -> Trained:
    """Train in `folder`, which gets the checkpoint and the best weights; `packs` holds the packed pictures.

    As `train_pose` does. Raises ValueError for sets that do not do, OSError where files cannot be read or written,
    EngineError where networks do not fit.
    """
    sets, training = _complete(sets, course.teacher, say), course.training
    pictures = each_once(sets)
    paths = [one.path for _, one in pictures]
    parts = part(paths, course.held, training.seed, course.excluded)
    pack = pack_pictures(sets, course, packs, say) if crew.is_first else None
    crew.wait()
    pack = pack or pack_pictures(sets, course, packs, say)  # the others find it there
    learnt, held = np.flatnonzero(~parts.held & ~parts.left), np.flatnonzero(parts.held)
    _check_people(pack, learnt, held)
    own = replace(training, seed=crew.seed(training.seed))
    shares = shares_of(sets, np.array([number for number, _ in pictures], np.int64)[learnt])
    lesson = DetectorLesson(pack, own, learnt, held, None if len({one.weight for one in sets}) == 1 else shares)
    try:
        origin = origin_of(paths, parts, (training, course.pack, course.loop.steps, course.loop.rate))
        loop = Loop(lesson, course.loop, folder, course.device, crew, origin)
        count = sum(parameter.numel() for parameter in lesson.network.parameters())
        say(
            f"{len(learnt):,} pictures to learn from, {len(held):,} held back to mark by, {int(parts.left.sum()):,} "
            f"left out; {count / 1e6:.2f} M parameters{warning(parts)}{going_on(loop)}"
        )
        progress = loop.run(tell)
    finally:
        lesson.close()
    samples = progress.step * training.batch * crew.size
    return Trained(folder / BEST, progress, loop.is_done, samples, len(learnt), len(held), int(parts.left.sum()))


def _complete(sets: Sequence[LabelledSet], teacher: TeacherOptions, say: Say) -> Sequence[LabelledSet]:
    """The sets, without a teacher less those of their pictures in which somebody's label was not to be used.

    A set of which no picture has everybody labelled stays as it is: it wants a teacher.
    """
    if teacher.detector is not None:
        return sets
    kept = []
    for one in sets:
        whole = tuple(picture for picture in one.pictures if picture.has_all)
        if whole and len(whole) < len(one.pictures):
            lacking = len(one.pictures) - len(whole)
            say(f"{one.name}: {lacking:,} pictures left out, as not everybody in them is labelled")
        kept.append(replace(one, pictures=whole or one.pictures))
    return kept


def _check_people(pack: PicturePack, learnt: NDArray[np.int64], held: NDArray[np.int64]) -> None:
    """Raise ValueError unless there is somebody to learn from and to mark by."""
    for numbers, words in ((learnt, "to learn from"), (held, "held back to mark by")):
        if not any((~pack.people(number).passed).any() for number in numbers):
            raise ValueError(f"nobody is in the {len(numbers)} pictures {words}; add pictures, or --hold more of them")


def pack_pictures(sets: Sequence[LabelledSet], course: DetectorCourse, folder: Path, say: Say) -> PicturePack:
    """The packed pictures of the sets, with the people whom the teacher finds where not everybody is labelled."""
    pictures, teacher = [_with_boxes(one) for _, one in each_once(sets)], None
    with ExitStack() as stack:
        if course.teacher.detector is not None:
            teacher = stack.enter_context(open_box_teacher(course.teacher))
        return open_picture_pack(folder, pictures, teacher, course.pack, say)


def _with_boxes(picture: LabelledPicture) -> LabelledPicture:
    """A picture with the labels that say where its people are: none where they only place crops."""
    return picture if picture.has_boxes else replace(picture, labels=Labels.none(picture.labels.keypoints.shape[1]))
