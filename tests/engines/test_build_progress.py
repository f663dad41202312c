"""How far a build is, from what TensorRT tells of its phases."""

from __future__ import annotations

import pytest

from engines.build_progress import Progress, Watch, progress_lines


def test_a_step_of_a_phase_is_a_share_of_a_step_of_the_phase_around_it() -> None:
    watch = Watch()
    assert watch.progress().done == 0
    watch.begin("all", None, 4)
    watch.step("all", 0)
    assert watch.progress().done == 0.25
    watch.begin("part", "all", 2)
    watch.begin("kernels", "part", 10)
    for step in range(5):
        watch.step("kernels", step)
    assert watch.progress().done == pytest.approx((1 + 0.5 / 2) / 4)
    assert watch.progress().phase == "kernels"
    watch.end("kernels")
    assert watch.progress().phase == "part"
    watch.step("part", 0)
    assert watch.progress().done == pytest.approx((1 + 1 / 2) / 4)


def test_it_never_goes_back_and_never_beyond_the_end() -> None:
    watch = Watch()
    watch.begin("all", None, 1)
    watch.begin("part", "all", 2)
    watch.step("part", 1)
    assert watch.progress().done == 1
    watch.end("part")
    watch.begin("part", "all", 100)
    watch.step("part", 0)
    assert watch.progress().done == 1
    watch.step("all", 0)
    watch.step("all", 1)
    assert watch.progress().done == 1


def test_a_phase_of_no_steps_and_a_step_of_no_phase_harm_nothing() -> None:
    watch = Watch()
    watch.begin("all", None, 0)
    assert watch.step("unknown", 3)
    watch.end("unknown")
    assert watch.step("all", 0)
    assert watch.progress().done == 1
    watch.end("all")
    assert watch.progress().phase == ""


def test_steps_say_no_once_it_is_to_stop() -> None:
    watch = Watch()
    watch.begin("all", None, 9)
    assert watch.step("all", 0)
    watch.stopped.set()
    assert not watch.step("all", 1)


def test_lines_come_every_five_seconds_and_not_before() -> None:
    lines: list[str] = []
    tell = progress_lines(lines.append, "net: building its engine")
    for done, at_s in ((0.0, 0.0), (0.1, 4.9), (0.2, 5.0), (0.3, 9.9), (0.4, 11.0), (0.5, 15.9), (0.9, 16.0)):
        tell(Progress(done, "Timing", at_s))
    assert lines == [
        "net: building its engine: 20% after 5 s (Timing)",
        "net: building its engine: 40% after 11 s (Timing)",
        "net: building its engine: 90% after 16 s (Timing)",
    ]


def test_a_line_without_a_phase_has_no_brackets() -> None:
    lines: list[str] = []
    progress_lines(lines.append, "net", 1)(Progress(0.5, "", 2.4))
    assert lines == ["net: 50% after 2 s"]
