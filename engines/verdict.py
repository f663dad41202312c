"""What the guard says of an engine: its figures, the bars they had to reach, and whether it is worth having."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

PAYS: Final = 1.1
"""Times as fast as the next higher precision that a lower one must be, to make up for what it loses."""


@dataclass(frozen=True, slots=True)
class Bars:
    """How like fp32 an engine must be: key points' OKS and boxes' AP at least, heat maps' relative L2 at most."""

    oks: float
    ap: float
    relative: float


_SIXTEEN = Bars(oks=0.99, ap=0.97, relative=0.02)
BARS: Final = {"fp32": _SIXTEEN, "fp16": _SIXTEEN, "bf16": _SIXTEEN, "int8": Bars(oks=0.97, ap=0.93, relative=0.08)}
"""By precision; fp32 is judged too where another library runs it."""


@dataclass(frozen=True, slots=True)
class Lap:
    """Milliseconds that a batch of so many rows takes an engine, and takes the one that it was timed against."""

    rows: int
    own_ms: float
    other_ms: float

    @property
    def ratio(self) -> float:
        """How many times as fast the engine is."""
        return self.other_ms / self.own_ms


@dataclass(frozen=True, slots=True)
class Verdict:
    """An engine of a `precision` compared with fp32 of the same model, and timed against the next higher precision.

    `engine` and `against` are the backends' names, `on` says which pictures. `relative` is the L2 distance of heat maps
    by their norm, or of a detector's raw outputs where nothing was found; it is not a number where an output was not.
    A figure that says nothing of this model is None. `laps` are against precision `than`, none where nothing was timed.
    `forced` is what was kept against the figures. `front` is the share of its first operations that are in fp32.
    """

    precision: str
    engine: str
    against: str
    on: str
    bars: Bars
    relative: float | None = None
    ap: float | None = None
    oks: float | None = None
    than: str | None = None
    laps: tuple[Lap, ...] = ()
    forced: bool = False
    front: float = 0.0

    @property
    def faults(self) -> tuple[str, ...]:
        """Where it misses a bar, in words with both figures."""
        if self.relative is self.ap is self.oks is None:
            return ("nobody was found to compare by",)
        faults = []
        if self.relative is not None and not self.relative <= self.bars.relative:
            faults.append(f"outputs differ by {self.relative:.3f}, {self.bars.relative:g} at most")
        for name, got, wanted in (("AP", self.ap, self.bars.ap), ("OKS", self.oks, self.bars.oks)):
            if got is not None and not got >= wanted:
                faults.append(f"{name} {_cut(got)}, {wanted:g} at least")
        return tuple(faults)

    @property
    def passed(self) -> bool:
        """Whether it is near enough to fp32."""
        return not self.faults

    @property
    def pays(self) -> bool:
        """Whether it is PAYS times as fast at a batch and at no other slower by that; what was not timed does."""
        ratios = [lap.ratio for lap in self.laps]
        return not ratios or (max(ratios) >= PAYS and min(ratios) >= 1 / PAYS)

    @property
    def used(self) -> bool:
        """Whether it runs where nobody asks for another precision."""
        return (self.passed or self.forced) and self.pays

    def __str__(self) -> str:
        state = "passed" if self.passed else "forced" if self.forced else "refused"
        speed = self.speed_words()
        front = f"the first {self.front:.0%} of it in fp32" if self.front else ""
        words = [f"{self.precision} {state}: {self.figures()}", *filter(None, (front, speed)), self.on]
        return "; ".join(words) + f" ({self.engine} against {self.against})"

    def figures(self) -> str:
        """The figures, each with its bar."""
        if self.relative is self.ap is self.oks is None:
            return self.faults[0]
        words = []
        if self.relative is not None:
            words.append(f"outputs differ by {self.relative:.3f} ({self.bars.relative:g} at most)")
        for name, got, wanted in (("AP", self.ap, self.bars.ap), ("OKS", self.oks, self.bars.oks)):
            if got is not None:
                words.append(f"{name} to fp32's {_cut(got)} ({wanted:g} at least)")
        return ", ".join(words)

    def speed_words(self) -> str:
        """How much faster it is, as `1.9 times as fast as fp32 at batch 1, 2.0 at 8`; empty where nothing was timed."""
        if not self.laps:
            return ""
        first = f"{self.laps[0].ratio:.2f} times as fast as {self.than} at batch {self.laps[0].rows}"
        words = [first, *(f"{lap.ratio:.2f} at {lap.rows}" for lap in self.laps[1:])]
        return ", ".join(words) + ("" if self.pays else f", which does not pay ({PAYS:g} times would)")

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, words and lists, that `from_dict` reads."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Verdict:
        """A verdict of what `to_dict` gave; ValueError for anything else."""
        try:
            return TypeAdapter(Verdict).validate_python(data)
        except ValidationError as error:
            raise ValueError(f"no verdict: {error.errors(include_url=False)[0]['msg']}") from error


def _cut(share: float) -> str:
    """Three digits, not rounded up: what misses a bar by little must not look as if it reached it."""
    return f"{math.floor(share * 1000 + 1e-6) / 1000 if math.isfinite(share) else share:.3f}"
