"""The price of smoothing, on motion that is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fakes import make_frame

from engines.results import Poses
from engines.skeletons import COCO17
from stream.bench_smoothing import around, price, references, without_pictures
from stream.cli.main import main
from stream.pipeline import Result
from stream.smooth import SmoothOptions
from tracker.results import Tracks

RATE = 25  # as make_frame counts
BODY = np.random.default_rng(5).uniform([-20, -50], [20, 50], (17, 2))


def swinging(noise: float, hertz: float = 0.5, seconds: int = 8, gap: int | None = None) -> list[Result]:
    """Somebody 100 pixels tall who swings 60 pixels to each side; frame `gap` is missing."""
    rng = np.random.default_rng(1)
    results = []
    for index in range(seconds * RATE):
        if index == gap:
            continue
        middle = [300 + 60 * np.sin(2 * np.pi * hertz * index / RATE), 200]
        points = (BODY + middle + rng.normal(0, noise, (17, 2))).astype(np.float32)[None]
        tracks = Tracks(np.array([1]), np.float32([[250, 150, 350, 250]]), np.float32([0.9]))
        results.append(Result(make_frame(index), tracks, Poses(points, np.full((1, 17), 0.9, np.float32), COCO17)))
    return results


def test_the_reference_is_where_the_joints_were() -> None:
    joints = references(swinging(noise=1.0), 0.3)
    assert sorted(joint.joint for joint in joints) == list(range(17))
    clean = references(swinging(noise=0.0), 0.3)
    truth = swinging(noise=0.0)
    for joint, smooth in zip(clean, joints, strict=True):
        there = [truth[frame].poses.keypoints[0, joint.joint] for frame in joint.frames]
        np.testing.assert_allclose(joint.reference, there, atol=0.2)
        assert np.abs(smooth.reference - there).mean() < 0.7
        assert smooth.height == pytest.approx(100, rel=0.1)
        assert np.abs(joint.speed[:, 0]).max() == pytest.approx(60 * np.pi, rel=0.05)


def test_what_follows_at_once_costs_nothing_and_gives_nothing() -> None:
    results = swinging(noise=1.0)
    found = price(results, references(results, 0.3), SmoothOptions(min_cutoff_hz=1e6))
    assert found.lag_ms == pytest.approx(0, abs=0.1)
    assert found.reduction == pytest.approx(0, abs=1e-3)
    assert found.error == pytest.approx(found.raw_error, rel=1e-3)


@pytest.mark.parametrize("cutoff_hz", [1.0, 2.0, 4.0])
def test_the_lag_of_a_plain_low_pass_is_its_time_constant(cutoff_hz: float) -> None:
    results = swinging(noise=0.0, hertz=0.2, seconds=20)
    found = price(results, references(results, 0.3), SmoothOptions(min_cutoff_hz=cutoff_hz, beta=0))
    # Of a filter of first order: 1 / (2 pi f), less what turning about takes off at half a hertz and the first frames.
    assert found.lag_ms == pytest.approx(1e3 / (2 * np.pi * cutoff_hz), rel=0.12)


def test_steadier_lags_more_and_has_less_jitter() -> None:
    results = swinging(noise=1.0, hertz=0.1)
    joints = references(results, 0.3)
    usual, faster, steadier = (price(results, joints, options) for options in around(SmoothOptions()))
    assert faster.lag_ms < usual.lag_ms < steadier.lag_ms
    assert faster.jitter > usual.jitter > steadier.jitter
    assert 0.2 < usual.reduction < 0.9
    assert usual.raw_jitter == pytest.approx(100 * 0.01 * 2, rel=0.2)  # of 1 px in 100, in two directions, twice


def test_joints_are_measured_between_gaps_and_only_where_they_are_trusted() -> None:
    joints = references(swinging(noise=0.0, gap=100), 0.3)
    assert {len(joint.frames) for joint in joints} == {100, 99}
    with pytest.raises(ValueError, match="nobody was followed for"):
        references(swinging(noise=0.0), 0.95)
    with pytest.raises(ValueError, match="nobody was followed for"):
        references([], 0.3)


def test_pictures_are_let_go() -> None:
    (result,) = without_pictures(swinging(noise=0.0)[:1])
    assert result.frame.image.shape == (1, 1, 3)
    assert result.frame.image.base is None


def test_the_command_prints_the_price(astronaut_clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(astronaut_clip), "--smoothing"]) == 0
    printed = capsys.readouterr().out
    rows = [line.split() for line in printed.splitlines() if line.strip().startswith(("off", "1.5", "3 ", "0.75"))]
    assert [row[0] for row in rows] == ["off", "1.5", "3", "0.75"]
    lags = [float(row[2]) for row in rows[1:]]
    assert 5 < lags[1] < lags[0] < lags[2] < 80


def test_without_a_clip_there_is_nothing_to_smooth(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--smoothing"]) == 2
    assert "name a clip" in capsys.readouterr().err
