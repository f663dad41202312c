"""A window on the screen: the picture, how fast it goes and how old it is; keys end, save and hold it.

OpenCV's windows live on the main thread, and so does this sink.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from engines.results import Image
from stream.frame import Frame
from stream.pipeline import Result
from stream.render import WHITE, draw_text
from stream.sinks.base import Picture
from stream.sinks.display import probed_display, x11_only
from stream.sinks.screen_time import Pace, Rate
from stream.sinks.snapshot import save_snapshot
from stream.sinks.wall import PAPER, fit, place, tiles
from stream.source import SourceInfo, StreamError

LARGEST_AT_FIRST = (720, 1280)
"""Height and width of a new window at most; it may be drawn larger by its edge."""
WALL = LARGEST_AT_FIRST
"""Height and width of a new window for several sources, or for one that is not known yet."""
STILL_S = 2.0
"""How long a still picture is shown where no key is pressed."""
NOTICE_S = 2.0
"""How long a message stays in the corner."""
SLICE_MS = 50
"""A signal is noticed after so long at most: no Python runs while OpenCV waits for a key."""

PLAYING, ENDED = "playing", "ended"
"""States of a source whose picture is shown without a word."""
REFRESH_S = 0.04
"""Several sources are drawn together, no more often than this."""

ESCAPE = 27
_FLAGS = cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL


class Watched(Protocol):
    """What the window knows of a source: `state` is playing where pictures come, else what is told instead of one."""

    @property
    def name(self) -> str: ...

    @property
    def state(self) -> str: ...

    @property
    def is_known(self) -> bool: ...

    @property
    def info(self) -> SourceInfo: ...


class WindowSink:
    """Shows every picture. q, ESC and the window's X set `stopped`; s saves a snapshot; space holds and goes on.

    What is live is shown at once, a file no faster than it was taken, a still picture for `STILL_S` or until a key is
    pressed. Several sources stand side by side, each as it comes: a click or 1 to 9 shows one alone, another click or 0
    all. `refresh` is to be called often, for keys and for what is said of sources that are lost. Raises StreamError
    where there is no display. For the main thread only.
    """

    needs_picture = True

    def __init__(self, sources: Sequence[Watched], stopped: threading.Event, snapshots: Path) -> None:
        self._sources = sources
        self._stopped = stopped
        self._snapshots = snapshots
        self._title = f"posestream {sources[0].name if len(sources) == 1 else f'{len(sources)} sources'}"
        self._pace: Pace | None = None
        self._rate = Rate()
        self._fps = 0.0
        self._held = False
        self._notice = ("", 0.0)
        self._on_screen: dict[str, tuple[Frame, Picture]] = {}
        self._alone: str | None = sources[0].name if len(sources) == 1 else None
        self._shown_s = 0.0
        self._unsaved: list[str] = []
        self._open()

    @property
    def warnings(self) -> tuple[str, ...]:
        """The snapshots that could not be saved."""
        return tuple(self._unsaved)

    def write(self, result: Result, picture: Picture | None) -> None:
        """Show one picture when its time has come; of several sources at the next `refresh`."""
        if picture is None:
            raise ValueError("a window shows pictures, got None")
        source = self._source_of(result.frame)
        is_first = not self._on_screen
        self._on_screen[source.name] = (result.frame, picture)
        if len(self._sources) > 1:
            return
        if is_first:
            self._begin(source.info)
        if self._pace is not None:
            self._wait(self._pace.due(result.frame.time, time.monotonic()))
        if self._is_gone() or self._stopped.is_set():
            self._stopped.set()
            return
        self._fps = self._rate.count(time.monotonic())
        self._show()
        self._press(cv2.pollKey())
        if result.frame.still or self._held:
            self._wait(time.monotonic() + (STILL_S if result.frame.still else 0), any_key_ends=True)

    def refresh(self) -> None:
        """Attend to the keys, and show what has come or is to be said."""
        if self._is_gone():
            self._stopped.set()
        if self._stopped.is_set():
            return
        is_due = time.monotonic() - self._shown_s >= REFRESH_S
        if is_due and (len(self._sources) > 1 or self._sources[0].state != PLAYING):
            self._show()
        self._press(cv2.pollKey())
        if self._held and len(self._sources) > 1:
            self._wait(0.0)

    def close(self, *, failed: bool = False) -> None:  # noqa: ARG002 - nothing of a window stays
        """Close the window."""
        if not self._is_gone():
            cv2.destroyWindow(self._title)
            cv2.pollKey()  # Qt closes it only when it gets to see its events.

    def _source_of(self, frame: Frame) -> Watched:
        """The source of a frame; a still picture of one among several is called SOURCE/PICTURE."""
        if len(self._sources) == 1:
            return self._sources[0]
        name = frame.source_id.partition("/")[0]
        return next(source for source in self._sources if source.name == name)

    def _open(self) -> None:
        with probed_display() as fault:
            if fault is not None:
                raise StreamError(f"--show needs a display: {fault}; use --output, or run under xvfb-run")
            if sys.platform.startswith("linux"):
                os.environ.update(x11_only(os.environ))
            cv2.namedWindow(self._title, _FLAGS)
            is_known = len(self._sources) == 1 and self._sources[0].is_known
            self._resize(self._sources[0].info.size if is_known else WALL)
        if len(self._sources) > 1:
            cv2.setMouseCallback(self._title, self._click)
        if not is_known:
            self._show()

    def _begin(self, info: SourceInfo) -> None:
        """Prepare for the first picture of the only source, which is known now."""
        self._pace = None if info.live or info.still else Pace()
        self._resize(info.size)

    def _resize(self, size: tuple[int, int]) -> None:
        scale = min(1.0, *(most / side for most, side in zip(LARGEST_AT_FIRST, size, strict=True)))
        height, width = (max(1, round(side * scale)) for side in size)
        cv2.resizeWindow(self._title, width, height)

    def _is_gone(self) -> bool:
        """Whether the window was closed by its X."""
        try:
            return bool(cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1)
        except cv2.error:
            return True

    def _wait(self, until_s: float, *, any_key_ends: bool = False) -> None:
        """Attend to keys until that time, or for as long as the picture is held."""
        while not self._stopped.is_set() and (self._held or time.monotonic() < until_s):
            rest_ms = int((until_s - time.monotonic()) * 1e3)
            pressed = self._press(cv2.waitKey(min(max(rest_ms, 1), SLICE_MS)))
            if pressed and any_key_ends and not self._held:
                return
            if self._is_gone():
                self._stopped.set()

    def _press(self, key: int) -> bool:
        """Do what a key asks for; True where one was pressed that has no meaning of its own."""
        # Small letters only: on some systems OpenCV gives the arrow keys the codes of capital ones.
        if key in (ord("q"), ESCAPE):
            self._stopped.set()
        elif key == ord("s"):
            self._save()
        elif key == ord(" "):
            self._held = not self._held
            if self._pace is not None:
                self._pace.restart()
            self._say("held; space goes on" if self._held else "")
        elif len(self._sources) > 1 and ord("0") <= key < ord("1") + min(9, len(self._sources)):
            self._alone = self._sources[key - ord("1")].name if key > ord("0") else None
            self._show()
        else:
            return key >= 0
        return False

    def _click(self, event: int, x: int, y: int, _flags: int, _data: object) -> None:
        """Show the source that was clicked alone, or all again."""
        if event != cv2.EVENT_LBUTTONUP:
            return
        hit = [i for i, rect in enumerate(tiles(len(self._sources), self._wall_size())) if rect.holds(x, y)]
        self._alone = self._sources[hit[0]].name if hit and self._alone is None else None

    def _save(self) -> None:
        """Write each picture on the screen, without its corner, to a file that was not there before."""
        for name, (frame, picture) in self._on_screen.items():
            if self._alone not in (None, name):
                continue
            try:
                self._say(f"saved {save_snapshot(picture.image, frame, self._snapshots)}")
            except OSError as error:
                fault = f"snapshot not saved in {self._snapshots}: {error.strerror}"
                self._unsaved.append(fault)
                self._say(fault)

    def _say(self, text: str) -> None:
        self._notice = (text, time.monotonic() + NOTICE_S)
        self._show()

    def _show(self) -> None:
        if self._is_gone():
            return
        self._shown_s = time.monotonic()
        text, until_s = self._notice
        is_noted = bool(text) and (self._held or time.monotonic() < until_s)
        is_single = len(self._sources) == 1 and bool(self._on_screen)
        view = self._single(self._sources[0], text if is_noted else "") if is_single else self._wall()
        if is_noted and not is_single:
            _write_corner(view, text)
        cv2.imshow(self._title, view)

    def _single(self, source: Watched, notice: str) -> Image:
        """The picture of the only source, not larger than the window, with its corner."""
        frame, picture = self._on_screen[source.name]
        _, _, width, height = cv2.getWindowImageRect(self._title)
        view = fit(picture.image, (height, width))
        if notice:
            _write_corner(view, notice)
        elif not frame.still:
            playing = f"{self._fps:.1f} fps{f'  {_age_text(frame)}' if source.info.live else ''}"
            _write_corner(view, playing if source.state in (PLAYING, ENDED) else source.state)
        return view

    def _wall(self) -> Image:
        """The sources side by side, or the one that is shown alone."""
        view = np.zeros((*self._wall_size(), 3), np.uint8)
        shown = [source for source in self._sources if self._alone in (None, source.name)]
        for source, rect in zip(shown, tiles(len(shown), self._wall_size()), strict=True):
            frame, picture = self._on_screen.get(source.name, (None, None))
            is_live = frame is not None and not frame.still and source.info.live and source.state == PLAYING
            label = f"{source.name}  {_age_text(frame)}" if frame is not None and is_live else source.name
            notice = "" if source.state == PLAYING else source.state
            place(view, rect, None if picture is None else picture.image, label, notice)
        return view

    def _wall_size(self) -> tuple[int, int]:
        """Height and width of the wall: as wide as the window, in the shape that the window had at first."""
        _, _, width, _ = cv2.getWindowImageRect(self._title)
        width = max(width, WALL[1] // 2)
        return round(width * WALL[0] / WALL[1]), width


def _write_corner(view: Image, text: str) -> None:
    capital = max(9.0, min(view.shape[:2]) / 45)
    draw_text(view, text, (0, 0), capital, WHITE, PAPER)


def _age_text(frame: Frame) -> str:
    return f"{(time.monotonic_ns() - frame.captured_ns) / 1e6:.0f} ms"
