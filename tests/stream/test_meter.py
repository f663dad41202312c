"""Figures of a run in constant memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes import make_result

from stream.meter import Histogram, Meter


def test_percentiles_are_right_to_two_percent() -> None:
    durations = np.random.default_rng(0).lognormal(-5, 1, 5000)
    histogram = Histogram()
    for duration in durations:
        histogram.add(float(duration))
    for percent in (1, 50, 95, 99):
        assert histogram.percentile_s(percent) == pytest.approx(
            np.percentile(durations, percent, method="inverted_cdf"), rel=0.02
        )
    assert histogram.total_s == pytest.approx(durations.sum())


def test_an_empty_histogram_says_zero() -> None:
    assert Histogram().percentile_s(50) == 0


@pytest.mark.parametrize("duration", [0.0, 1e-9, 1e9])
def test_durations_beyond_the_bins_are_counted_at_the_ends(duration: float) -> None:
    histogram = Histogram()
    histogram.add(duration)
    assert histogram.count == 1
    assert histogram.percentile_s(50) > 0


def test_people_are_summed_and_identities_counted_once() -> None:
    meter = Meter()
    for index, people in enumerate((1, 3, 2, 0)):
        meter.saw(make_result(index, people))
    assert (meter.frames, meter.people, meter.identities) == (4, 6, 3)


def test_still_people_have_no_identity() -> None:
    meter = Meter()
    meter.saw(make_result(0, 2, still=True))
    assert (meter.people, meter.identities) == (2, 0)


def test_stages_are_listed_in_the_order_of_first_use() -> None:
    meter = Meter()
    for name in ("detect", "pose", "detect"):
        with meter.stage(name):
            pass
    assert [(stage.name, stage.calls) for stage in meter.stages()] == [("detect", 2), ("pose", 1)]


def test_each_output_has_its_ages() -> None:
    meter = Meter()
    meter.age_at("a.mp4").add(0.1)
    meter.age_at("a.mp4").add(0.2)
    assert meter.age_at("a.mp4").count == 2
    assert meter.age_at("a.mp4").percentile_s(99) == pytest.approx(0.2, rel=0.02)
    assert meter.age_at("b.jsonl").count == 0


def test_only_identities_that_were_shown_are_counted() -> None:
    meter = Meter()
    result = make_result(0, 2)
    for ids in ([3, 9], [9, 3], [4, 9]):
        meter.saw(replace(result, tracks=replace(result.tracks, ids=np.array(ids))))
    assert meter.identities == 3
