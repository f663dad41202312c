"""Which precision a model runs in where nobody names one: the lowest that was judged near enough to fp32, and pays."""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from engines.backends.base import Backend, open_backend
from engines.export import Say, silent
from engines.fronts import nearest
from engines.guard import judge
from engines.race import race
from engines.shelf import Engines, Shelf, kept_verdicts
from engines.verdict import BARS, Verdict

SIXTEEN: Final = ("bf16", "fp16")
"""Precisions that a library may take by itself."""
BUILT_FOR_MINUTES: Final = "TensorRT"
"""How the names of backends begin whose fp32 nobody waits for: they are compared with the CPU's, and not timed."""


@dataclass(frozen=True, slots=True)
class Opener:
    """Opens a model as it will run: with this input `size` (height, width; None: the file's own) and `threads`.

    `say` is told how far the build of an engine is.
    """

    engines: Engines
    size: tuple[int, int] | None = None
    threads: int = 0
    say: Say = silent

    def open(self, path: Path, precision: str, front: float = 0.0) -> Backend:
        """See `open_backend`."""
        return open_backend(
            path,
            input_size=self.size,
            backend=self.engines.backend,
            device=self.engines.device,
            precision=precision,
            threads=self.threads,
            front=front,
            say=self.say,
        )

    def on_cpu(self) -> Opener:
        """The same on the CPU, by whichever library is there."""
        return replace(self, engines=Engines(device="cpu"))


@dataclass(frozen=True, slots=True)
class Choice:
    """The file, the precision and the front in fp32 to open, and, where a verdict decided it, why in words."""

    path: Path
    precision: str
    remark: str = ""
    front: float = 0.0


def remembered(shelf: Shelf) -> Choice | None:
    """What is known to run best, without a comparison; None where nothing was compared on this machine.

    An int8 model is never made unasked: it counts where somebody had it built, and it passed and pays.
    """
    int8 = shelf.verdict("int8")
    if int8 is not None and int8.used and shelf.built("int8").is_file():
        return Choice(shelf.built("int8"), "int8", f"built in int8: {int8.figures()}")
    for precision in SIXTEEN:
        verdict = shelf.verdict(precision)
        if verdict is not None:
            words = against_words(verdict)
            return Choice(shelf.model, "fp32", words) if words else Choice(shelf.model, precision, front=verdict.front)
    return None


def last_used(model: Path, cache: Path) -> Choice | None:
    """What was last used of a model of that file's name, to be opened while it is guessed: opening it twice is slow."""
    sixteen = [verdict for name, verdict in kept_verdicts(cache) if name == model.stem and verdict.precision in SIXTEEN]
    used = [verdict for verdict in sixteen if verdict.used]
    return Choice(model, used[-1].precision, front=used[-1].front) if used else None


def named(shelf: Shelf, precision: str) -> Choice:
    """What to open for a precision that somebody names: what was built in it, else the model itself."""
    built = shelf.built(precision)
    if built.is_file():
        return Choice(built, precision)
    verdict = shelf.verdict(precision)
    return Choice(shelf.model, precision, front=verdict.front if verdict is not None and verdict.passed else 0.0)


def settle(opened: Backend, shelf: Shelf, opener: Opener, say: Say) -> tuple[Backend, str]:
    """`opened`, of the model in the precision its library took, or a better one, in fp32 in front or whole; and why.

    They are compared, where they were not before on this machine, which takes some seconds and is told to `say`; the
    verdict is kept. Where the cache cannot be written they are compared each time: a wrong number costs more than a
    second. `opened` is closed where it is not returned.
    """
    precision = precision_of(opened)
    if precision not in SIXTEEN:
        return opened, ""
    verdict = shelf.verdict(precision)
    if verdict is None:
        opened, verdict = _compare(opened, precision, shelf, opener, say)
    elif verdict.used and verdict.front:
        opened.close()
        opened = opener.open(shelf.model, precision, verdict.front)
    if verdict.used:
        return opened, ""
    opened.close()
    return opener.open(shelf.model, "fp32"), against_words(verdict)


def against_words(verdict: Verdict) -> str:
    """Why what a verdict is of is not used; empty where it is."""
    if verdict.used:
        return ""
    reason = ", ".join(verdict.faults) if verdict.faults else verdict.speed_words()
    return f"{verdict.precision} is not used: {reason}"


def precision_of(backend: Backend) -> str | None:
    """The precision in a backend's name, which ends in it or has it as a word."""
    words = re.findall(r"\w+", backend.name)
    return next((word for word in reversed(words) if word in BARS), None)


def _compare(opened: Backend, precision: str, shelf: Shelf, opener: Opener, say: Say) -> tuple[Backend, Verdict]:
    """What is nearest to fp32 on the drawn pictures, timed on one row, and the verdict on it, told and kept."""
    card = shelf.card
    say(f"{card.name}: comparing {precision} with fp32, once on this machine")
    slow = opened.name.startswith(BUILT_FOR_MINUTES)
    with closing((opener.on_cpu() if slow else opener).open(shelf.model, "fp32")) as reference:

        def assess(backend: Backend, front: float) -> Verdict:
            verdict = replace(judge(backend, reference, card, precision), front=front)
            return verdict if slow else replace(verdict, than="fp32", laps=(race(backend, reference, card.input, 1),))

        backend, verdict = nearest(opened, lambda front: opener.open(shelf.model, precision, front), assess)
    try:
        shelf.keep(verdict)
    except OSError as error:
        reason = error.strerror or str(error)
        say(f"{card.name}: the verdict cannot be kept in {shelf.cache} ({reason}): they are compared at each start")
    say(f"{card.name}: {verdict}")
    return backend, verdict
