"""The window: under Xvfb, with real key strokes and screenshots; its arithmetic and refusals without."""

from __future__ import annotations

import ctypes
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from stream.sinks.window import Pace, WindowSink, check_display, first_size, fitted, save_snapshot
from stream.source import SourceInfo, StreamError

ROOT = Path(__file__).parents[3]
PATIENCE_S = 30
TITLE = "clip.mp4 - posestream"
RED, BLUE, GREEN, BLACK = (0, 0, 255), (255, 0, 0), (0, 255, 0), (0, 0, 0)

SHOW = """
import sys, threading, time
from fractions import Fraction
from pathlib import Path
import numpy as np
from engines.results import Poses
from engines.skeletons import COCO17
from stream.frame import Frame
from stream.pipeline import Result
from stream.sinks.base import Picture
from stream.sinks.window import WindowSink
from stream.source import SourceInfo
from tracker.results import Tracks

kind, folder = sys.argv[1], Path(sys.argv[2])
info = SourceInfo("clip.mp4", "clip.mp4", (480, 640), Fraction(1, 25), live=kind == "live", still=kind == "still")
stopped = threading.Event()
window = WindowSink(info, stopped, folder)
nobody = Tracks(np.zeros(0, np.int64), np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
no_poses = Poses(np.zeros((0, 17, 2), np.float32), np.zeros((0, 17), np.float32), COCO17)
count = {"live": 100_000, "file": 20, "still": 2}[kind]
told = 0
for index in range(count):
    image = np.zeros((480, 640, 3), np.uint8)
    image[:, :320] = (0, 255, 0) if kind == "still" and index else (0, 0, 255)
    image[:, 320:] = (255, 0, 0)
    image.flags.writeable = False
    frame = Frame(image, index, index, Fraction(1, 25), "clip.mp4", time.monotonic_ns(), still=kind == "still")
    before = image.copy()
    window.write(Result(frame, nobody, no_poses), Picture(image, np.zeros((0, 4), np.int32)))
    assert (image == before).all()
    if stopped.is_set():
        break
    print("shown", index, time.monotonic(), flush=True)
    for line in (*window.notes, *window.warnings)[told:]:
        told += 1
        print(line, flush=True)
window.close()
for line in (*window.notes, *window.warnings)[told:]:
    print(line, flush=True)
print("stopped" if stopped.is_set() else "ended", flush=True)
"""


@pytest.fixture(scope="module")
def screen() -> Iterator[str]:
    """A virtual screen of 1280x800; its name, as DISPLAY takes it."""
    missing = [name for name in ("Xvfb", "xdotool", "import") if shutil.which(name) is None]
    if missing:
        if os.environ.get("REQUIRE_ASSETS") == "1":
            pytest.fail(f"REQUIRE_ASSETS=1 but {missing} are missing; apt-get install xvfb xdotool imagemagick")
        pytest.skip(f"{missing} are missing; apt-get install xvfb xdotool imagemagick")
    read_end, write_end = os.pipe()
    # Without -noreset the server starts anew when one test's window closes, and takes the next one's with it.
    command = ["Xvfb", "-displayfd", str(write_end), "-screen", "0", "1280x800x24", "-nolisten", "tcp", "-noreset"]
    with subprocess.Popen(command, pass_fds=[write_end], stderr=subprocess.DEVNULL) as server:
        os.close(write_end)
        with os.fdopen(read_end) as pipe:
            number = pipe.readline().strip()
        try:
            assert number, "Xvfb did not start"
            yield f":{number}"
        finally:
            server.terminate()


class Shown:
    """A window in a process of its own, watched through its output and the screen."""

    def __init__(self, screen: str, kind: str, snapshots: Path) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("QT_")}
        self.screen = screen
        self.environment = environment | {"DISPLAY": screen, "PYTHONPATH": str(ROOT), "QT_QPA_PLATFORM": "wayland"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", SHOW, kind, str(snapshots)],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, name="window's output")
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.strip())
        self._lines.put("")

    def line(self, start: str) -> str:
        """The next line of output that begins with `start`."""
        deadline = time.monotonic() + PATIENCE_S
        while line := self._lines.get(timeout=max(0.1, deadline - time.monotonic())):
            if line.startswith(start):
                return line
        assert self.process.stderr is not None
        pytest.fail(f"the window's process ended before {start!r}: {self.process.stderr.read()}")

    def until(self, matches: Callable[[NDArray[np.uint8]], object]) -> NDArray[np.uint8]:
        """The first screenshot, BGR, that matches."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            command = ["import", "-window", "root", "png:-"]
            png = subprocess.run(command, env=self.environment, capture_output=True, check=True, timeout=PATIENCE_S)
            shot = np.asarray(cv2.imdecode(np.frombuffer(png.stdout, np.uint8), cv2.IMREAD_COLOR), np.uint8)
            if matches(shot):
                return shot
        pytest.fail(f"the screen never came to match; last {shot[400, ::160].tolist()}")

    def window(self) -> str:
        """The number of the window."""
        return self.xdotool("search", "--sync", "--onlyvisible", "--name", TITLE).split()[0]

    def xdotool(self, *words: str) -> str:
        done = subprocess.run(
            ["xdotool", *words], env=self.environment, capture_output=True, check=True, text=True, timeout=PATIENCE_S
        )
        return done.stdout

    def press(self, key: str) -> None:
        self.xdotool("windowfocus", "--sync", self.window())
        self.xdotool("key", key)

    def end(self) -> tuple[int, str]:
        """The exit code of the process and what it complained about."""
        code = self.process.wait(PATIENCE_S)
        assert self.process.stderr is not None
        return code, self.process.stderr.read()


@pytest.fixture
def show(screen: str, tmp_path: Path) -> Iterator[Callable[[str], Shown]]:
    """Opens a window on the virtual screen that shows red | blue, 640x480: live, of a file, or stills."""
    opened: list[Shown] = []

    def start(kind: str) -> Shown:
        opened.append(Shown(screen, kind, tmp_path / "snapshots"))
        return opened[-1]

    yield start
    for shown in opened:
        with shown.process as process:
            if process.poll() is None:
                process.kill()
            shown._reader.join(PATIENCE_S)


def at(shot: NDArray[np.uint8], x: int, y: int) -> tuple[int, ...]:
    return tuple(shot[y, x].tolist())


def red_and_blue(shot: NDArray[np.uint8]) -> bool:
    return at(shot, 160, 400) == RED and at(shot, 480, 400) == BLUE


def test_a_live_picture_fills_the_window_and_q_ends_it(show: Callable[[str], Shown]) -> None:
    live = show("live")
    live.line("shown 40 ")
    shot = live.until(red_and_blue)
    assert at(shot, 639, 479) == BLUE
    assert at(shot, 700, 400) == at(shot, 160, 500) == BLACK
    corner = shot[:20, :60]
    assert (corner.min(axis=2) > 200).sum() > 20, "rate and age stand in the corner"
    live.press("q")
    live.line("stopped")
    assert live.end() == (0, "")


@pytest.mark.parametrize("key", ["Escape", "Q"])
def test_escape_and_a_capital_end_it_too(show: Callable[[str], Shown], key: str) -> None:
    live = show("live")
    live.line("shown 0 ")
    live.press(key)
    live.line("stopped")
    assert live.end() == (0, "")


def test_closing_the_window_ends_it(show: Callable[[str], Shown]) -> None:
    live = show("live")
    live.line("shown 0 ")
    press_close_button(live.screen, int(live.window()))
    live.line("stopped")
    assert live.end() == (0, "")


def test_s_saves_the_picture_without_its_corner_and_never_replaces_one(
    show: Callable[[str], Shown], tmp_path: Path
) -> None:
    live = show("live")
    live.line("shown 5 ")
    live.press("s")
    first = Path(live.line("snapshot: ").removeprefix("snapshot: "))
    live.press("s")
    second = Path(live.line("snapshot: ").removeprefix("snapshot: "))
    assert first != second
    assert sorted(p for p in (tmp_path / "snapshots").iterdir()) == sorted([first, second])
    assert first.name.startswith("clip.mp4-")
    image = cv2.imread(str(first))
    assert image is not None
    assert image.shape == (480, 640, 3)
    assert (image[:, :320] == RED).all()
    assert (image[:, 320:] == BLUE).all()


def test_a_snapshot_that_cannot_be_saved_is_a_warning(show: Callable[[str], Shown], tmp_path: Path) -> None:
    (tmp_path / "snapshots").write_text("in the way")
    live = show("live")
    live.line("shown 0 ")
    live.press("s")
    assert live.line("snapshot ").endswith(f"not saved in {tmp_path / 'snapshots'} (File exists)")
    live.line("shown ")


def test_the_picture_keeps_its_shape_in_any_window(show: Callable[[str], Shown]) -> None:
    live = show("live")
    live.line("shown 0 ")
    live.xdotool("windowsize", "--sync", live.window(), "1000", "300")
    # 640x480 in 1000x300 is 400x300, 300 from the left.
    wanted = {(310, 200): RED, (690, 200): BLUE, (290, 200): BLACK, (710, 200): BLACK, (490, 299): RED}
    live.until(lambda shot: all(at(shot, *point) == colour for point, colour in wanted.items()))


def test_a_file_plays_at_its_own_rate_and_loses_nothing(show: Callable[[str], Shown]) -> None:
    file = show("file")
    times = [float(file.line(f"shown {index} ").split()[2]) for index in range(20)]
    file.line("ended")
    assert times[-1] - times[0] == pytest.approx(19 / 25, abs=0.4)
    assert times[-1] - times[0] > 19 / 25 - 0.06
    assert file.end() == (0, "")


def test_a_still_waits_for_a_key(show: Callable[[str], Shown], tmp_path: Path) -> None:
    stills = show("still")
    stills.until(red_and_blue)
    stills.press("Shift_L")
    stills.press("s")
    shot = stills.until(lambda s: (s[:20, :60].min(axis=2) > 200).sum() > 20)
    assert red_and_blue(shot), "s and shift do not go on"
    stills.press("space")
    stills.line("shown 0 ")
    stills.until(lambda s: at(s, 160, 400) == GREEN)
    stills.press("Right")
    stills.line("shown 1 ")
    stills.line("ended")
    assert [p.name for p in (tmp_path / "snapshots").iterdir()] == ["clip.mp4-0.png"]
    assert stills.end() == (0, "")


def test_a_signal_reaches_python_while_a_still_waits(show: Callable[[str], Shown]) -> None:
    stills = show("still")
    stills.until(red_and_blue)
    stills.process.send_signal(signal.SIGINT)
    code, complaint = stills.end()
    assert code != 0
    assert "KeyboardInterrupt" in complaint


def test_a_file_is_paced_by_its_time_stamps() -> None:
    pace = Pace()
    assert pace.due_s(7.0, 100.0) == 100.0
    assert pace.due_s(7.5, 100.1) == 100.5
    assert pace.due_s(7.75, 100.5) == 100.75


def test_a_late_frame_is_not_made_up_for() -> None:
    pace = Pace()
    pace.due_s(0.0, 100.0)
    assert pace.due_s(0.04, 103.0) == pytest.approx(103.0 - 0.02)
    assert pace.due_s(0.08, 103.0) == pytest.approx(103.0 + 0.02)
    assert pace.due_s(0.12, 103.0) == pytest.approx(103.0 + 0.06)


def test_the_jitter_of_the_timer_does_not_add_up() -> None:
    pace = Pace()
    shown = due = pace.due_s(0.0, 100.0)
    for index in range(1, 101):
        due = pace.due_s(index * 0.04, shown)
        shown = due + 0.002
    assert due == pytest.approx(104.0)


@pytest.mark.parametrize(
    ("picture", "window"),
    [
        ((480, 640), (480, 640)),
        ((1080, 1920), (680, 1209)),
        ((1920, 1088), (680, 385)),
        ((720, 2560), (360, 1280)),
        ((48, 64), (240, 320)),
        ((1, 1), (320, 320)),
        ((1, 5000), (1, 1280)),
    ],
)
def test_a_new_window_fits_a_usual_screen(picture: tuple[int, int], window: tuple[int, int]) -> None:
    assert first_size(picture) == window


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (3, 2), (240, 321), (1000, 999), (5, 2000)])
@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (900, 1), (333, 517)])
def test_a_picture_is_fitted_into_the_middle(shape: tuple[int, int], size: tuple[int, int]) -> None:
    image = np.full((*shape, 3), 200, np.uint8)
    canvas = fitted(image, size)
    assert canvas.shape == (*size, 3)
    rows, columns = np.nonzero(canvas[..., 0])
    scale = min(size[0] / shape[0], size[1] / shape[1])
    assert np.ptp(rows) + 1 == max(1, round(shape[0] * scale))
    assert np.ptp(columns) + 1 == max(1, round(shape[1] * scale))
    assert abs(rows.min() + rows.max() + 1 - size[0]) <= 1
    assert abs(columns.min() + columns.max() + 1 - size[1]) <= 1
    assert set(np.unique(canvas)) <= {0, 200}


def test_a_thin_line_does_not_break_in_a_small_window() -> None:
    image = np.zeros((800, 800, 3), np.uint8)
    cv2.line(image, (3, 0), (790, 799), (255, 255, 255), 2)
    small = fitted(image, (100, 100))
    assert (small.max(axis=(1, 2)) > 30).all()


def test_the_fitted_picture_is_a_copy() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    fitted(image, (4, 4))[:] = 255
    assert not image.any()


def test_snapshots_are_numbered_where_one_exists(tmp_path: Path) -> None:
    image = np.full((2, 3, 3), 7, np.uint8)
    paths = [save_snapshot(image, tmp_path / "new", "a-5") for _ in range(3)]
    assert [path.name for path in paths] == ["a-5.png", "a-5-2.png", "a-5-3.png"]
    saved = cv2.imread(str(paths[2]))
    assert saved is not None
    assert (saved == image).all()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system always has a display")
@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({}, "a window needs a display, and DISPLAY names none; .*--output.*xvfb-run"),
        ({"DISPLAY": ""}, "a window needs a display, and DISPLAY names none"),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "a window needs a display that speaks X11, and only Wayland is there"),
        ({"DISPLAY": ":4711"}, "a window needs a display, and :4711 does not answer or let us in; .*--output"),
        ({"DISPLAY": "nonsense"}, "a window needs a display, and nonsense does not answer"),
    ],
)
def test_without_a_display_the_remedy_is_told(
    environment: dict[str, str], complaint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    info = SourceInfo("clip.mp4", "clip.mp4", (48, 64), Fraction(1, 25))
    with pytest.raises(StreamError, match=complaint):
        WindowSink(info, threading.Event(), tmp_path)


def test_a_library_that_the_toolkit_lacks_is_named(
    screen: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "platforms").mkdir()
    (tmp_path / "platforms" / "libqxcb.so").write_bytes(b"no library")
    monkeypatch.setenv("DISPLAY", screen)
    check_display()
    monkeypatch.setenv("QT_QPA_PLATFORM_PLUGIN_PATH", str(tmp_path))
    with pytest.raises(StreamError, match=r"display's libraries \(.*libqxcb\.so.*apt-get install"):
        check_display()


def press_close_button(screen: str, window: int) -> None:
    """Do to a window what a window manager does when its X is pressed."""

    class ClientMessage(ctypes.Structure):
        _fields_ = (
            ("type", ctypes.c_int),
            ("serial", ctypes.c_ulong),
            ("send_event", ctypes.c_int),
            ("display", ctypes.c_void_p),
            ("window", ctypes.c_ulong),
            ("message_type", ctypes.c_ulong),
            ("format", ctypes.c_int),
            ("data", ctypes.c_long * 5),
            ("rest", ctypes.c_long * 24),
        )

    x11 = ctypes.CDLL("libX11.so.6")
    x11.XOpenDisplay.restype = ctypes.c_void_p
    x11.XInternAtom.restype = ctypes.c_ulong
    display = ctypes.c_void_p(x11.XOpenDisplay(screen.encode()))
    protocols, delete = (ctypes.c_ulong(x11.XInternAtom(display, name, 0)).value
                         for name in (b"WM_PROTOCOLS", b"WM_DELETE_WINDOW"))  # fmt: skip
    client_message = 33
    message = ClientMessage(type=client_message, window=window, message_type=protocols, format=32)
    message.data[0] = delete
    x11.XSendEvent(display, ctypes.c_ulong(window), 0, ctypes.c_long(0), ctypes.byref(message))
    x11.XCloseDisplay(display)
