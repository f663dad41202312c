"""What the trainings of poses and of detectors have in common: data read, the result written and scored."""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from engines.backends.base import EngineError
from engines.cards import Accuracy, Task, TrainingNote
from engines.coco import CocoTruth, check_library, read_truth
from engines.export import Say
from engines.skeletons import skeleton
from stream.cli.train_progress import Follower

if TYPE_CHECKING:
    from engines.training.course import Trained
    from engines.training.crew import Crew
    from engines.training.labels import LabelledSet
    from engines.training.loop import LoopOptions
    from engines.training.teacher import TeacherOptions

VALIDATE_EVERY, WARM_UP = 500, 300
"""Steps, of long trainings; of short ones a tenth."""
LEAST_PATIENCE, PATIENCE = 3, 10
"""Validations without gain: half of those of the last stage, within these bounds."""
MARKS: dict[Task, str] = {"pose": "mean OKS of those held back", "detect": "AP at 0.5 of those held back"}
"""What the best step was chosen by."""
FLAGS: dict[Task, str] = {"pose": "--pose", "detect": "--detector"}
"""By which a run is told of a model."""
KEPT_PARTS = 2
"""Last parts of a path that a card tells; the folders before them are this machine's."""


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """The sets to learn from, who tells how far it is, the processes that train, and the steps done before."""

    sets: tuple[LabelledSet, ...]
    follower: Follower
    crew: Crew
    done: int


@contextmanager
def open_course(args: argparse.Namespace, joints: str) -> Iterator[Course]:
    """Read the data that the flags name and tell what is in them; the processes are connected until the end."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401

        from engines.training.checkpoint import steps_done
        from engines.training.crew import crew
    except ImportError as error:
        raise EngineError(f"training takes torch ({error}); pip install 'posestream[train]'") from error
    from engines.training.sets import SetOptions, read_set, report

    _check_files(args)
    unknown = [spec for spec in args.partial if spec not in args.data]
    if unknown:
        raise ValueError(f"--partial {unknown[0]}: is none of DATA; name it as it is named there")
    with crew() as mates:
        follower = Follower(Console(highlight=False), is_quiet=not mates.is_first)
        clips, own = args.to / "clips", skeleton(joints)
        if not mates.is_first:
            mates.wait()  # the first one cuts the clips into frames
        sets = tuple(
            read_set(spec, SetOptions(own, args.images, clips, args.every, has_all=spec not in args.partial))
            for spec in args.data
        )
        if mates.is_first:
            mates.wait()
            for line in report(sets):
                follower.say(line)
        yield Course(sets, follower, mates, steps_done(args.to))


def _check_files(args: argparse.Namespace) -> None:
    """Raise before the hours of work what would be raised after them."""
    for name in ("start", "evaluate", "distil", "network"):
        path = getattr(args, name, None)
        if path is not None and not path.is_file():
            raise FileNotFoundError(f"{path}: no such file")
    if args.evaluate is not None:
        if getattr(args, "skeleton", "coco17") != "coco17":
            raise ValueError("--evaluate scores COCO's key points; leave it out, or learn --skeleton coco17")
        check_library()
        truth_of(args)


def truth_of(args: argparse.Namespace) -> CocoTruth:
    """What --evaluate names; its pictures lie beside it, or in one of the folders of --images."""
    return _read_once(args.evaluate, (None, *(args.images or ())))


@cache
def _read_once(file: Path, folders: tuple[Path | None, ...]) -> CocoTruth:
    for folder in folders[:-1]:
        try:
            return read_truth(file, folder)
        except FileNotFoundError:
            continue
    return read_truth(file, folders[-1])


def loop_of(args: argparse.Namespace, steps: int, last: int, rate: float) -> LoopOptions:
    """How long and how fast is learnt, by the flags; `last` of the steps are of the last stage, which may end early."""
    from engines.training.loop import LoopOptions

    every = min(VALIDATE_EVERY, max(1, steps // 10)) if args.validate_every is None else args.validate_every
    patience = min(PATIENCE, max(LEAST_PATIENCE, last // max(1, every) // 2))
    return LoopOptions(
        steps=steps,
        rate=rate if args.rate is None else args.rate,
        warm_up=min(WARM_UP, steps // 10),
        precision=args.precision,
        validate_every=every,
        patience=patience if args.patience is None else args.patience,
    )


def teachers_of(args: argparse.Namespace, pose: str | None) -> TeacherOptions:
    """The teachers that the flags name."""
    from engines.training.teacher import TeacherOptions

    return TeacherOptions(detector=args.teacher_detector, pose=pose)


def excluded_pictures(args: argparse.Namespace) -> tuple[Path, ...]:
    """The pictures that none trained on may be like: those of --exclude, also in folders there, and of --evaluate."""
    from engines.training.pictures import list_pictures_below, picture_header

    scored = () if args.evaluate is None else (picture.path for picture in truth_of(args).pictures)
    named = (path for folder in args.exclude for path in list_pictures_below(folder) if picture_header(path))
    return tuple(sorted({path.resolve() for path in (*named, *scored)}))


def finish(
    args: argparse.Namespace,
    say: Say,
    trained: Trained,
    task: Task,
    size: tuple[int, int],
    measure: Callable[[CocoTruth, Path], Accuracy],
    processes: int,
) -> None:
    """Write the trained network as ONNX with its card, and score it; or tell how to go on where it was stopped."""
    from engines.training.result import with_accuracy, write_result

    if not trained.is_done:
        say(f"stopped at step {trained.progress.step:,}; the same command goes on from {args.to}/")
        return
    name, note = args.name or args.to.resolve().name, _note(args, trained, task, processes)
    result = write_result(trained.weights, task, name, args.to, size, note, say, is_compact=args.compact)
    if args.evaluate is not None:
        result = with_accuracy(result, measure(truth_of(args), result.model))
        say(f"{args.evaluate.name}: {result.card.accuracy}")
    say(f"{result.model}: best at step {trained.progress.best_step:,}")
    say(f"run.py --source clip.mp4 --output out.mp4 {FLAGS[task]} {result.model}")


def _note(args: argparse.Namespace, trained: Trained, task: Task, processes: int) -> TrainingNote:
    from engines.training.course import device_of
    from engines.training.training_card import trained_on

    progress, teachers = trained.progress, (args.teacher_detector, getattr(args, "teacher", None))
    return TrainingNote(
        command=" ".join([_starter(processes), *map(_short, sys.argv[1:])]),
        data=tuple(map(_short, args.data)),
        rights=args.rights,
        teachers=tuple(Path(named).name for named in teachers if named is not None),
        seed=args.seed,
        samples=trained.samples,
        hours=round(progress.seconds / 3600, 2),
        machine=trained_on(device_of(args.device), processes),
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        notes=f"{trained.learnt} learnt from, {trained.held} marked by, {trained.left_out} pictures left out; best "
        f"{MARKS[task]}, {progress.best:.3f}, at step {progress.best_step} of {progress.step}",
    )


def _starter(processes: int) -> str:
    """What begins the command of so many processes."""
    return "run.py" if processes == 1 else f"torchrun --nproc-per-node {processes} run.py"


def _short(word: str) -> str:
    """A word of the command without the folders of this machine, which mean nothing on another."""
    flag, equals, value = word.partition("=") if word.startswith("-") else ("", "", word)
    path = Path(value)
    kept = Path(*path.parts[-KEPT_PARTS:]).as_posix() if path.is_absolute() else value
    return f"{flag}{equals}{kept}"
