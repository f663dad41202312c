"""The flags of `run.py images`, those of the older tools among them, and the options that they mean."""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from stream.config import ModelOptions, load_config
from stream.folder.build import FolderOptions
from stream.folder.drawing import PoseStyle

CONFIDENCE, OVERLAP, BATCH_SIZE, INPUT_SIZE = 0.8, 0.4, 1, 416
"""The older tool's defaults, chosen for its YOLOv3."""
WEIGHTS, DEFINITION, CLASSES = "weights/yolov3.weights", "config/yolov3.cfg", "data/coco.names"
PERSON = "person"
EPILOG = """
In FOLDER, images/ is read, and annots/, cuts/, inspect/, final/ and output/ are written. An experiment file (.yaml) in
it is followed. The steps alone, with the older tools' flags: run.py images detect -h, run.py images pose -h.
"""


def both_parser() -> argparse.ArgumentParser:
    """The words of the one-go form."""
    parser = argparse.ArgumentParser(
        prog="run.py images",
        description="Finds and poses the people in a folder of pictures.",
        epilog=EPILOG,
    )
    parser.add_argument("folder", metavar="FOLDER", help="holds images/; all else is written beside that")
    _add_overrides(parser)
    parser.add_argument(
        "--cfg", type=Path, metavar="FILE", help="the experiment (the .yaml in FOLDER, if there is one)"
    )
    _add_model_flags(parser, "detector", "pose")
    usual = FolderOptions()
    _add_detector_flags(
        parser, confidence=usual.detect.confidence, overlap=usual.detect.iou, batch_size=usual.batch_size
    )
    _add_drawing_flags(parser)
    _add_run_flags(parser)
    return parser


def detect_parser() -> argparse.ArgumentParser:
    """The words of the first step."""
    parser = argparse.ArgumentParser(prog="run.py images detect", description="Finds the people in pictures.")
    parser.add_argument("--image_folder", default="data/samples", metavar="FOLDER", help="read (%(default)s)")
    for name, default, what in (
        ("annot", "annot", "boxes as JSON"),
        ("inspect", "inspect", "pictures with boxes"),
        ("cut", "cut", "a picture of each person"),
    ):
        parser.add_argument(
            f"--{name}_folder", default=default, type=Path, metavar="FOLDER", help=f"{what} (%(default)s)"
        )
    _add_model_flags(parser, "detector")
    _add_detector_flags(parser, confidence=CONFIDENCE, overlap=OVERLAP, batch_size=BATCH_SIZE)
    _add_run_flags(parser)
    return parser


def pose_parser() -> argparse.ArgumentParser:
    """The words of the second step; its overrides may stand anywhere: parse_intermixed_args."""
    parser = argparse.ArgumentParser(
        prog="run.py images pose",
        description="Poses the people that the step detect found, as an HRNet experiment file says.",
    )
    parser.add_argument("--cfg", type=Path, required=True, metavar="FILE", help="the experiment, a .yaml")
    _add_overrides(parser)
    _add_model_flags(parser, "pose")
    _add_drawing_flags(parser)
    _add_run_flags(parser)
    return parser


def _add_overrides(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("overrides", nargs="*", metavar="KEY VALUE", help="in the experiment, as TEST.FLIP_TEST False")


def _add_model_flags(parser: argparse.ArgumentParser, *names: str) -> None:
    """Add which models run, and on what; a `dest` with a dot is a key of the configuration."""
    group = parser.add_argument_group("models")
    for name in names:
        group.add_argument(
            f"--{name}", dest=f"models.{name}", metavar="MODEL", help="a catalogue name or a model's file"
        )
        group.add_argument(f"--{name}-card", action="append", default=[], metavar="KEY=VALUE", help="as in run.py play")
    group.add_argument(
        "--backend", choices=("auto", "tensorrt", "openvino", "onnxruntime", "torch"), dest="models.backend"
    )
    group.add_argument("--device", dest="models.device", metavar="D", help="auto, cpu or cuda:0")
    group.add_argument("--precision", choices=("auto", "fp32", "fp16", "bf16", "int8"), dest="models.precision")


def _add_detector_flags(parser: argparse.ArgumentParser, *, confidence: float, overlap: float, batch_size: int) -> None:
    group = parser.add_argument_group("detector")
    group.add_argument("--conf_thres", type=float, default=confidence, metavar="P", help="lowest score (%(default)s)")
    group.add_argument("--nms_thres", type=float, default=overlap, metavar="P",
                       help="boxes that overlap so are one (%(default)s)")  # fmt: skip
    group.add_argument("--batch_size", type=int, default=batch_size, metavar="N", help="pictures at once (%(default)s)")
    group.add_argument("--img_size", type=int, metavar="N",
                       help=f"input of the network ({INPUT_SIZE} for YOLOv3, else its own)")  # fmt: skip
    group.add_argument("--weights_path", metavar="FILE",
                       help=f"darknet's, or a checkpoint ({WEIGHTS}, where it is)")  # fmt: skip
    group.add_argument("--model_def", type=Path, metavar="FILE", help=f"darknet's network ({DEFINITION})")
    group.add_argument("--class_path", type=Path, metavar="FILE", help=f"names of the classes ({CLASSES})")


def _add_drawing_flags(parser: argparse.ArgumentParser) -> None:
    style = PoseStyle()
    group = parser.add_argument_group("drawing")
    for name in ("circle", "label", "line"):
        group.add_argument(f"--{name}", type=int, choices=(0, 1), default=1, help=f"draw {name}s (1) or not (0)")
    for name in ("circle_radius", "circle_thickness", "label_font_scale", "label_thickness", "line_thickness"):
        default = getattr(style, name)
        group.add_argument(f"--{name}", type=type(default), default=default, metavar="N", help="%(default)s")
    group.add_argument("--stretch", action="store_true", help="the older tool's crops, distorted, for comparison")


def _add_run_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("run")
    group.add_argument("--n_cpu", type=int, default=0, metavar="N", help="threads for pictures (0: one per core)")
    group.add_argument("--resume", action="store_true", help="pass by the pictures that are finished")


def options_of(args: argparse.Namespace) -> FolderOptions:
    """What the flags mean; those that a step does not have keep their defaults."""
    given = vars(args)
    style = {field.name: given[field.name] for field in fields(PoseStyle) if field.name in given}
    style |= {name: bool(style[name]) for name in ("circle", "label", "line") if name in style}
    models, definition = _models(given)
    options = FolderOptions()
    detect = options.detect
    if "conf_thres" in given:
        detect = replace(detect, confidence=given["conf_thres"], iou=given["nms_thres"])
    return replace(
        options,
        models=models,
        definition=definition,
        detect=detect,
        style=PoseStyle(**style),
        batch_size=given.get("batch_size", options.batch_size),
        threads=args.n_cpu,
        stretch=given.get("stretch", options.stretch),
        resume=args.resume,
    )


def _models(given: dict[str, Any]) -> tuple[ModelOptions, Path | None]:
    """Which models run, and the .cfg of a darknet detector."""
    flags = {key: value for key, value in given.items() if key.startswith("models.") and value is not None}
    cards = [f"models.{name}_card.{said}" for name in ("detector", "pose") for said in given.get(f"{name}_card") or []]
    definition = None
    if "weights_path" in given and "models.detector" not in flags:
        weights = given["weights_path"] or (WEIGHTS if Path(WEIGHTS).is_file() else None)
        if weights is not None:
            flags["models.detector"] = weights
            definition = _definition(given["model_def"], Path(weights))
            _check_classes(given["class_path"])
            if weights.endswith(".weights"):
                flags["models.detector_card.imgsz"] = INPUT_SIZE
    if given.get("img_size") is not None:
        flags["models.detector_card.imgsz"] = given["img_size"]
    return load_config(None, cards, flags).models, definition


def _definition(named: Path | None, weights: Path) -> Path | None:
    """The .cfg that belongs to a detector's weights; None where they need none, or it lies beside them."""
    if named is None and weights.suffix == ".weights" and not weights.with_suffix(".cfg").is_file():
        named = Path(DEFINITION)
    if named is not None and not named.is_file():
        raise FileNotFoundError(f"{named}: no such network; name the .cfg of {weights} with --model_def")
    return named


def _check_classes(named: Path | None) -> None:
    """Raise ValueError where a file of class names does not begin with the person, the class that is read."""
    path = named or Path(CLASSES)
    if named is None and not path.is_file():
        return
    first = path.read_text(encoding="utf-8").partition("\n")[0].strip()
    if first != PERSON:
        raise ValueError(f"{path}: the first class must be {PERSON}, got {first!r}; other orders are not read")
