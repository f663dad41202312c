"""The figures of a run for Prometheus, made when they are asked for; in a registry of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from stream.feed import FeedState, State
from stream.web.state import StatesOf

CONTENT_TYPE = CONTENT_TYPE_LATEST
_QUANTILES = ("0.5", "0.95", "0.99")
_COUNTERS: tuple[tuple[str, str, Callable[[FeedState], int]], ...] = (
    ("posestream_frames", "Frames that were shown.", lambda state: state.frames),
    ("posestream_people_seen", "People in all frames that were shown.", lambda state: state.people_seen),
    ("posestream_identities", "Identities that came up.", lambda state: state.identities),
    ("posestream_reconnects", "Times that the source was lost.", lambda state: state.reconnects),
)
_GAUGES: tuple[tuple[str, str, Callable[[FeedState], float]], ...] = (
    ("posestream_fps", "Frames a second over the last two seconds.", lambda state: state.fps),
    ("posestream_people", "People in the last frame.", lambda state: state.people),
    ("posestream_frame_age_latest_seconds", "Age of the last frame at the outputs.", lambda state: state.age_s),
    ("posestream_source_up", "1 while the source plays.", lambda state: state.state is State.PLAYING),
)


class RunMetrics(Collector):
    """The figures of each source, and `clients`: how many watch or listen."""

    def __init__(self, states: StatesOf, clients: Callable[[], int]) -> None:
        self._states = states
        self._clients = clients
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """All figures as they are now; the registry asks."""
        states = self._states()
        for name, told, count in _COUNTERS:
            counter = CounterMetricFamily(name, told, labels=["source"])
            for state in states:
                counter.add_metric([state.name], count(state))
            yield counter
        for name, told, measure in _GAUGES:
            gauge = GaugeMetricFamily(name, told, labels=["source"])
            for state in states:
                gauge.add_metric([state.name], measure(state))
            yield gauge
        yield _drops(states)
        yield _ages(states)
        yield GaugeMetricFamily("posestream_web_clients", "Who watch or listen now.", value=self._clients())


def _drops(states: Sequence[FeedState]) -> Metric:
    counter = CounterMetricFamily("posestream_frames_dropped", "Frames not shown.", labels=["source", "cause"])
    for state in states:
        drops = state.drops
        counter.add_metric([state.name, "newer"], drops.newer)
        counter.add_metric([state.name, "before_detection"], drops.before_detection)
        counter.add_metric([state.name, "before_output"], drops.before_output)
    return counter


def _ages(states: Sequence[FeedState]) -> Metric:
    """Quantiles since the start of the run, of the sources that had a frame."""
    name = "posestream_frame_age_seconds"
    summary = Metric(name, "Age of frames at the outputs, since the start.", "summary")
    for state in (state for state in states if state.frames):
        for quantile, age_s in zip(_QUANTILES, state.ages_s, strict=True):
            summary.add_sample(name, {"source": state.name, "quantile": quantile}, age_s)
        summary.add_sample(f"{name}_count", {"source": state.name}, state.frames)
    return summary
