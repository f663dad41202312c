"""What somebody asks to be built, made whole: the model found and opened in fp32, the people of the pictures found."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from engines.backends.base import CHECKPOINTS, EngineError
from engines.building import Built, Quantize, Wish, build, check_calibration
from engines.cards import ModelCard, Task
from engines.catalog import Catalog, MissingModelError
from engines.choosing import SIXTEEN, Opener, precision_of
from engines.crop import Crops
from engines.export import ExportOptions, Say, export_found
from engines.guard_pictures import Scene
from engines.opening import OpenModel, open_model
from engines.results import Image
from engines.shelf import Engines, Shelf
from engines.yolo import PersonDetector

STEP: Final = 4
"""Pictures that people are found in together."""
MOST_CROPS: Final = 300
"""Of people to calibrate on, from all the pictures: NNCF's own number of samples."""


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """A model by name or path, in a precision; None is what its library takes by itself, 16 bits where it has them.

    The pictures to calibrate on and to compare on may hold anybody anywhere: for a pose network the people in them are
    found by `detector`, None being the default one. `force` keeps what misses a bar.
    """

    name: str
    precision: str | None = None
    calibration: Sequence[Image] = ()
    guard: Sequence[Image] = ()
    detector: str | None = None
    engines: Engines = field(default_factory=Engines)
    force: bool = False


def build_requested(request: Request, catalog: Catalog, say: Say, quantize: Quantize | None = None) -> Built:
    """Build what is asked for, int8 by `quantize`; raises what `build` and `open_model` do."""
    if request.precision == "fp32":
        raise ValueError("fp32 is what other precisions are compared with, it runs as it is; name another --precision")
    if request.precision == "int8":
        check_calibration(request.calibration)
    task = _task(request.name, catalog, say)
    model = _open(request.name, task, request.engines, catalog, say)
    with closing(model.backend):
        card = model.card
        opener = Opener(request.engines, card.input.size if _is_free(model) else None)
        guard = [Scene(image, np.zeros((0, 4), np.float32)) for image in request.guard]
        calibration = request.calibration
        if task == "pose":
            guard = _people(request.guard, request.detector, catalog, say)
            calibration = _crops(_people(calibration, request.detector, catalog, say), card)
        wish = Wish(request.precision or _sixteen(model.path, opener), calibration, guard, request.force)
        shelf = Shelf.of(catalog.cache, model.path, card, request.engines)
        return build(model.backend, shelf, opener, wish, say, quantize)


def find_network(name: str, catalog: Catalog, say: Say) -> tuple[Path, tuple[int, int] | None]:
    """The ONNX of a model, and the (height, width) it is to be built for where the file leaves that open.

    By name or path; a checkpoint is exported first. Raises what `open_model` does.
    """
    model = _open(name, _task(name, catalog, say), Engines(device="cpu"), catalog, say)
    with closing(model.backend):
        return model.path, model.card.input.size if _is_free(model) else None


def _task(name: str, catalog: Catalog, say: Say) -> Task:
    """What a model does, by its card, or as its checkpoint or its outputs show."""
    found = catalog.locate(name)
    if found.card is not None:
        return found.card.task
    if found.path.suffix in CHECKPOINTS:
        return export_found(found, catalog.cache, None, ExportOptions(), say).card.task
    try:
        _open(name, "detect", Engines(), catalog, say).backend.close()
    except EngineError:
        return "pose"
    return "detect"


def _open(name: str, task: Task, engines: Engines, catalog: Catalog, say: Say) -> OpenModel:
    """A model in fp32, as the reference."""
    return open_model(
        name, task, catalog=catalog, backend=engines.backend, device=engines.device, precision="fp32", say=say
    )


def _is_free(model: OpenModel) -> bool:
    """Whether the file leaves the size of its input open."""
    from engines.backends.onnx_file import describe

    return None in describe(model.path)[0][0].shape[2:]


def _sixteen(path: Path, opener: Opener) -> str:
    """The precision of 16 bits that the library takes by itself; EngineError where it has none."""
    with closing(opener.open(path, "auto")) as opened:
        precision = precision_of(opened)
        if precision not in SIXTEEN:
            raise EngineError(
                f"{path.name}: runs in fp32 on {opened.name}, there is no 16-bit precision here; name --precision int8"
            )
    return precision


def _people(images: Sequence[Image], name: str | None, catalog: Catalog, say: Say) -> list[Scene]:
    """The pictures that have people, with their boxes; EngineError where none has."""
    if not images:
        return []
    try:
        detector = open_model(name, "detect", catalog=catalog, precision="fp32", say=say)
    except MissingModelError as error:
        raise MissingModelError(f"people must be found in the pictures first: {error}, or name --detector") from error
    scenes = []
    with closing(detector.backend):
        finder = PersonDetector(detector.backend, detector.card)
        for start in range(0, len(images), STEP):
            step = images[start : start + STEP]
            found = finder.detect(step)
            scenes += [Scene(image, one.boxes) for image, one in zip(step, found, strict=True) if len(one.boxes)]
    if not scenes:
        raise EngineError(f"nobody was found in {len(images)} pictures by {detector.card.name}; give others")
    return scenes


def _crops(scenes: Sequence[Scene], card: ModelCard) -> list[Image]:
    """What a pose network sees of the people, as pictures of its input's size; MOST_CROPS at most."""
    people = [(scene, person) for scene in scenes for person in range(len(scene.boxes))]
    chosen = people if len(people) <= MOST_CROPS else [people[len(people) * i // MOST_CROPS] for i in range(MOST_CROPS)]
    pictures = np.empty((len(chosen), *card.input.size, 3), np.uint8)
    for picture, (scene, person) in zip(pictures, chosen, strict=True):
        Crops.around(scene.boxes[person : person + 1], card.input.size).cut(0, scene.image, picture)
    return list(pictures)
