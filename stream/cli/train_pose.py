"""`run.py train pose`: an HRNet that learns from key points, and from a teacher's heat maps."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from engines.cards import Accuracy, load_yaml
from engines.coco import CocoTruth
from stream.cli.train_course import Course, excluded_pictures, finish, loop_of, teachers_of
from stream.config import ModelOptions
from stream.scoring import score_pose

if TYPE_CHECKING:
    from engines.nets.hrnet_layout import HrnetLayout
    from engines.training.pose_course import PoseCourse

STAGES = ("128x96:4000:32", "256x192:8000:32")
FURTHER_STAGES = ("256x192:2000:16",)
"""Sizes, steps and batches of a network that begins with nothing, and of one that is trained already."""
RATE, FROZEN_RATE = 2e-3, 1e-3
"""Highest learning rate of a whole network, and of its last layers alone."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add what poses alone take."""
    parser.add_argument("--teacher", metavar="MODEL",
                        help="a pose model of heat maps, as hrnet-w32, for joints that nobody labelled")  # fmt: skip
    parser.add_argument("--skeleton", choices=("coco17", "mpii16", "halpe26"), default="coco17",
                        help="joints to learn (coco17)")  # fmt: skip
    parser.add_argument("--network", type=Path, metavar="FILE",
                        help="an HRNet experiment (.yaml) whose MODEL says the layers; else the checkpoint's, or "
                        "a slim one")  # fmt: skip
    parser.add_argument("--width", type=int, metavar="N", help="channels of a slim one (16)")
    frozen = parser.add_mutually_exclusive_group()
    frozen.add_argument("--freeze-backbone", dest="frozen", action="store_const", const="backbone",
                        help="only the last stage and the last layer learn: for a few hundred pictures")  # fmt: skip
    frozen.add_argument("--freeze-stem", dest="frozen", action="store_const", const="stem",
                        help="all learn but the first layers, a quarter quicker")  # fmt: skip
    parser.add_argument("--stages", nargs="+", metavar="HxW:STEPS:BATCH",
                        help=f"sizes of the crops, one after the other ({' '.join(STAGES)}; with --from "
                        f"{' '.join(FURTHER_STAGES)})")  # fmt: skip
    parser.add_argument("--augment", choices=("usual", "light", "none"), default="light",
                        help="how crops are varied; usual, as the reference's, is for 100 epochs (light)")  # fmt: skip
    parser.add_argument("--most", type=int, metavar="N", help="learn from N people, drawn by chance")


def run(args: argparse.Namespace, course: Course) -> None:
    """Train, and write and score the result."""
    from engines.training.pose_course import train_pose

    options, packs = _options(args), args.packs or args.to / "packs"
    follower = course.follower
    with follower.watching(args.to, options.training.steps, course.done):
        trained = train_pose(
            course.sets, options, args.to, packs, course.crew, follower.say, follower.follow, follower.tell
        )
    if course.crew.is_first:
        finish(args, follower.say, trained, "pose", options.training.stages[-1].size, _accuracy, course.crew.size)


def _options(args: argparse.Namespace) -> PoseCourse:
    from engines.training.course import device_of
    from engines.training.pose import AUGMENTATIONS, PoseTraining, stages_of
    from engines.training.pose_course import PoseCourse

    placement, looks = AUGMENTATIONS[args.augment]
    stages = args.stages or (STAGES if args.start is None else FURTHER_STAGES)
    training = PoseTraining(stages_of(stages), seed=args.seed, placement=placement, looks=looks)
    rate = FROZEN_RATE if args.frozen == "backbone" else RATE
    return PoseCourse(
        training=training,
        loop=loop_of(args, training.steps, training.stages[-1].steps, rate),
        skeleton=args.skeleton,
        layout=_layout(args),
        start=args.start,
        frozen=args.frozen,
        teacher=teachers_of(args, args.teacher),
        held=args.hold,
        excluded=excluded_pictures(args),
        most=args.most,
        device=device_of(args.device),
    )


def _layout(args: argparse.Namespace) -> HrnetLayout | None:
    """The layers that the flags name; None for those of the checkpoint."""
    from engines.nets.hrnet_layout import layout_of_experiment, slim_layout
    from engines.skeletons import skeleton

    joints = len(skeleton(args.skeleton).names)
    if args.network is not None:
        experiment = load_yaml(args.network.read_text(encoding="utf-8"))
        if not isinstance(experiment, dict) or not isinstance(experiment.get("MODEL"), dict):
            raise ValueError(f"{args.network}: no HRNet experiment, it has no block MODEL")
        return replace(layout_of_experiment(experiment["MODEL"]), joints=joints, size=None)
    if args.start is not None:
        return None
    return slim_layout(joints) if args.width is None else slim_layout(joints, width=args.width)


def _accuracy(truth: CocoTruth, model: Path) -> Accuracy:
    """AP of key points in true boxes, as a run estimates them."""
    scores = score_pose(truth, ModelOptions(pose=str(model), precision="fp32"))
    on = f"{truth.file.name}, {len(truth.pictures)} pictures"
    return Accuracy(on, published=False, gt_box_ap=_rounded(scores.ap))


def _rounded(figure: float | None) -> float | None:
    return None if figure is None else round(figure, 4)
