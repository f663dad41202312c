"""Steadies key points over time: the One-Euro filter, per identity and joint.

Source: Casiez, Roussel, Vogel, "1 € Filter" (CHI 2012). Speeds are counted in heights of the person per second, so that
the same numbers serve near and far people and every resolution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MEMORY_S = 2.0
"""Seconds after which an identity that was not seen is forgotten."""
SMALLEST_PERSON = 8.0
"""Pixels; the height of a person whose joints lie in one spot."""


@dataclass(frozen=True, slots=True)
class SmoothOptions:
    """How steady: a joint at rest is low-passed at `min_cutoff_hz`, a moving one at `beta` more per height a second.

    The defaults were chosen on five clips by `run.py bench --smoothing`: of the settings that leave as little jitter at
    rest, those that follow best. At 30 frames a second a joint that moves steadily lags 48 ms behind at 0.05 heights a
    second, 21 ms at 0.25, 8 ms at 1; noise of half a percent of the height shrinks to a fifth from frame to frame.
    Joints that score under `min_score` are passed on as they are and begin anew when they are back.
    """

    min_cutoff_hz: float = 1.5
    beta: float = 15.0
    speed_cutoff_hz: float = 0.5
    min_score: float = 0.3

    def __post_init__(self) -> None:
        if self.min_cutoff_hz <= 0 or self.speed_cutoff_hz <= 0 or self.beta < 0:
            got = f"{self.min_cutoff_hz}, {self.speed_cutoff_hz} and {self.beta}"
            raise ValueError(f"cutoffs must be above 0 Hz and beta 0 or more, got {got}")


@dataclass(slots=True)
class _Rows:
    """What is remembered of each identity: N people of K joints, sorted by id."""

    ids: NDArray[np.int64]  # (N,)
    seen_s: Floats  # (N,)
    points: Floats  # (N, K, 2), as last given out
    speeds: Floats  # (N, K, 2), pixels a second, low-passed
    valid: NDArray[np.bool_]  # (N, K), whether the joint was trusted when last seen


class OneEuroSmoother:
    """Smooths the poses of one source. Identity 0 (still pictures) and whoever is new pass unchanged."""

    def __init__(self, options: SmoothOptions | None = None) -> None:
        self._options = options or SmoothOptions()
        self._rows: _Rows | None = None

    def smooth(
        self, ids: NDArray[np.int64], keypoints: NDArray[np.float32], scores: NDArray[np.float32], time_s: float
    ) -> NDArray[np.float32]:
        """Key points (M, K, 2) of `ids` (M,), steadied; `scores` (M, K) say which joints to trust."""
        points = keypoints.astype(np.float64)
        trusted = scores >= self._options.min_score
        speeds = np.zeros_like(points)
        before, rows = self._find(ids)
        if before is not None and (rows >= 0).any():
            now = np.flatnonzero(rows >= 0)
            then = rows[now]
            dt_s = (time_s - before.seen_s[then])[:, None, None]  # (m, 1, 1)
            known = (trusted[now] & before.valid[then] & (dt_s[:, :, 0] > 0))[..., None]  # (m, K, 1)
            height = _heights(points[now], trusted[now])[:, None, None]
            steady, speed = _filter(points[now], before.points[then], before.speeds[then], dt_s, height, self._options)
            points[now] = np.where(known, steady, points[now])
            speeds[now] = np.where(known, speed, 0.0)
        self._remember(ids, points, speeds, trusted, time_s)
        return points.astype(np.float32)

    def _find(self, ids: NDArray[np.int64]) -> tuple[_Rows | None, NDArray[np.intp]]:
        """What is remembered, and for each of `ids` its row there, -1 where there is none."""
        if self._rows is None or len(self._rows.ids) == 0:
            return None, np.full(len(ids), -1)
        at = np.minimum(np.searchsorted(self._rows.ids, ids), len(self._rows.ids) - 1)
        return self._rows, np.where((self._rows.ids[at] == ids) & (ids > 0), at, -1)

    def _remember(
        self, ids: NDArray[np.int64], points: Floats, speeds: Floats, trusted: NDArray[np.bool_], time_s: float
    ) -> None:
        """Keep what was given out now, and those absent for no longer than MEMORY_S."""
        now = _Rows(ids, np.full(len(ids), time_s), points, speeds, trusted)
        before = self._rows
        if before is not None and before.points.shape[1:] == points.shape[1:]:
            kept = ~np.isin(before.ids, ids) & (time_s - before.seen_s <= MEMORY_S)
            now = _Rows(
                np.concatenate([now.ids, before.ids[kept]]),
                np.concatenate([now.seen_s, before.seen_s[kept]]),
                np.concatenate([now.points, before.points[kept]]),
                np.concatenate([now.speeds, before.speeds[kept]]),
                np.concatenate([now.valid, before.valid[kept]]),
            )
        order = np.argsort(now.ids)
        self._rows = _Rows(now.ids[order], now.seen_s[order], now.points[order], now.speeds[order], now.valid[order])


def _filter(
    points: Floats, before: Floats, speeds: Floats, dt_s: Floats, height: Floats, options: SmoothOptions
) -> tuple[Floats, Floats]:
    """One step of the filter on (m, K, 2) pixels: what is given out, and the speed to remember."""
    raw = (points - before) / np.maximum(dt_s, np.finfo(np.float64).tiny)
    speed = speeds + _weight(np.full_like(dt_s, options.speed_cutoff_hz), dt_s) * (raw - speeds)
    pace = np.linalg.norm(speed, axis=2, keepdims=True) / height  # (m, K, 1), heights a second
    weight = _weight(options.min_cutoff_hz + options.beta * pace, dt_s)
    return before + weight * (points - before), speed


def _weight(cutoff_hz: Floats, dt_s: Floats) -> Floats:
    """The share of the new value in a low-pass of that cutoff after `dt_s`."""
    turns = 2 * np.pi * cutoff_hz * dt_s
    return turns / (turns + 1)


def _heights(points: Floats, trusted: NDArray[np.bool_]) -> Floats:
    """The longer side of what the trusted joints of each person span, (m,) pixels."""
    low = np.where(trusted[..., None], points, np.inf).min(axis=1)
    high = np.where(trusted[..., None], points, -np.inf).max(axis=1)
    spans: Floats = (high - low).max(axis=1)
    return np.maximum(spans, SMALLEST_PERSON)
