"""A model in a lower precision: made, compared with fp32, timed, and kept where it is near enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from engines.backends.base import Backend, EngineError
from engines.cards import ModelCard
from engines.choosing import Opener, precision_of, settle
from engines.export import Say
from engines.fronts import nearest
from engines.guard import judge
from engines.guard_pictures import Scene
from engines.lock import alone
from engines.race import ROWS, race
from engines.results import Image
from engines.shelf import Shelf
from engines.verdict import Verdict

Quantize = Callable[[Path, ModelCard, Sequence[Image], Path, Say], object]
"""Writes the model at the first path in int8, calibrated on pictures, to the second."""

LEAST_PICTURES: Final = 8
"""To calibrate on: of fewer the largest value of a layer is a matter of luck."""


class RefusedError(EngineError):
    """An engine is not near enough to fp32; the message has the figures."""


@dataclass(frozen=True, slots=True, eq=False)
class Wish:
    """What is to be built: a `precision`, int8 calibrated on `calibration`, compared on the drawn pictures or `guard`.

    A pose network is calibrated on crops, as it sees people: of its input's size. `force` keeps what misses a bar.
    """

    precision: str
    calibration: Sequence[Image] = ()
    guard: Sequence[Scene] = ()
    force: bool = False


@dataclass(frozen=True, slots=True)
class Built:
    """What is opened for a precision from now on, and the verdict on it, kept in `verdict_file`."""

    path: Path
    verdict: Verdict
    verdict_file: Path


def build(
    reference: Backend, shelf: Shelf, opener: Opener, wish: Wish, say: Say, quantize: Quantize | None = None
) -> Built:
    """Build the model of `shelf` in the precision of `wish`, and judge it by `reference`, the model in fp32.

    A 16-bit precision has no file of its own: the model is opened in it, with a front in fp32 where that takes it near
    enough. int8 is made by `quantize` and
    takes the place of an older one only where it passes. Processes that build the same go one after the other. Raises
    RefusedError where a bar is missed and not forced: 16 bits are then known not to be used, and an int8 model leaves
    nothing behind. Raises EngineError where this machine has not got the precision, OSError where nothing can be kept.
    """
    target = shelf.built(wish.precision) if wish.precision == "int8" else shelf.model
    folder = shelf.verdict_file(wish.precision).parent
    folder.mkdir(parents=True, exist_ok=True)
    busy = f"{shelf.card.name}: another process builds it in {wish.precision}; waiting for that"
    with alone(folder / f".{shelf.built(wish.precision).stem}.lock", lambda: say(busy)), ExitStack() as stack:
        source = target
        if wish.precision == "int8":
            source = target.with_name(f".{target.stem}.part.onnx")
            stack.callback(source.unlink, missing_ok=True)
            _make_int8(shelf, wish, source, say, quantize)
        verdict = _judge(source, reference, shelf, opener, wish, say)
        if verdict.passed or wish.force:
            if source != target:
                source.replace(target)
            return Built(target, verdict, shelf.keep(verdict))
        if wish.precision != "int8":
            shelf.keep(verdict)
    raise RefusedError(f"{shelf.card.name}: {verdict}; --force keeps it all the same")


def check_calibration(pictures: Sequence[Image]) -> None:
    """Raise ValueError where there are too few pictures to calibrate on."""
    if len(pictures) < LEAST_PICTURES:
        raise ValueError(
            f"int8 is calibrated on pictures like those it will see, {LEAST_PICTURES} at least, got {len(pictures)};"
            " name a folder or a clip with --calibrate"
        )


def _make_int8(shelf: Shelf, wish: Wish, target: Path, say: Say, quantize: Quantize | None) -> None:
    """Write the model in int8 to `target`; ValueError where there are too few pictures, or nothing that quantises."""
    if quantize is None:
        raise ValueError(f"{shelf.card.name}: int8 takes a function that quantises, got none; build it in 16 bits")
    check_calibration(wish.calibration)
    quantize(shelf.model, shelf.card, wish.calibration, target, say)


def _judge(source: Path, reference: Backend, shelf: Shelf, opener: Opener, wish: Wish, say: Say) -> Verdict:
    """The verdict on the file `source` in the precision of `wish`, timed against what runs now."""
    card = shelf.card
    pictures, boxes = [scene.image for scene in wish.guard], [scene.boxes for scene in wish.guard]
    with ExitStack() as stack:
        higher = reference
        if wish.precision == "int8":  # what would run in its place: 16 bits, where they are used
            higher, _ = settle(opener.open(shelf.model, "auto"), shelf, opener, say)
            stack.enter_context(closing(higher))
        than = precision_of(higher) or "fp32"

        def assess(backend: Backend, front: float) -> Verdict:
            verdict = judge(backend, reference, card, wish.precision, pictures, boxes)
            laps = tuple(race(backend, higher, card.input, rows) for rows in ROWS[card.task])
            return replace(verdict, front=front, than=than, laps=laps, forced=wish.force and not verdict.passed)

        opened = opener.open(source, wish.precision)
        say(f"{card.name}: comparing {wish.precision} with fp32")
        backend, verdict = nearest(opened, lambda front: opener.open(source, wish.precision, front), assess)
        backend.close()
    return verdict
