"""`run.py eval`: the scores of models on COCO's and MPII's annotations, and of identities on MOTChallenge's."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from engines.annotated import Picture
from engines.coco import CocoTruth, PoseRules, read_truth
from engines.mpii import read_mpii
from engines.oks import OKS_NMS
from stream.cli import evaluate_mot
from stream.cli.models import PIPED_WIDTH
from stream.cli.score_table import coco_json, coco_table, mpii_table
from stream.config import ModelOptions, load_config
from stream.scoring import BEST, DETECTOR, TRUTH, CocoReport, Variation, one_change, run_mpii, score_coco, worst_of
from stream.sinks.partfile import PartFile
from stream.worst import save_worst

WORST_FOLDER = Path("worst")
_EPILOG = """\
examples:
  run.py eval coco annotations/person_keypoints_val2017.json --boxes truth --flip both
  run.py eval coco annotations/person_keypoints_val2017.json --boxes COCO_val2017_detections_AP_H_56_person.json
  run.py eval mot MOT15/train/TUD-Campus --drop 0.5
  run.py eval mpii annot/valid.json --official annot/gt_valid.mat --pose pose_hrnet_w32_256x256.onnx
"""


def add_parser(commands: Any) -> None:
    """Add `eval`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "eval",
        help="score models on annotated pictures, identities on sequences",
        description="Scores models on annotated pictures, and identities on annotated sequences.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = parser.add_subparsers(dest="kind", metavar="coco|mpii|mot", required=True)
    _add_coco(kinds.add_parser("coco", help="AP of people's boxes and of poses, by COCO's rules"))
    _add_mpii(kinds.add_parser("mpii", help="PCKh@0.5 of poses, by MPII's rules"))
    evaluate_mot.add_parser(kinds.add_parser("mot", help="MOTA, IDF1, HOTA and switches of identities"))


def _add_coco(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(evaluate=_run_coco)
    _add_files(parser, "a COCO annotation file, as person_keypoints_val2017.json")
    parser.add_argument("--boxes", action="append", metavar="WHICH",
                        help="truth, detector, or a file of COCO results; repeatable (truth and detector)")  # fmt: skip
    _add_pose(parser, flips=("on", "off", "both"))
    parser.add_argument("--oks-nms", type=float, default=OKS_NMS, metavar="OKS",
                        help="of two poses more alike the better stays, in found boxes; 0: all do (0.9)")  # fmt: skip
    parser.add_argument("--no-rescore", action="store_true", help="score poses as their boxes, not by their joints too")
    parser.add_argument("--compare", action="store_true", help="a row, too, for each one thing done otherwise")
    parser.add_argument(
        "--save-worst", type=int, default=0, metavar="N", help="write pictures of the worst N people, truth beside"
    )
    parser.add_argument("--worst-to", type=Path, default=WORST_FOLDER, metavar="FOLDER", help="where to (worst)")
    models = _add_models(parser)
    models.add_argument(
        "--detector", dest="models.detector", metavar="MODEL", help="a catalogue name, an .onnx or a checkpoint"
    )
    models.add_argument("--imgsz", type=int, dest="models.detector_card.imgsz", metavar="N",
                        help="input size of a detector that has none of its own")  # fmt: skip
    models.add_argument("--detector-card", action="append", metavar="KEY=VALUE", default=[],
                        help="what a card would say: family, color, letterbox, mean, std, scale")  # fmt: skip


def _add_mpii(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(evaluate=_run_mpii, detector_card=[])
    _add_files(parser, "people as the reference code lists them: valid.json")
    parser.add_argument("--official", type=Path, metavar="FILE",
                        help="gt_valid.mat: its joints and head boxes count; else the annotations' own")  # fmt: skip
    _add_pose(parser, flips=("on", "off"))
    _add_models(parser)


def _add_files(parser: argparse.ArgumentParser, annotations: str) -> None:
    parser.add_argument("annotations", type=Path, help=annotations)
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="the pictures (found beside the annotations)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the scores")
    parser.add_argument("--overwrite", action="store_true", help="write over what is there")


def _add_pose(parser: argparse.ArgumentParser, flips: Sequence[str]) -> None:
    parser.add_argument("--decode", choices=("argmax", "quarter", "dark"), default=BEST.decode,
                        help=f"how a heat map is read ({BEST.decode})")  # fmt: skip
    parser.add_argument("--flip-shift", type=float, default=BEST.flip_shift, metavar="CELLS",
                        help=f"of the mirror's heat maps ({BEST.flip_shift}, the reference: 1)")  # fmt: skip
    parser.add_argument("--flip", choices=flips, default="on", help="average each crop with its mirror (on)")


def _add_models(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    models = parser.add_argument_group("models")
    models.add_argument(
        "--pose", dest="models.pose", metavar="MODEL", help="a catalogue name, an .onnx or a checkpoint"
    )
    models.add_argument("--pose-card", action="append", metavar="KEY=VALUE", default=[], help="skeleton=halpe26 …")
    models.add_argument("--device", dest="models.device", metavar="D", help="auto, cpu or cuda:0")
    models.add_argument("--backend", dest="models.backend", metavar="NAME", help="inference library (auto)")
    # Scores are compared from machine to machine: what bf16 costs is asked for, not had by chance.
    models.add_argument("--precision", choices=("auto", "fp32", "fp16", "bf16", "int8"), dest="models.precision",
                        default="fp32",
                        help="of the arithmetic (fp32; auto: as a run has it)")  # fmt: skip
    return models


def run(args: argparse.Namespace) -> int:
    """Score and print."""
    file = PartFile(args.json, overwrite=args.overwrite) if args.json else None
    try:
        scores = args.evaluate(args)
        if file is not None:
            file.part.write_text(json.dumps(scores, indent=2) + "\n", encoding="utf-8")
            file.finish()
    finally:
        if file is not None:
            file.discard()
    return 0


def _models(args: argparse.Namespace) -> ModelOptions:
    """The models that the flags name."""
    flags = {key: value for key, value in vars(args).items() if key.startswith("models.") and value is not None}
    cards = [f"models.{m}_card.{s}" for m in ("detector", "pose") for s in getattr(args, f"{m}_card")]
    return load_config(None, cards, flags).models


def _run_coco(args: argparse.Namespace) -> dict[str, Any]:
    models = _models(args)
    if args.save_worst < 0:
        raise ValueError(f"--save-worst must be 0 or more, got {args.save_worst}")
    if args.save_worst and not args.overwrite and args.worst_to.exists():
        raise FileExistsError(
            f"{args.worst_to}: exists already; name another folder with --worst-to or give --overwrite"
        )
    variations = _variations(args)
    truth = read_truth(args.annotations, args.images)
    report = score_coco(truth, models, args.boxes or (TRUTH, DETECTOR), variations, _follow)
    console = _print(report.notes, coco_table(truth, report.rows))
    if args.save_worst:
        _save_worst(console, truth, report, args.save_worst, args.worst_to)
    return coco_json(truth, report)


def _variations(args: argparse.Namespace) -> list[Variation]:
    """How poses are made, by the flags; the flip test off before on."""
    rules = PoseRules(args.oks_nms or None, not args.no_rescore)
    flips = {"on": (True,), "off": (False,), "both": (False, True)}[args.flip]
    bases = [_variation(args, rules, flip_test=flip) for flip in flips]
    return [*bases, *one_change(bases[-1])] if args.compare else bases


def _variation(args: argparse.Namespace, rules: PoseRules, *, flip_test: bool) -> Variation:
    pose = replace(BEST, decode=args.decode, flip_test=flip_test, flip_shift=args.flip_shift)
    return Variation(pose, rules)


def _save_worst(console: Console, truth: CocoTruth, report: CocoReport, count: int, folder: Path) -> None:
    for found in report.found:
        # Several sources of boxes miss several people.
        place = folder / Path(found.name).stem.replace(" ", "-") if len(report.found) > 1 else folder
        written = list(save_worst(worst_of(truth, found, count), place))
        console.print(f"{len(written)} worst people of {found.name}: {place}/", markup=False, soft_wrap=True)


def _run_mpii(args: argparse.Namespace) -> dict[str, Any]:
    models = _models(args)
    truth = read_mpii(args.annotations, args.images, args.official)
    pose = _variation(args, PoseRules(), flip_test=args.flip == "on").pose
    scores, note = run_mpii(truth, models, pose, _follow)
    _print((note,), mpii_table(truth, scores, official=args.official is not None))
    return {
        "annotations": str(args.annotations),
        "official": str(args.official) if args.official else None,
        "people": len(truth.joints),
        "model": note,
        "decode": pose.decode,
        "flip_test": pose.flip_test,
        "flip_shift": pose.flip_shift,
        "pckh": asdict(scores),
    }


def _print(notes: Iterable[str], table: Table) -> Console:
    """Print what was run and how it scored; the console that it went to."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PIPED_WIDTH
    for note in notes:
        console.print(note, markup=False, soft_wrap=True)
    console.print(table)
    return console


def _follow(pictures: Sequence[Picture], words: str) -> Iterable[Picture]:
    console = Console(stderr=True)
    return track(pictures, words, console=console, transient=True, disable=not console.is_terminal)
