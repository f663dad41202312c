"""Which precision runs where nobody names one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fake_engines import POSE_CARD, FakeOpener, FakePoser

from engines.backends.base import EngineError
from engines.choosing import Choice, last_used, named, precision_of, remembered, settle
from engines.fronts import MIXES
from engines.shelf import Engines, Shelf
from engines.verdict import BARS, Lap, Verdict

GOOD = Verdict("bf16", "A", "B", "5 drawn pictures", BARS["bf16"], relative=0.01)
BAD = replace(GOOD, relative=0.5)
SLOW = replace(GOOD, than="fp32", laps=(Lap(1, 10, 10.2),))


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"weights")
    return Shelf.of(tmp_path / "cache", path, POSE_CARD, Engines())


def opener(error: float = 0.0, busy_ms: float = 3.0) -> FakeOpener:
    """fp32 takes `busy_ms`, bf16 nothing, and gives outputs that are wrong by `error`."""
    return FakeOpener({"fp32": lambda: FakePoser(busy_ms=busy_ms), "bf16": lambda: FakePoser("bf16", error)})


@pytest.mark.parametrize(
    ("name", "precision"),
    [("OpenVINO CPU bf16", "bf16"), ("torch cuda:0 fp16, 6 graphs", "fp16"), ("ONNX Runtime CPU fp32", "fp32"),
     ("Something", None)],
)  # fmt: skip
def test_a_backends_name_tells_its_precision(name: str, precision: str | None) -> None:
    backend = FakePoser()
    backend.name = name
    assert precision_of(backend) == precision


def test_16_bits_that_are_near_enough_run_and_are_compared_once(shelf: Shelf) -> None:
    said: list[str] = []
    own, opens = FakePoser("bf16", 0.01), opener()
    for _ in range(2):
        assert settle(own, shelf, opens, said.append) == (own, "")
    assert opens.opened == [("net.onnx", "fp32")]
    assert [backend.closed for backend in opens.backends] == [1]
    assert own.closed == 0
    assert said[0] == "net: comparing bf16 with fp32, once on this machine"
    assert said[1].startswith("net: bf16 passed: outputs differ by 0.010 (0.02 at most); ")
    assert len(said) == 2
    kept = shelf.verdict("bf16")
    assert kept is not None
    assert [lap.rows for lap in kept.laps] == [1]


def test_16_bits_that_are_too_far_give_way_to_fp32(shelf: Shelf) -> None:
    said: list[str] = []
    own, opens = FakePoser("bf16", 0.03), opener()
    backend, reason = settle(own, shelf, opens, said.append)
    assert backend is opens.backends[-1]
    assert backend.name == "Fake CPU fp32"
    assert reason == "bf16 is not used: outputs differ by 0.030, 0.02 at most"
    assert (own.closed, backend.closed) == (1, 0)
    again = FakePoser("bf16", 0.03)
    assert settle(again, shelf, opens, said.append) == (opens.backends[-1], reason)
    assert again.closed == 1
    assert len(said) == 2


def test_16_bits_that_are_no_faster_give_way_to_fp32(shelf: Shelf) -> None:
    own, opens = FakePoser("bf16", busy_ms=6), opener(busy_ms=3)
    backend, reason = settle(own, shelf, opens, lambda line: None)
    assert backend is opens.backends[-1]
    assert reason.startswith("bf16 is not used: ")
    assert reason.endswith(" times as fast as fp32 at batch 1, which does not pay (1.1 times would)")


def test_fp32_and_int8_are_not_compared_here(shelf: Shelf) -> None:
    opens = opener()
    for precision in ("fp32", "int8"):
        own = FakePoser(precision)
        assert settle(own, shelf, opens, lambda line: None) == (own, "")
    assert opens.opened == []


def test_a_cache_that_cannot_be_written_is_told_and_compared_by_each_time(shelf: Shelf) -> None:
    broken = replace(shelf, cache=shelf.model)
    for _ in range(2):
        said: list[str] = []
        own = FakePoser("bf16")
        assert settle(own, broken, opener(), said.append) == (own, "")
        assert said[1] == (
            f"net: the verdict cannot be kept in {shelf.model} (Not a directory): they are compared at each start"
        )


def test_a_comparison_that_fails_leaves_no_reference_open(shelf: Shelf) -> None:
    opens = FakeOpener({"fp32": FakePoser})
    wrong = replace(shelf, card=replace(POSE_CARD, skeleton="mpii16"))
    with pytest.raises(EngineError, match="wanted"):
        settle(FakePoser("bf16"), wrong, opens, lambda line: None)
    assert [backend.closed for backend in opens.backends] == [1]


@pytest.mark.parametrize(("error", "served"), [(0.01, "TensorRT 10.9 cuda:0 fp16"), (0.03, "Fake CPU fp32")])
def test_an_engine_is_compared_with_fp32_on_the_cpu_and_not_timed(shelf: Shelf, error: float, served: str) -> None:
    """Its own fp32 would take minutes to build: that is done only where it is needed."""
    own, gpu, cpu = FakePoser("fp16", error), opener(), opener()
    own.name = "TensorRT 10.9 cuda:0 fp16"
    gpu.cpu = cpu
    backend, reason = settle(own, shelf, gpu, lambda line: None)
    assert backend.name == served
    assert (reason == "") is (error < 0.02)
    assert [one.closed for one in cpu.backends] == [1]
    assert gpu.opened == ([] if error < 0.02 else [("net.onnx", "fp32")])
    kept = shelf.verdict("fp16")
    assert kept is not None
    assert kept.laps == ()


def test_what_is_remembered_needs_no_comparison(shelf: Shelf) -> None:
    assert remembered(shelf) is None
    shelf.keep(GOOD)
    assert remembered(shelf) == Choice(shelf.model, "bf16")
    shelf.keep(BAD)
    assert remembered(shelf) == Choice(shelf.model, "fp32", "bf16 is not used: outputs differ by 0.500, 0.02 at most")
    shelf.keep(replace(BAD, forced=True))
    assert remembered(shelf) == Choice(shelf.model, "bf16")
    shelf.keep(SLOW)
    choice = remembered(shelf)
    assert choice is not None
    assert choice.precision == "fp32"


def test_int8_is_taken_where_it_was_built_passed_and_pays(shelf: Shelf) -> None:
    shelf.keep(GOOD)
    int8 = replace(GOOD, precision="int8", bars=BARS["int8"], than="bf16", laps=(Lap(1, 5, 10),))
    shelf.keep(int8)
    assert remembered(shelf) == Choice(shelf.model, "bf16")  # its file is gone
    shelf.built("int8").write_bytes(b"quantised")
    assert remembered(shelf) == Choice(
        shelf.built("int8"), "int8", "built in int8: outputs differ by 0.010 (0.08 at most)"
    )
    shelf.keep(replace(int8, laps=(Lap(1, 10, 10),)))
    assert remembered(shelf) == Choice(shelf.model, "bf16")


def test_a_named_precision_takes_what_was_built_in_it_whatever_was_said(shelf: Shelf) -> None:
    assert named(shelf, "int8") == Choice(shelf.model, "int8")
    shelf.keep(replace(BAD, precision="int8"))
    shelf.built("int8").write_bytes(b"quantised")
    assert named(shelf, "int8") == Choice(shelf.built("int8"), "int8")
    assert named(shelf, "fp32") == Choice(shelf.model, "fp32")


def test_a_front_in_fp32_that_takes_it_near_enough_runs_and_is_remembered(shelf: Shelf) -> None:
    """What the library took is opened again with the front, at the next start at once."""
    opens = FakeOpener({"fp32": lambda: FakePoser(busy_ms=3), "bf16 0.04": lambda: mixing(0.01)})
    own = mixing(0.03)
    backend, reason = settle(own, shelf, opens, lambda line: None)
    assert (backend, reason) == (opens.backends[-1], "")
    assert opens.opened == [("net.onnx", "fp32"), ("net.onnx", "bf16 0.04")]
    assert [own.closed, *(one.closed for one in opens.backends)] == [1, 1, 0]
    assert remembered(shelf) == named(shelf, "bf16") == Choice(shelf.model, "bf16", front=0.04)
    assert last_used(shelf.model, shelf.cache) == Choice(shelf.model, "bf16", front=0.04)
    again = mixing(0.03)
    assert settle(again, shelf, opens, lambda line: None) == (opens.backends[-1], "")
    assert opens.opened[2:] == [("net.onnx", "bf16 0.04")]
    assert again.closed == 1


def test_what_was_refused_is_not_what_was_last_used(shelf: Shelf) -> None:
    assert last_used(shelf.model, shelf.cache) is None
    shelf.keep(BAD)
    assert last_used(shelf.model, shelf.cache) is None
    shelf.keep(GOOD)
    assert last_used(shelf.model, shelf.cache) == Choice(shelf.model, "bf16")
    assert last_used(shelf.model.with_name("other.onnx"), shelf.cache) is None


def mixing(error: float) -> FakePoser:
    """bf16 by the backend that can keep a front in fp32."""
    backend = FakePoser("bf16", error)
    backend.name = MIXES
    return backend
