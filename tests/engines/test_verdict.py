"""Verdicts: bars, what pays, what is used, and the words for it."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from engines.verdict import BARS, Lap, Verdict

GOOD = Verdict("bf16", "A CPU bf16", "A CPU fp32", "5 drawn pictures", BARS["bf16"], relative=0.01, oks=0.995)


def laps(*ratios: float) -> tuple[Lap, ...]:
    return tuple(Lap(rows, 10, 10 * ratio) for rows, ratio in zip((1, 8), ratios, strict=False))


@pytest.mark.parametrize(
    ("precision", "oks", "ap", "relative"),
    [("fp16", 0.99, 0.97, 0.02), ("bf16", 0.99, 0.97, 0.02), ("int8", 0.97, 0.93, 0.08)],
)
def test_the_bars_are_met_at_the_figure_and_missed_beyond(
    precision: str, oks: float, ap: float, relative: float
) -> None:
    verdict = Verdict(precision, "a", "b", "pictures", BARS[precision], relative, ap, oks)
    assert verdict.passed
    for worse in ({"oks": oks - 1e-6}, {"ap": ap - 1e-6}, {"relative": relative + 1e-6}):
        assert len(replace(verdict, **worse).faults) == 1
        assert not replace(verdict, **worse).used


@pytest.mark.parametrize("figure", ["relative", "ap", "oks"])
def test_what_is_not_a_number_passes_no_bar(figure: str) -> None:
    assert not replace(GOOD, **{figure: math.nan}).passed


def test_a_front_in_fp32_is_told_between_the_figures_and_the_speed() -> None:
    verdict = replace(GOOD, front=0.04, than="fp32", laps=laps(1.5))
    assert "(0.99 at least); the first 4% of it in fp32; 1.50 times as fast" in str(verdict)
    assert Verdict.from_dict(json.loads(json.dumps(verdict.to_dict()))) == verdict


def test_nothing_compared_is_no_pass() -> None:
    nothing = Verdict("bf16", "a", "b", "12 drawn pictures", BARS["bf16"])
    assert nothing.faults == ("nobody was found to compare by",)
    assert str(nothing) == "bf16 refused: nobody was found to compare by; 12 drawn pictures (a against b)"


@pytest.mark.parametrize(
    ("ratios", "pays"),
    [((), True), ((1.1,), True), ((1.09,), False), ((1.0, 1.9), True), ((0.95, 1.2), True), ((0.8, 1.9), False),
     ((1.05, 1.05), False)],
)  # fmt: skip
def test_it_pays_to_be_faster_at_one_batch_and_slower_at_none(ratios: tuple[float, ...], pays: bool) -> None:
    verdict = replace(GOOD, than="fp32", laps=laps(*ratios))
    assert verdict.pays is pays
    assert verdict.used is pays
    assert verdict.passed


def test_force_keeps_what_missed_a_bar() -> None:
    bad = replace(GOOD, oks=0.5)
    assert not bad.used
    assert replace(bad, forced=True).used
    assert not replace(bad, forced=True).passed
    assert not replace(bad, forced=True, laps=laps(1.0)).used


def test_a_verdict_in_one_line() -> None:
    assert str(replace(GOOD, than="fp32", laps=laps(1.9, 2))) == (
        "bf16 passed: outputs differ by 0.010 (0.02 at most), OKS to fp32's 0.995 (0.99 at least); "
        "1.90 times as fast as fp32 at batch 1, 2.00 at 8; 5 drawn pictures (A CPU bf16 against A CPU fp32)"
    )
    assert replace(GOOD, than="fp32", laps=laps(1.02)).speed_words() == (
        "1.02 times as fast as fp32 at batch 1, which does not pay (1.1 times would)"
    )
    assert str(replace(GOOD, ap=0.5, forced=True)).startswith("bf16 forced: outputs differ by")


@pytest.mark.parametrize("verdict", [GOOD, replace(GOOD, than="fp32", laps=laps(1.2, 3), relative=None, forced=True)])
def test_a_verdict_comes_back_from_what_was_written(verdict: Verdict) -> None:
    assert Verdict.from_dict(json.loads(json.dumps(verdict.to_dict()))) == verdict


@pytest.mark.parametrize("data", [{}, {"precision": "bf16"}, {**GOOD.to_dict(), "relative": "far"}])
def test_what_is_no_verdict_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="no verdict: "):
        Verdict.from_dict(data)
