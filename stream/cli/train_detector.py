"""`run.py train detector`: a person-only YOLOX that learns from boxes, labelled or a teacher's."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from engines.cards import Accuracy
from engines.coco import CocoTruth
from stream.cli.train_course import Course, excluded_pictures, finish, loop_of, teachers_of
from stream.config import ModelOptions
from stream.scoring import score_detector

if TYPE_CHECKING:
    from engines.training.detector_course import DetectorCourse

RATE = 4e-4
"""Highest learning rate where nothing else is said: for a network that begins with a checkpoint."""
NEW_RATE = 2e-3
"""The same for one that begins with nothing."""
PLAIN_SHARE = 5
"""One in so many steps, the last ones, is without mosaic."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add what detectors alone take."""
    parser.add_argument(
        "--width", type=float, default=0.25, metavar="W", help="nano 0.25, s 0.5, m 0.75 (0.25; or --from's)"
    )
    parser.add_argument(
        "--depth", type=float, default=0.33, metavar="D", help="nano, s 0.33, m 0.67 (0.33; or --from's)"
    )
    parser.add_argument("--depthwise", action="store_true", help="depthwise convolutions, as nano")
    parser.add_argument("--size", type=int, default=416, metavar="N", help="of the input (416)")
    parser.add_argument("--sizes", type=int, nargs="+", default=(), metavar="N", help="to train on (the input's)")
    parser.add_argument("--steps", type=int, default=10_000, metavar="N", help="of training (10000)")
    parser.add_argument("--batch", type=int, default=16, metavar="N", help="pictures a step (16)")
    parser.add_argument("--mosaic", type=float, default=0.5, metavar="SHARE",
                        help="pictures that are made of four, but for the last fifth of the steps (0.5)")  # fmt: skip
    parser.add_argument("--distil", type=Path, metavar="ONNX", help="a YOLOX whose raw output is learnt too")


def run(args: argparse.Namespace, course: Course) -> None:
    """Train, and write and score the result."""
    from engines.training.detector_course import train_detector

    options, packs = _options(args), args.packs or args.to / "packs"
    follower = course.follower
    with follower.watching(args.to, options.training.steps, course.done):
        trained = train_detector(course.sets, options, args.to, packs, course.crew, follower.say, follower.tell)
    if course.crew.is_first:
        finish(args, follower.say, trained, "detect", options.training.size, _accuracy, course.crew.size)


def _options(args: argparse.Namespace) -> DetectorCourse:
    from engines.training.course import device_of
    from engines.training.detector import DetectorTraining
    from engines.training.detector_course import DetectorCourse
    from engines.training.mosaic import MosaicOptions
    from engines.training.picture_pack import PackOptions

    training = DetectorTraining(
        width=args.width,
        depth=args.depth,
        depthwise=args.depthwise,
        init=args.start,
        size=(args.size, args.size),
        sizes=tuple((side, side) for side in args.sizes),
        batch=args.batch,
        steps=args.steps,
        plain_steps=args.steps // PLAIN_SHARE,
        seed=args.seed,
        mosaic=MosaicOptions(mosaic=args.mosaic),
        distil=args.distil,
    )
    return DetectorCourse(
        training=training,
        pack=PackOptions(side=max(PackOptions().side, args.size, *args.sizes)),
        loop=loop_of(args, args.steps, training.plain_steps, NEW_RATE if args.start is None else RATE),
        teacher=teachers_of(args, None),
        held=args.hold,
        excluded=excluded_pictures(args),
        device=device_of(args.device),
    )


def _accuracy(truth: CocoTruth, model: Path) -> Accuracy:
    """AP of people's boxes."""
    scores = score_detector(truth, ModelOptions(detector=str(model), precision="fp32"))
    ap = None if scores.ap is None else round(scores.ap, 4)
    return Accuracy(f"{truth.file.name}, {len(truth.pictures)} pictures", published=False, person_ap=ap)
