"""`run.py train`: networks of one's own from one's own pictures, poses and detectors."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from stream.cli import train_detector, train_pose
from stream.cli.train_course import open_course

_EPILOG = """\
examples:
  run.py train pose mine.json --from hrnet_w32.pth --freeze-backbone --evaluate test.json --to ballet/
  run.py train pose 'labels.json*2' shots/ clip.mp4 --teacher hrnet-w32 --teacher-detector yolox-s --to mine/
  run.py train detector shots/ empty_rooms/ --teacher-detector yolox-s --from yolox_nano.pth --to seen/
  torchrun --nproc-per-node 2 run.py train pose … (several processes, on cores or GPUs)
A training that was stopped or killed goes on where its folder's checkpoint is when the same command is given again.
"""


def add_parser(commands: Any) -> None:
    """Add `train`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "train",
        help="train a pose network or a detector on your own pictures",
        description="Trains a pose network (HRNet) or a person detector (YOLOX) on your own pictures, from nothing or "
        "from any checkpoint. Labels are COCO's or MPII's; what has none is labelled by a teacher.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = parser.add_subparsers(dest="kind", metavar="pose|detector", required=True)
    for name, module, words in (
        ("pose", train_pose, "key points: an HRNet of any width"),
        ("detector", train_detector, "people's boxes: a YOLOX of any width and depth"),
    ):
        own = kinds.add_parser(name, help=words)
        own.set_defaults(train=module.run)
        _add_common(own)
        module.add_flags(own)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", nargs="+", metavar="DATA",
                        help="COCO or MPII annotations (.json), a folder of pictures and clips, a clip; 'DATA*2' is "
                        "drawn twice as often")  # fmt: skip
    parser.add_argument("--to", type=Path, required=True, metavar="FOLDER",
                        help="checkpoints, logs and the result; where one is, it goes on")  # fmt: skip
    parser.add_argument("--packs", type=Path, metavar="FOLDER",
                        help="the decoded pictures, 0.5 MB a person or picture (in --to); may be shared")  # fmt: skip
    parser.add_argument("--images", type=Path, action="append", metavar="FOLDER",
                        help="the pictures of annotations (beside each file); repeatable, tried in turn")  # fmt: skip
    parser.add_argument("--partial", action="append", default=[], metavar="DATA",
                        help="annotations, one of DATA, that do not name everybody in their pictures")  # fmt: skip
    parser.add_argument("--exclude", type=Path, action="append", default=[], metavar="FOLDER",
                        help="pictures, as of a test set, that none trained on may be like; repeatable")  # fmt: skip
    parser.add_argument("--every", type=float, default=1.0, metavar="S", help="seconds between frames of clips (1)")
    parser.add_argument("--teacher-detector", metavar="MODEL", help="finds people that nobody labelled")
    parser.add_argument("--from", type=Path, dest="start", metavar="CHECKPOINT", help="begin with its weights")
    parser.add_argument("--name", metavar="NAME", help="of the model (the folder's)")
    parser.add_argument("--rights", metavar="WORDS", default="unknown", help="the licence, for the card (unknown)")
    parser.add_argument("--evaluate", type=Path, metavar="FILE",
                        help="COCO annotations to score the result on, never learnt (extra eval)")  # fmt: skip
    parser.add_argument("--compact", action="store_true", help="store the weights in fp16, half the size")
    parser.add_argument("--rate", type=float, metavar="R", help="highest learning rate")
    parser.add_argument("--hold", type=float, metavar="SHARE",
                        help="share of the pictures held back to mark by (0.035, of few more)")  # fmt: skip
    parser.add_argument("--validate-every", type=int, metavar="STEPS", help="steps between validations")
    parser.add_argument("--patience", type=int, metavar="N",
                        help="validations without gain to end after (half of the last stage's, 3 to 10)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of all chance (0)")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16", "fp16"), default="auto",
                        help="of the arithmetic (auto: bf16 where the CPU or GPU has it)")  # fmt: skip
    parser.add_argument("--device", default="auto", metavar="D", help="auto, cpu or cuda:0")
    parser.add_argument("--check", action="store_true", help="tell what is wrong with the data, and stop")


def run(args: argparse.Namespace) -> int:
    """Train; 0, also where a signal ended it, after which the same command goes on."""
    with open_course(args, getattr(args, "skeleton", "coco17")) as course:
        if not args.check:
            args.train(args, course)
    return 0
