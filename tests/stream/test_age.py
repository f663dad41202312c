"""How old a frame may be."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes import make_frame

from stream.age import AgeLimit, Drops, LiveOptions, age_text


@pytest.mark.parametrize(
    ("max_age_s", "age_ns", "is_late"),
    [
        (0.2, 0, False),
        (0.2, 200_000_000, False),
        (0.2, 200_000_001, True),
        (None, 10**15, False),
    ],
)
def test_a_frame_is_late_when_it_is_older_than_promised(max_age_s: float | None, age_ns: int, is_late: bool) -> None:
    frame = replace(make_frame(), captured_ns=5_000_000_000)
    limit = AgeLimit(max_age_s, lambda: 5_000_000_000 + age_ns)
    assert limit.age_s(frame) == pytest.approx(age_ns / 1e9)
    assert limit.is_late(frame) is is_late


@pytest.mark.parametrize("max_age_s", [0, -0.1, float("nan"), float("inf")])
def test_an_age_that_no_frame_can_keep_is_refused(max_age_s: float) -> None:
    with pytest.raises(ValueError, match="max_age_s must be above 0"):
        LiveOptions(max_age_s)


def test_detection_in_no_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="slowest_detection must be 1 or more, got 0"):
        LiveOptions(slowest_detection=0)


def test_drops_are_summed() -> None:
    assert Drops().total == 0
    assert Drops(3, 5, 7).total == 15


@pytest.mark.parametrize(
    ("age_s", "text"), [(0.2, "200 ms"), (0.0125, "12.5 ms"), (1.0, "1 s"), (1.5, "1.5 s"), (0.999, "999 ms")]
)
def test_an_age_is_written_as_people_write_it(age_s: float, text: str) -> None:
    assert age_text(age_s) == text
