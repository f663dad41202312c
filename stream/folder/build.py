"""Opens what a run of the folder workflow needs: the models, and the files that its steps write."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from engines.crop import PADDING
from engines.export import Say
from engines.heatmap import REFERENCE_SHIFT
from engines.hrnet import PoseEstimator, PoseOptions
from engines.opening import OpenModel
from engines.skeletons import skeleton
from engines.yolo import DetectorOptions, PersonDetector
from stream.config import ModelOptions
from stream.folder.drawing import PoseStyle
from stream.folder.experiment import Experiment
from stream.folder.people import KnownPeople, PeopleFiles
from stream.folder.places import Picture, check_apart, pictures_of
from stream.folder.poser import HeatmapTap, Poser
from stream.folder.poses import PoseFiles
from stream.folder.workflow import Detection, Posing, Workflow
from stream.meter import Meter
from stream.models import opened

PICTURES = 4
"""Pictures that go through the networks together, as frames of a file do."""
CELL = 4
"""Pixels of an HRNet's input per cell of its heat maps; so are joints told of models without heat maps."""


@dataclass(frozen=True, slots=True)
class Folders:
    """Where a run reads and writes; None where its steps do not go. `images` is as the user gave it."""

    images: str
    annots: Path
    cuts: Path
    inspect: Path | None = None
    final: Path | None = None
    output: Path | None = None


@dataclass(frozen=True, slots=True)
class FolderOptions:
    """How a run goes.

    `definition` is the .cfg of a darknet detector. `threads` 0 means one per core. With `stretch`, crops are the older
    tool's.
    """

    models: ModelOptions = field(default_factory=ModelOptions)
    definition: Path | None = None
    detect: DetectorOptions = field(default_factory=DetectorOptions)
    style: PoseStyle = field(default_factory=PoseStyle)
    batch_size: int = PICTURES
    threads: int = 0
    stretch: bool = False
    resume: bool = False

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, got {self.batch_size}")
        if self.threads < 0:
            raise ValueError(f"n_cpu must be 0 (one per core) or more, got {self.threads}")


@contextmanager
def open_workflow(
    folders: Folders, options: FolderOptions, experiment: Experiment | None, say: Say
) -> Iterator[Workflow]:
    """Everything of a run, ready to go: the step detect where there is a folder `inspect`, pose where `final`.

    `say` is told in a line each what is used. Raises ValueError, OSError, StreamError or EngineError, each in one line
    that names the remedy, before anything is written.
    """
    pictures = pictures_of(folders.images)
    check_apart(
        images=folders.images,
        annots=folders.annots,
        cuts=folders.cuts,
        inspect=folders.inspect,
        final=folders.final,
    )
    with ExitStack() as stack:
        people: Detection | KnownPeople
        if folders.inspect is not None:
            people = _open_detection(folders, folders.inspect, options, stack, say)
        else:
            people = _known_people(folders, pictures, say)
        posing = _open_posing(folders, options, experiment or Experiment(), stack, say)
        yield Workflow(
            pictures=pictures,
            people=people,
            posing=posing,
            batch_size=options.batch_size,
            threads=options.threads or cores(),
            resume=options.resume,
            meter=Meter(),
        )


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _open_detection(folders: Folders, inspect: Path, options: FolderOptions, stack: ExitStack, say: Say) -> Detection:
    model = stack.enter_context(opened(options.models, "detect", definition=options.definition, say=say))
    say(f"detector: {model.note}, on {model.backend.name}")
    detector = PersonDetector(model.backend, model.card, options.detect)
    return Detection(detector, PeopleFiles(folders.annots, folders.cuts, inspect))


def _known_people(folders: Folders, pictures: Sequence[Picture], say: Say) -> KnownPeople:
    people = KnownPeople(folders.annots, folders.cuts)
    if strangers := people.strangers(pictures):
        more = f" and {len(strangers) - 1} more" if len(strangers) > 1 else ""
        say(f"warning: {folders.annots}: {strangers[0]}{more} are of no picture in {folders.images}; not read")
    return people


def _open_posing(
    folders: Folders, options: FolderOptions, experiment: Experiment, stack: ExitStack, say: Say
) -> Posing | None:
    if folders.final is None or folders.output is None:
        return None
    model = _open_pose_model(options, experiment, stack, say)
    say(f"pose: {model.note}, on {model.backend.name}")
    poser = _make_poser(model, experiment, stretch=options.stretch)
    if experiment.save_heatmaps and model.card.family != "heatmap":
        say(f"warning: {model.card.name} gives no heat maps; debug/ stays empty")
    output = folders.output / experiment.dataset / (experiment.model or model.card.name) / experiment.name
    return Posing(poser, PoseFiles(folders.final, output, folders.cuts, poser, options.style))


def _open_pose_model(options: FolderOptions, experiment: Experiment, stack: ExitStack, say: Say) -> OpenModel:
    """The model that the flags name, else the experiment's checkpoint, else the default one."""
    models, checkpoint = options.models, experiment.checkpoint
    if models.pose is not None or checkpoint is None:
        if models.pose is not None and checkpoint is not None:
            say(f"{experiment.file}: its network gives way to {models.pose}; all else in it holds")
        return stack.enter_context(opened(models, "pose", say=say))
    if not checkpoint.is_file():
        raise FileNotFoundError(
            f"{experiment.file}: {checkpoint}: no such checkpoint, neither here nor beside the experiment; "
            "get it, or name another model with --pose"
        )
    own = models.pose_card
    card = replace(
        own,
        skeleton=own.skeleton or experiment.skeleton,
        imgsz=own.imgsz or experiment.image_size,
        color=own.color or ("rgb" if experiment.color_rgb else "bgr"),
    )
    named = replace(models, pose=str(checkpoint), pose_card=card)
    try:
        return stack.enter_context(opened(named, "pose", definition=experiment.network, say=say))
    except ValueError as error:
        raise ValueError(f"{experiment.file}: {error}") from error


def _make_poser(model: OpenModel, experiment: Experiment, *, stretch: bool) -> Poser:
    """The estimator of a model as the experiment's TEST block wants it; its heat maps are kept where they are shown."""
    options = PoseOptions(
        decode="quarter" if experiment.post_process else "argmax",
        flip_test=experiment.flip_test,
        flip_shift=REFERENCE_SHIFT if experiment.shift_heatmap else 0.0,
        padding=1.0 if stretch else PADDING,
    )
    bones = skeleton(model.card.skeleton or "coco17")
    height, width = model.card.input.size
    cells = (height // CELL, width // CELL)
    backend, tap = model.backend, None
    if model.card.family == "heatmap":
        known = backend.outputs[0].shape[2:]
        cells = (known[0] or cells[0], known[1] or cells[1])
        if experiment.save_heatmaps:
            backend = tap = HeatmapTap(backend, bones.pairs, options.flip_shift if options.flip_test else None)
            options = replace(options, flip_test=False)
    estimator = PoseEstimator(backend, model.card, options)
    return Poser(estimator, bones, (height, width), cells, tap=tap, padding=options.padding, stretch=stretch)
