"""The window is tried in a process of its own, on an X server of its own: Qt ends a process where it cannot go on."""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from fakes import FakeSource, FakeWatched, make_frame

from engines.results import Image
from stream.sinks.display import display_fault
from stream.sinks.screen_time import Pace, Rate
from stream.sinks.snapshot import save_snapshot
from stream.sinks.wall import fit
from stream.sinks.window import WindowSink
from stream.source import StreamError

ROOT = Path(__file__).parents[3]
TOOLS = ("Xvfb", "xdotool", "import")
TITLE = "^posestream (fake|2 sources)$"
KEYS = {"q": 113, "s": 115, "space": 32, "Escape": 27, "1": 49, "2": 50, "0": 48}
"""What cv2 calls the keys that xdotool presses."""
ENDED = "ended"
PATIENCE_S = 60
LEFT, RIGHT = (255, 64, 0), (0, 128, 255)
"""Blue, green, red of the halves of the picture that the child shows."""

CHILD = f"""
import signal, sys, threading, time
from dataclasses import replace
from pathlib import Path
import numpy as np
from fakes import FakeSource, FakeWatched, make_result
from stream.sinks.base import Picture
from stream.sinks.window import WindowSink

class Window(WindowSink):
    def _press(self, key):
        if key >= 0:
            print("key", key, flush=True)
        return super()._press(key)

height, width = int(sys.argv[1]), int(sys.argv[2])
live, snapshots, count = sys.argv[3] in ("live", "two"), Path(sys.argv[4]), int(sys.argv[5])
image = np.empty((height, width, 3), np.uint8)
image[:, : width // 2], image[:, width // 2 :] = {LEFT}, {RIGHT}
image.setflags(write=False)
stopped = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stopped.set())
info = replace(FakeSource(0, live=live).info, size=(height, width))
sources = [FakeWatched(info)]
if sys.argv[3] == "two":
    sources.append(FakeWatched(replace(info, source_id="other"), "connecting", is_known=False))
sink = Window(sources, stopped, snapshots)
begun = time.monotonic()
index = 0
while index < count and not stopped.is_set():
    sink.write(make_result(index), Picture(image, np.zeros((0, 4), np.int32)))
    sink.refresh()
    print("shown", index, flush=True)
    index += 1
print("took", time.monotonic() - begun)
print(*sink.warnings, sep="\\n")
sink.close()
"""


@contextlib.contextmanager
def x_server(*options: str) -> Iterator[str]:
    """The name of an X server with a screen of 1600 x 1000 that nobody else uses."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        if os.environ.get("REQUIRE_DISPLAY") == "1":
            pytest.fail(f"REQUIRE_DISPLAY=1 but {', '.join(missing)} not found")
        pytest.skip(f"{', '.join(missing)} not found; apt-get install xvfb xdotool imagemagick")
    command = ["Xvfb", "-displayfd", "1", "-screen", "0", "1600x1000x24", "-nolisten", "tcp", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        try:
            yield f":{server.stdout.readline().strip()}"
        finally:
            server.terminate()


@pytest.fixture
def display() -> Iterator[str]:
    with x_server() as name:
        yield name


class Window:
    """A child that shows pictures until it is told to stop, and tells which and the keys it gets."""

    def __init__(self, display: str, *arguments: object) -> None:
        self.display = display
        self.environ = {**os.environ, "DISPLAY": display, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
        self.complaints = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by `kill`
        command = [sys.executable, "-c", CHILD, *map(str, arguments)]
        self.process = subprocess.Popen(
            command, env=self.environ, stdout=subprocess.PIPE, stderr=self.complaints, text=True
        )
        self.lines: queue.Queue[str] = queue.Queue()
        self.reader = threading.Thread(target=self._read, name="reads the child")
        self.reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.put(line.strip())
        self.lines.put(ENDED)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stdout.close()
        self.complaints.close()

    def wait_for(self, count: int) -> None:
        """Until that many more pictures were shown."""
        while count:
            line = self.lines.get(timeout=PATIENCE_S)
            assert line.startswith(("shown", "key")), f"{line}: {self.complained()}"
            count -= line.startswith("shown")

    def press(self, key: str) -> None:
        """Press a key until the child says that it has got it: one pressed before the window has the focus is lost."""
        for _ in range(10):
            with contextlib.suppress(subprocess.CalledProcessError):  # xdotool minds that its key closed the window
                self.on_window("windowfocus", "--sync", "key", key)
            until = time.monotonic() + 2
            with contextlib.suppress(queue.Empty):
                while time.monotonic() < until:
                    if self.lines.get(timeout=2) == f"key {KEYS[key]}":
                        return
        pytest.fail(f"the window does not get the key {key}")

    def is_silent(self) -> bool:
        """Whether within the next 500 pictures none was shown for half a second."""
        with contextlib.suppress(queue.Empty):
            for _ in range(500):
                self.lines.get(timeout=0.5)
            return False
        return True

    def finish(self) -> list[str]:
        """What else the child says until it ends, in order and without a complaint."""
        assert self.process.wait(PATIENCE_S) == 0, self.complained()
        assert self.complained() == ""
        return list(iter(lambda: self.lines.get(timeout=PATIENCE_S), ENDED))

    def complained(self) -> str:
        self.complaints.seek(0)
        return self.complaints.read()

    def on_window(self, *commands: str) -> bytes:
        """Run xdotool's commands on the window once it can be seen; what they say."""
        return self.tool("xdotool", "search", "--sync", "--onlyvisible", "--name", TITLE, *commands).stdout

    def screenshot(self) -> Image:
        """The screen with the window on it."""
        for _ in range(50):
            self.wait_for(5)
            screen = cv2.imdecode(np.frombuffer(self.tool("import", "-window", "root", "png:-").stdout, np.uint8), 1)
            if screen.any():
                break
            # Where no window manager maps its windows, Qt may miss that one is to be painted, and never paints it.
            self.on_window("windowunmap", "--sync", "windowmap", "--sync")
        return screen

    def tool(self, *command: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(command, env=self.environ, capture_output=True, check=True, timeout=PATIENCE_S)


Open = Callable[..., Window]


@pytest.fixture
def open_window(display: str, tmp_path: Path) -> Iterator[Open]:
    opened: list[Window] = []

    def start(size: tuple[int, int] = (240, 320), kind: str = "live", count: int = 100_000) -> Window:
        opened.append(Window(display, *size, kind, tmp_path / "snapshots", count))
        return opened[-1]

    yield start
    for window in opened:
        window.kill()


def test_the_picture_is_on_the_screen_with_its_corner_and_q_ends_it(open_window: Open) -> None:
    window = open_window()
    screen = window.screenshot()
    assert tuple(screen[120, 80].tolist()) == LEFT
    assert tuple(screen[120, 240].tolist()) == RIGHT
    assert (screen[:, 320:] == 0).all()
    assert (screen[240:] == 0).all()
    assert screen[2:12, 2:60].min() < 60  # the corner's paper
    assert screen[2:12, 2:60].max() > 200  # and its letters
    window.press("q")
    window.finish()


def test_a_picture_larger_than_the_screen_is_fitted(open_window: Open) -> None:
    window = open_window((2160, 3840))
    screen = window.screenshot()
    assert tuple(screen[700, 20].tolist()) == LEFT
    assert tuple(screen[700, 1260].tolist()) == RIGHT
    assert (screen[725:] == 0).all()
    window.press("Escape")
    window.finish()


def test_s_saves_the_picture_without_its_corner_and_never_over_another(open_window: Open, tmp_path: Path) -> None:
    window = open_window()
    window.wait_for(5)
    folder = tmp_path / "snapshots"
    window.press("s")
    while not folder.exists() or not list(folder.iterdir()):
        window.wait_for(1)
    window.press("q")
    window.finish()
    (snapshot,) = folder.iterdir()
    saved = cv2.imread(str(snapshot))
    assert saved.shape == (240, 320, 3)
    assert (saved[:, :160] == LEFT).all()
    assert (saved[:, 160:] == RIGHT).all()


def test_a_snapshot_that_cannot_be_saved_is_a_warning(open_window: Open, tmp_path: Path) -> None:
    (tmp_path / "snapshots").write_text("a file is in the way")
    window = open_window()
    window.wait_for(5)
    window.press("s")
    window.wait_for(50)
    window.press("q")
    assert window.finish()[-1].startswith(f"snapshot not saved in {tmp_path / 'snapshots'}: ")


def test_space_holds_the_picture_and_lets_it_go(open_window: Open) -> None:
    window = open_window()
    window.wait_for(5)
    window.press("space")
    assert window.is_silent()
    window.press("space")
    window.wait_for(5)
    window.press("q")
    window.finish()


def test_a_signal_ends_a_held_picture(open_window: Open) -> None:
    window = open_window()
    window.wait_for(5)
    window.press("space")
    assert window.is_silent()
    window.process.send_signal(signal.SIGTERM)
    window.finish()


def test_a_server_is_not_left_alone_before_the_window_is_open(tmp_path: Path) -> None:
    with x_server("-terminate") as display:  # ends with its last client, where another would only start anew
        window = Window(display, 240, 320, "live", tmp_path, 5)
        try:
            assert window.finish()[4] == "shown 4"
        finally:
            window.kill()


def test_closing_the_window_ends_the_run(open_window: Open) -> None:
    window = open_window()
    window.wait_for(5)
    ask_to_close(window.display, int(window.on_window()))
    window.finish()


def test_two_sources_stand_side_by_side_and_a_digit_or_a_click_shows_one(open_window: Open, tmp_path: Path) -> None:
    window = open_window(kind="two")
    screen = window.screenshot()
    assert tuple(screen[300, 160].tolist()) == LEFT
    assert tuple(screen[300, 480].tolist()) == RIGHT
    assert (screen[500, 700:1200] == 24).all()
    assert screen[340:380, 900:1000].max() > 200, "connecting"
    window.press("2")
    assert (window.screenshot()[300, 100:500] == 24).all()
    window.press("0")
    window.screenshot()
    window.on_window("mousemove", "--window", "%1", "300", "300", "click", "1")
    window.wait_for(30)
    screen = window.screenshot()
    assert tuple(screen[360, 500].tolist()) == LEFT
    assert tuple(screen[360, 1000].tolist()) == RIGHT
    window.press("s")
    window.wait_for(5)
    window.press("q")
    window.finish()
    assert [path.name.partition("-")[0] for path in (tmp_path / "snapshots").iterdir()] == ["fake"]


def test_a_file_plays_no_faster_than_it_was_taken(open_window: Open) -> None:
    lines = open_window(kind="file", count=11).finish()
    assert lines[10] == "shown 10"
    assert float(lines[11].removeprefix("took ")) >= 0.4  # ten steps of 1/25 s


def ask_to_close(display: str, window: int) -> None:
    """What a window manager does when the X is clicked: send WM_DELETE_WINDOW (ICCCM 4.2.8.1)."""
    x11 = ctypes.CDLL(ctypes.util.find_library("X11"))
    x11.XOpenDisplay.restype = ctypes.c_void_p
    x11.XInternAtom.restype = ctypes.c_ulong
    connection = ctypes.c_void_p(x11.XOpenDisplay(display.encode()))
    protocols, delete = (x11.XInternAtom(connection, name, 0) for name in (b"WM_PROTOCOLS", b"WM_DELETE_WINDOW"))
    # XClientMessageEvent: type, serial, send_event, display, window, message_type, format, data; XEvent is 24 longs.
    event = (ctypes.c_long * 24)(33, 0, 1, 0, window, protocols, 32, delete, 0)
    x11.XSendEvent(connection, ctypes.c_ulong(window), 0, ctypes.c_long(0), ctypes.byref(event))
    x11.XCloseDisplay(connection)


def test_without_a_display_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(StreamError, match=r"--show needs a display: there is none .*--output, or run under xvfb-run"):
        WindowSink([FakeWatched(FakeSource(0).info)], threading.Event(), tmp_path)


def test_a_display_that_is_gone_is_a_fault_and_no_crash() -> None:
    fault = display_fault({**os.environ, "DISPLAY": ":9876"}, "linux")
    assert fault is not None
    assert fault.startswith(":9876 cannot be used (")


def test_an_opencv_without_windows_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "currentUIFramework", lambda: "")
    assert "pip uninstall opencv-python-headless" in display_fault({"DISPLAY": ":0"}, "darwin")


def test_a_display_that_is_there_has_no_fault(display: str) -> None:
    assert display_fault({**os.environ, "DISPLAY": display}, "linux") is None


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_other_systems_always_have_a_display(platform: str) -> None:
    assert display_fault({}, platform) is None


def test_pace_keeps_the_time_of_the_file() -> None:
    pace = Pace()
    assert pace.due(5.0, 100.0) == 100.0
    assert pace.due(5.5, 100.1) == 100.5
    assert pace.due(5.6, 100.5) == pytest.approx(100.6)
    assert pace.due(7.6, 100.7) == pytest.approx(102.6)  # a gap in the file is a gap on the screen


def test_pace_makes_up_for_little_and_forgets_much() -> None:
    pace = Pace()
    pace.due(0.0, 10.0)
    assert pace.due(0.1, 10.4) == pytest.approx(10.1)  # 0.3 s behind: due already
    assert pace.due(0.2, 10.9) == 10.9  # 0.7 s behind: from here on
    assert pace.due(0.3, 10.9) == pytest.approx(11.0)


def test_pace_starts_anew_where_time_goes_back_or_it_was_held() -> None:
    pace = Pace()
    pace.due(9.0, 10.0)
    assert pace.due(0.0, 10.1) == 10.1
    pace.restart()
    assert pace.due(0.1, 10.15) == 10.15


def test_rate_counts_the_last_second() -> None:
    rate = Rate()
    assert rate.count(0.0) == 0.0
    assert rate.count(0.5) == pytest.approx(2.0)
    for frame in range(1, 30):
        fps = rate.count(0.5 + frame / 20)
    assert fps == pytest.approx(20.0)
    assert rate.count(100.0) < 0.1


@pytest.mark.parametrize(
    ("size", "room", "expected"),
    [
        ((100, 200), (100, 200), (100, 200)),
        ((100, 200), (500, 900), (100, 200)),
        ((100, 200), (50, 900), (50, 100)),
        ((101, 200), (90, 100), (50, 100)),
        ((1, 4000), (50, 100), (1, 100)),
        ((100, 200), (0, 0), (100, 200)),
    ],
)
def test_fit_keeps_the_shape_and_never_enlarges(
    size: tuple[int, int], room: tuple[int, int], expected: tuple[int, int]
) -> None:
    image = np.full((*size, 3), 7, np.uint8)
    fitted = fit(image, room)
    assert fitted.shape == (*expected, 3)
    assert (fitted == 7).all()
    assert not np.shares_memory(fitted, image)


def test_snapshots_are_numbered_where_the_name_is_taken(tmp_path: Path) -> None:
    frame = make_frame(12, source_id="cam/front door.mp4")
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    names = [save_snapshot(image, frame, tmp_path / "new").name for _ in range(3)]
    assert names == ["front_door-000012.png", "front_door-000012-2.png", "front_door-000012-3.png"]
    assert np.array_equal(cv2.imread(str(tmp_path / "new" / names[2])), image)


def test_a_window_without_a_picture_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="a window shows pictures"):
        WindowSink.write(object.__new__(WindowSink), None, None)
