"""Whether a window can be opened here: asked before, since Qt ends the whole process where it cannot."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

PROBE = (
    "import sys, cv2; cv2.namedWindow('probe'); cv2.destroyAllWindows(); print('open', flush=True); sys.stdin.read()"
)
PROBE_TIMEOUT_S = 20.0
"""The first import of OpenCV on a cold disk takes seconds."""
REINSTALL = "pip uninstall opencv-python-headless, then pip install --force-reinstall opencv-python"


def display_fault(environ: Mapping[str, str] = os.environ, platform: str = sys.platform) -> str | None:
    """Why no window can be opened, in a few words; None where one can."""
    with probed_display(environ, platform) as fault:
        return fault


@contextmanager
def probed_display(environ: Mapping[str, str] = os.environ, platform: str = sys.platform) -> Iterator[str | None]:
    """Why no window can be opened, in a few words, or None; on Linux another process tries it, for half a second.

    That process stays connected until the end of the `with`, where the caller opens its window: an X server starts
    anew when its last client leaves, as under xvfb-run, and turns away who comes meanwhile.
    """
    fault = _library_fault()
    if fault is not None or not platform.startswith("linux"):
        yield fault
        return
    if not environ.get("DISPLAY"):
        # The Qt inside opencv-python speaks X11 only; Wayland desktops have it too, and set DISPLAY then.
        yield "there is none (DISPLAY is not set)"
        return
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", PROBE]
    with subprocess.Popen(command, env=x11_only(environ), stdin=pipe, stdout=pipe, stderr=pipe, text=True) as probe:
        try:
            yield _answer(probe, environ["DISPLAY"])
        finally:
            probe.kill()


def x11_only(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment in which the Qt of opencv-python starts: it has no other platform than X11's."""
    return {**environ, "QT_QPA_PLATFORM": "xcb"}


def _library_fault() -> str | None:
    try:
        import cv2  # here, for `doctor` to tell where it is missing
    except ImportError as error:
        return f"OpenCV cannot be imported ({error})"
    return None if cv2.currentUIFramework() else f"this OpenCV has no windows ({REINSTALL})"


def _answer(probe: subprocess.Popen[str], display: str) -> str | None:
    """Why the probe could not open a window; None where it could, and is connected still."""
    if probe.stdout is None or not select.select([probe.stdout], [], [], PROBE_TIMEOUT_S)[0]:
        return f"{display} does not answer"
    if probe.stdout.readline() == "open\n":
        return None
    _, said = probe.communicate()
    lines = [line.strip() for line in said.splitlines() if line.strip()] or [f"exit {probe.returncode}"]
    # Qt says first what is wrong, Python last.
    reason = lines[-1] if lines[0].startswith("Traceback") else lines[0]
    return f"{display} cannot be used ({reason})"
