"""One model built in one precision: made, judged, timed, kept or refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_engines import POSE_CARD, FakeOpener, FakePoser

from engines.backends.base import EngineError
from engines.building import LEAST_PICTURES, RefusedError, Wish, build
from engines.cards import ModelCard
from engines.choosing import Choice, named, remembered
from engines.fronts import MIXES
from engines.results import Image
from engines.shelf import Engines, Shelf

PICTURES = [np.zeros((64, 48, 3), np.uint8)] * LEAST_PICTURES
INT8 = Wish("int8", PICTURES)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"weights")
    return Shelf.of(tmp_path / "cache", path, POSE_CARD, Engines())


def opener(*, bf16: float = 0.01, int8: float = 0.05, bf16_ms: float = 1.0, int8_ms: float = 0.0) -> FakeOpener:
    """Backends by their errors and the time that they take; fp32 takes 2 ms, and the CPU takes bf16 by itself."""
    makes: dict[str, Callable[[], FakePoser]] = {
        "fp32": lambda: FakePoser(busy_ms=2),
        "bf16": lambda: FakePoser("bf16", bf16, bf16_ms),
        "int8": lambda: FakePoser("int8", int8, int8_ms),
    }
    return FakeOpener({**makes, "auto": makes["bf16"]})


class Quantizer:
    """Writes `content` and remembers what it was given."""

    def __init__(self, content: bytes = b"quantised") -> None:
        self.calls: list[tuple[Path, int]] = []
        self._content = content

    def __call__(
        self, onnx: Path, card: ModelCard, calibration: Sequence[Image], target: Path, say: Callable[[str], None]
    ) -> None:
        self.calls.append((onnx, len(calibration)))
        say("quantising")
        target.write_bytes(self._content)


def silent(line: str) -> None:
    pass


def files(shelf: Shelf) -> set[str]:
    return {path.name for path in shelf.built("int8").parent.iterdir() if path.suffix != ".lock"}


def test_16_bits_have_a_verdict_and_no_file(shelf: Shelf) -> None:
    opens, said = opener(), []
    reference = FakePoser(busy_ms=2)
    built = build(reference, shelf, opens, Wish("bf16"), said.append, Quantizer())
    assert built.path == shelf.model
    assert built.verdict.passed
    assert built.verdict.than == "fp32"
    assert [lap.rows for lap in built.verdict.laps] == [1, 8]
    assert built.verdict.laps[0].ratio == pytest.approx(2, rel=0.3)
    assert built.verdict_file == shelf.verdict_file("bf16")
    assert shelf.verdict("bf16") == built.verdict
    assert files(shelf) == {built.verdict_file.name}
    assert opens.opened == [("net.onnx", "bf16")]
    assert [backend.closed for backend in opens.backends] == [1]
    assert reference.closed == 0
    assert said == ["net: comparing bf16 with fp32"]


def test_16_bits_below_the_bars_are_refused_with_the_figures_and_not_used_again(shelf: Shelf) -> None:
    with pytest.raises(
        RefusedError, match=r"net: bf16 refused: outputs differ by 0\.030 \(0\.02 at most\).*; --force keeps it"
    ):
        build(FakePoser(), shelf, opener(bf16=0.03), Wish("bf16"), silent, Quantizer())
    choice = remembered(shelf)
    assert choice is not None
    assert choice.precision == "fp32"


def test_force_keeps_what_is_below_the_bars(shelf: Shelf) -> None:
    built = build(FakePoser(busy_ms=2), shelf, opener(bf16=0.03), Wish("bf16", force=True), silent, Quantizer())
    assert built.verdict.forced
    assert not built.verdict.passed
    assert remembered(shelf) == Choice(shelf.model, "bf16")


def test_force_is_no_stain_on_what_passes(shelf: Shelf) -> None:
    assert not build(FakePoser(), shelf, opener(), Wish("bf16", force=True), silent, Quantizer()).verdict.forced


def test_int8_is_made_judged_against_fp32_and_timed_against_what_runs_now(shelf: Shelf) -> None:
    opens, quantizer, said = opener(), Quantizer(), []
    built = build(FakePoser(busy_ms=2), shelf, opens, INT8, said.append, quantizer)
    assert quantizer.calls == [(shelf.model, LEAST_PICTURES)]
    assert built.path == shelf.built("int8")
    assert built.path.read_bytes() == b"quantised"
    assert built.verdict.relative == pytest.approx(0.05, abs=1e-4)
    assert built.verdict.than == "bf16"
    assert built.verdict.pays
    assert shelf.verdict("bf16") is not None  # compared on the way
    assert all(backend.closed == 1 for backend in opens.backends)
    assert said[0] == "quantising"
    assert said[-1] == "net: comparing int8 with fp32"
    choice = remembered(shelf)
    assert choice is not None
    assert (choice.path, choice.precision) == (built.path, "int8")


def test_int8_is_timed_against_fp32_where_16_bits_are_not_used(shelf: Shelf) -> None:
    built = build(FakePoser(busy_ms=2), shelf, opener(bf16=0.5), INT8, silent, Quantizer())
    assert built.verdict.than == "fp32"


def test_int8_that_does_not_pay_is_kept_for_who_names_it_and_not_used_else(shelf: Shelf) -> None:
    built = build(FakePoser(busy_ms=2), shelf, opener(int8_ms=1), INT8, silent, Quantizer())
    assert built.verdict.passed
    assert not built.verdict.pays
    assert remembered(shelf) == Choice(shelf.model, "bf16")
    assert named(shelf, "int8") == Choice(built.path, "int8")


def test_a_refused_int8_leaves_nothing_and_an_older_one_in_place(shelf: Shelf) -> None:
    bad = opener(int8=0.09)
    with pytest.raises(RefusedError, match="int8 refused"):
        build(FakePoser(), shelf, bad, INT8, silent, Quantizer())
    assert files(shelf) == {shelf.verdict_file("bf16").name}
    old = build(FakePoser(busy_ms=2), shelf, opener(), INT8, silent, Quantizer(b"old"))
    with pytest.raises(RefusedError, match="int8 refused"):
        build(FakePoser(), shelf, bad, INT8, silent, Quantizer(b"new"))
    assert old.path.read_bytes() == b"old"
    assert shelf.verdict("int8") == old.verdict
    assert build(FakePoser(), shelf, bad, replace(INT8, force=True), silent, Quantizer(b"new")).path == old.path
    assert old.path.read_bytes() == b"new"


@pytest.mark.parametrize("count", [0, LEAST_PICTURES - 1])
def test_int8_wants_pictures(shelf: Shelf, count: int) -> None:
    with pytest.raises(ValueError, match=f"{LEAST_PICTURES} at least, got {count}; .* --calibrate"):
        build(FakePoser(), shelf, opener(), Wish("int8", PICTURES[:count]), silent, Quantizer())


def test_a_precision_that_the_machine_has_not_got_is_an_error_and_nothing_is_kept(shelf: Shelf) -> None:
    with pytest.raises(EngineError, match="this CPU has not got it"):
        build(FakePoser(), shelf, opener(), Wish("fp16"), silent, Quantizer())
    assert files(shelf) == set()


def test_16_bits_are_built_with_a_front_in_fp32_where_that_takes_them_near_enough(shelf: Shelf) -> None:
    def mixing(error: float) -> FakePoser:
        backend = FakePoser("bf16", error)
        backend.name = MIXES
        return backend

    opens = FakeOpener({"bf16": lambda: mixing(0.03), "bf16 0.04": lambda: mixing(0.01)})
    built = build(FakePoser(busy_ms=2), shelf, opens, Wish("bf16"), silent)
    assert (built.verdict.front, built.verdict.passed, len(built.verdict.laps)) == (0.04, True, 2)
    assert all(backend.closed == 1 for backend in opens.backends)
    assert remembered(shelf) == Choice(shelf.model, "bf16", front=0.04)
