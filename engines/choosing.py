"""Which precision a model runs in where nobody names one: the lowest that was judged near enough to fp32, and pays."""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from engines.backends.base import Backend, open_backend
from engines.export import Say
from engines.guard import judge
from engines.race import race
from engines.shelf import Engines, Shelf
from engines.verdict import BARS, Verdict

SIXTEEN: Final = ("bf16", "fp16")
"""Precisions that a library may take by itself."""
BUILT_FOR_MINUTES: Final = "TensorRT"
"""How the names of backends begin whose fp32 nobody waits for: they are compared with the CPU's, and not timed."""


@dataclass(frozen=True, slots=True)
class Opener:
    """Opens a model as it will run: with this input `size` (height, width; None: the file's own) and `threads`."""

    engines: Engines
    size: tuple[int, int] | None = None
    threads: int = 0

    def open(self, path: Path, precision: str) -> Backend:
        """See `open_backend`."""
        return open_backend(
            path,
            input_size=self.size,
            backend=self.engines.backend,
            device=self.engines.device,
            precision=precision,
            threads=self.threads,
        )

    def on_cpu(self) -> Opener:
        """The same on the CPU, by whichever library is there."""
        return replace(self, engines=Engines(device="cpu"))


@dataclass(frozen=True, slots=True)
class Choice:
    """The file and the precision to open, and, where a verdict decided it, why in words."""

    path: Path
    precision: str
    remark: str = ""


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
            return Choice(shelf.model, precision if verdict.used else "fp32", against_words(verdict))
    return None


def named(shelf: Shelf, precision: str) -> Choice:
    """What to open for a precision that somebody names: what was built in it, else the model itself."""
    built = shelf.built(precision)
    return Choice(built if built.is_file() else shelf.model, precision)


def settle(opened: Backend, shelf: Shelf, opener: Opener, say: Say) -> tuple[Backend, str]:
    """`opened`, of the model in the precision its library took, or the model in fp32 where that is better; and why.

    They are compared, where they were not before on this machine, which takes a second or two and is told to `say`; the
    verdict is kept. Where the cache cannot be written they are compared each time: a wrong number costs more than a
    second. `opened` is closed where it is not returned.
    """
    precision = precision_of(opened)
    if precision not in SIXTEEN:
        return opened, ""
    verdict = shelf.verdict(precision)
    if verdict is not None and verdict.used:
        return opened, ""
    slow = opened.name.startswith(BUILT_FOR_MINUTES)
    if verdict is None:
        reference = (opener.on_cpu() if slow else opener).open(shelf.model, "fp32")
        with closing(reference):
            verdict = _compare(opened, reference, precision, shelf, say, timed=not slow)
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


def _compare(opened: Backend, reference: Backend, precision: str, shelf: Shelf, say: Say, *, timed: bool) -> Verdict:
    """The verdict on the drawn pictures, where it is `timed` on one row, told and kept."""
    card = shelf.card
    say(f"{card.name}: comparing {precision} with fp32, once on this machine")
    verdict = judge(opened, reference, card, precision)
    if timed:
        verdict = replace(verdict, than="fp32", laps=(race(opened, reference, card.input, 1),))
    try:
        shelf.keep(verdict)
    except OSError as error:
        reason = error.strerror or str(error)
        say(f"{card.name}: the verdict cannot be kept in {shelf.cache} ({reason}): they are compared at each start")
    say(f"{card.name}: {verdict}")
    return verdict
