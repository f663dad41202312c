"""Against a real RTSP server, GStreamer's, in a process of its own on loopback."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
from astronaut import DETECTOR, POSE, SIZE
from bench.faults import KINDS, placed, recovery_s
from servers.numbered import encode_numbered, read_number
from servers.rtsp import RtspServer, require_rtsp_server

from stream.age import LiveOptions
from stream.build import Models, open_models, open_session
from stream.cli.main import main
from stream.config import Config, ModelOptions
from stream.feed import State
from stream.pipeline import Result
from stream.session import Session
from stream.source import SourceOptions, open_source

ROOT = Path(__file__).parents[2]
LOGIN = "viewer:Sesame7"
RATE, FRAMES = 25, 250
"""Of the plain stream, which shows grey and its frames' numbers; ten seconds of it, over and over."""
PEOPLE_RATE, PEOPLE_FRAMES = 10, 60
"""Of the stream of people; slow enough for the networks on a busy machine."""
PATIENCE_S = 30.0
"""A run that takes longer to recover is stopped, and its test fails."""

pytestmark = pytest.mark.usefixtures("_rtsp")


@pytest.fixture(scope="module")
def _rtsp() -> None:
    require_rtsp_server()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plain") / "plain.h264"
    return encode_numbered(path, frames=FRAMES, size=(180, 320), rate=RATE)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory, astronaut_clip: Path) -> Path:
    """A real person, 320x288."""
    path = tmp_path_factory.mktemp("people") / "people.h264"
    return encode_numbered(path, frames=PEOPLE_FRAMES, size=SIZE, rate=PEOPLE_RATE, clip=astronaut_clip, key_every=5)


@pytest.fixture(scope="module")
def model_options() -> ModelOptions:
    return ModelOptions(detector=str(DETECTOR), pose=str(POSE))


@pytest.fixture(scope="module")
def models(model_options: ModelOptions) -> Iterator[Models]:
    with open_models(model_options) as models:
        yield models


def steps(numbers: list[int | None], frames: int) -> list[int]:
    """From each number to the next, in a stream that begins again after `frames`."""
    assert None not in numbers
    return [int(step) for step in np.diff(np.array(numbers, int)) % frames]


def test_every_frame_of_a_camera_comes_once_in_order_and_on_time(plain: Path) -> None:
    with RtspServer(plain, rate=RATE) as server:
        source = open_source(server.url)
        info = source.info
        frames = list(islice(source.frames(), 60))
        source.close()
        latest = frames[-1]
        age_s = server.age_s(read_number(latest.image), latest.captured_ns, FRAMES)
    assert (info.live, info.size, info.rate) == (True, (180, 320), RATE)
    assert steps([read_number(frame.image) for frame in frames], FRAMES) == [1] * 59
    assert [frame.index for frame in frames] == list(range(60))
    # Exact to the tick of RTP, 1/90,000 s, rounded by either side.
    assert max(abs(frame.time - frames[0].time - i / RATE) for i, frame in enumerate(frames)) < 2 / 90_000
    # What waited while the stream was looked into is read at once; then pictures come as they are shown.
    assert age_s < 0.3


def test_two_clients_see_the_same_camera(plain: Path) -> None:
    with RtspServer(plain, rate=RATE) as server:
        first, second = (open_source(server.url) for _ in range(2))
        try:
            numbers = [read_number(next(source.frames()).image) for source in (first, second)]
        finally:
            first.close()
            second.close()
    (later,) = steps(numbers, FRAMES)
    assert later % 12 == 0, "a client begins with a key frame"
    assert later > 0


def test_who_knows_the_password_sees_and_it_shows_nowhere(plain: Path) -> None:
    with RtspServer(plain, rate=RATE, login=LOGIN) as server:
        source = open_source(server.url_for(LOGIN))
        frame = next(source.frames())
        source.close()
        assert source.info.url == server.url
    assert "Sesame7" not in repr(source.info)
    assert frame.source_id == "127.0.0.1-live"


@pytest.mark.parametrize("login", ["viewer:Wrong7", None])
def test_a_wrong_password_ends_the_run_at_once_and_is_not_printed(
    plain: Path, tmp_path: Path, model_options: ModelOptions, login: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--detector", str(model_options.detector), "--pose", str(model_options.pose), "-o", f"{tmp_path}/o.mkv"]
    with RtspServer(plain, rate=RATE, login=LOGIN) as server:
        assert main(["-s", server.url if login is None else server.url_for(login), *flags]) == 1
        said = capsys.readouterr()
        last = said.err.strip().splitlines()[-1]
        assert last.startswith("error: ")
        assert server.url in last
    assert "401" in last
    assert "user and password" in last
    assert "Wrong7" not in said.err + said.out
    assert list(tmp_path.iterdir()) == []


def test_a_run_ended_by_sigterm_leaves_a_file_that_plays(
    people: Path, tmp_path: Path, model_options: ModelOptions
) -> None:
    out, records, growing = tmp_path / "out.mkv", tmp_path / "out.jsonl", tmp_path / "out.part.jsonl"
    flags = ["--detector", str(model_options.detector), "--pose", str(model_options.pose)]
    flags += ["--set", "style.ids=false"]  # a label over a head may hide part of the frame's number
    with RtspServer(people, rate=PEOPLE_RATE) as server:
        command = [sys.executable, str(ROOT / "run.py"), "-s", server.url, "-o", str(out), "-o", str(records), *flags]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            wait_for_lines(growing, 20, process)
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=20)
    assert process.returncode == 143, said
    rows = [json.loads(line) for line in records.read_text(encoding="utf-8").splitlines()]
    with av.open(str(out)) as container:
        played = [(frame.time, read_number(frame.to_ndarray(format="bgr24"))) for frame in container.decode(video=0)]
    assert len(played) == len(rows) >= 20
    assert all(row["people"] for row in rows[-10:])
    # What was drawn on frame n is shown at the time of frame n; Matroska counts milliseconds.
    times_s = np.array([time for time, _ in played])
    passed = np.cumsum(steps([number for _, number in played], PEOPLE_FRAMES))
    assert (np.diff(passed) > 0).all()
    np.testing.assert_allclose(times_s[1:] - times_s[0], passed / PEOPLE_RATE, atol=0.0021)


def wait_for_lines(path: Path, count: int, process: subprocess.Popen[str]) -> None:
    """Return once a growing file has `count` lines."""
    while process.poll() is None:
        if path.exists() and path.read_bytes().count(b"\n") >= count:
            return
        try:
            process.wait(timeout=0.05)
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError(f"the run ended with {process.returncode} before it was told to: {process.communicate()}")


class Watched:
    """The results of a session, one at a time; a session that gives none for too long is stopped."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._results = iter(session)

    def after(self, moment_ns: int, count: int) -> list[Result]:
        """The next `count` results of frames that arrived after `moment_ns`."""
        timer = threading.Timer(PATIENCE_S, self._session.stop)
        timer.start()
        try:
            fresh = (result for result in self._results if result.frame.captured_ns > moment_ns)
            found = list(islice(fresh, count))
        finally:
            timer.cancel()
            timer.join()
        assert len(found) == count, f"{len(found)} of {count} frames, then the end or {PATIENCE_S:g} s of nothing"
        return found


def config(server: RtspServer, **more: object) -> Config:
    return Config(source=(server.url,), input=SourceOptions(open_timeout_s=2.0, read_timeout_s=1.0), **more)


def check_time_goes_on(before: list[Result], after: list[Result]) -> None:
    """Nothing goes back, and as much time lies between the frames as really passed between their arrivals."""
    frames = [result.frame for result in (*before, *after)]
    for key in ("pts", "index", "captured_ns"):
        values = [getattr(frame, key) for frame in frames]
        assert values == sorted(set(values)), key
    assert len({frame.time_base for frame in frames}) == 1
    gap_s = (after[0].frame.captured_ns - before[-1].frame.captured_ns) / 1e9
    assert after[0].frame.time - before[-1].frame.time == pytest.approx(gap_s, abs=0.5)


def test_a_camera_that_is_not_there_yet_is_waited_for(plain: Path, models: Models) -> None:
    said: list[str] = []
    with RtspServer(plain, rate=RATE) as server:
        server.kill()

        def say(line: str) -> None:
            said.append(line)
            if len(said) == 1:
                server.start()

        with open_session(config(server), models, say) as session:
            Watched(session).after(0, 3)
        assert server.url in said[0]


def test_a_camera_that_was_killed_and_restarted_is_seen_again(plain: Path, models: Models) -> None:
    with RtspServer(plain, rate=RATE) as server, open_session(config(server), models) as session:
        watched = Watched(session)
        before = watched.after(0, 5)
        server.kill()
        server.start()
        after = watched.after(time.monotonic_ns(), 5)
    check_time_goes_on(before, after)


def test_a_camera_that_comes_back_in_another_size_fills_a_second_file(
    plain: Path, tmp_path: Path, models: Models
) -> None:
    small = encode_numbered(tmp_path / "small.h264", frames=100, size=(120, 160), rate=RATE)
    first, second = tmp_path / "out.mkv", tmp_path / "out-2.mkv"
    with (
        RtspServer(plain, rate=RATE) as server,
        open_session(config(server, output=(str(first),)), models) as session,
    ):
        watched = Watched(session)
        before = watched.after(0, 5)
        server.kill()
        server.start(small)
        after = watched.after(time.monotonic_ns(), 5)
    assert before[-1].frame.image.shape == (180, 320, 3)
    assert after[-1].frame.image.shape == (120, 160, 3)
    check_time_goes_on(before, after)
    for path, size, least in ((first, (320, 180), 5), (second, (160, 120), 5)):
        with av.open(str(path)) as container:
            frames = list(container.decode(video=0))
        assert {(frame.width, frame.height) for frame in frames} == {size}
        assert len(frames) >= least
        assert None not in [read_number(frame.to_ndarray(format="bgr24")) for frame in frames]


def test_every_fault_of_a_camera_and_its_network_is_recovered_from(tmp_path: Path, models: Models) -> None:
    """One of each; bench/faults.py is the long form, and measures."""
    said: list[str] = []
    options = SourceOptions(open_timeout_s=2.0, read_timeout_s=1.0)
    with placed(tmp_path, None, 10) as place:
        place.server.kill()  # absent at first
        out = tmp_path / "out.mkv"
        with open_session(
            Config(source=(place.url,), output=(str(out),), input=options), models, said.append
        ) as session:
            timer = threading.Timer(len(KINDS) * PATIENCE_S, session.stop)
            timer.start()
            results = iter(session)
            frames = []
            for kind in KINDS:
                took_s = recovery_s(place, results, kind, 0.5)
                assert took_s < PATIENCE_S, kind
                frames.append(next(results).frame)
            timer.cancel()
            timer.join()
    assert [frame.index for frame in frames] == sorted({frame.index for frame in frames})
    assert [frame.pts for frame in frames] == sorted({frame.pts for frame in frames})
    shapes = dict(zip(KINDS, [frame.image.shape[:2] for frame in frames], strict=True))
    assert shapes.pop("size") == (480, 854)
    assert set(shapes.values()) == {(360, 640)}
    assert session.feeds[0].reconnects >= len(KINDS) - 2  # the first was no loss, and garbage may be passed over
    assert sum("back after" in line for line in said) == session.feeds[0].reconnects
    # The second file has the other size, the third the first size by whatever codec it came.
    for path, width in ((out, 640), (out.with_name("out-2.mkv"), 854), (out.with_name("out-3.mkv"), 640)):
        with av.open(str(path)) as container:
            assert {frame.width for frame in container.decode(video=0)} == {width}


def test_one_of_four_cameras_dies_and_the_others_lose_nothing(plain: Path, models: Models) -> None:
    slow, count = 5, 12
    with ExitStack() as stack:
        servers = {f"cam{n}": stack.enter_context(RtspServer(plain, rate=slow)) for n in range(4)}
        sources = tuple(server.url for server in servers.values())
        live = LiveOptions(policy="every")
        names = [f"127.0.0.1-live{'' if n == 0 else f'-{n + 1}'}" for n in range(4)]
        session = stack.enter_context(open_session(Config(source=sources, live=live), models))
        timer = threading.Timer(PATIENCE_S, session.stop)
        timer.start()
        seen: dict[str, list[int | None]] = {name: [] for name in names}
        is_dead = False
        for result in session:
            seen[result.frame.source_id].append(read_number(result.frame.image))
            if not is_dead and min(map(len, seen.values())) >= 3:
                servers["cam0"].kill()
                is_dead = True
            if min(len(seen[name]) for name in names[1:]) >= count and session.states()[0].state == State.LOST:
                break
        timer.cancel()
        timer.join()
        states = {state.name: state.state for state in session.states()}
    assert states[names[0]] == State.LOST
    for name in names[1:]:
        assert set(steps(seen[name], FRAMES)) == {1}, name
