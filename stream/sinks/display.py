"""Whether a window can be opened here: asked before, since Qt ends the whole process where it cannot."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

PROBE = "import cv2; cv2.namedWindow('posestream')"
PROBE_TIMEOUT_S = 20.0
"""The first import of OpenCV on a cold disk takes seconds."""


def display_fault(environ: Mapping[str, str] = os.environ, platform: str = sys.platform) -> str | None:
    """Why no window can be opened, in a few words; None where one can.

    On Linux another process tries it, which takes about half a second.
    """
    if not platform.startswith("linux"):
        return None
    if not environ.get("DISPLAY"):
        # The Qt inside opencv-python speaks X11 only; Wayland desktops have it too, and set DISPLAY then.
        return "there is none (DISPLAY is not set)"
    try:
        probe = subprocess.run(
            [sys.executable, "-c", PROBE],
            env=x11_only(environ),
            capture_output=True,
            text=True,
            timeout=PROBE_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{environ['DISPLAY']} does not answer"
    if probe.returncode == 0:
        return None
    lines = [line.strip() for line in probe.stderr.splitlines() if line.strip()]
    return f"{environ['DISPLAY']} cannot be used ({lines[0] if lines else f'exit {probe.returncode}'})"


def x11_only(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment in which the Qt of opencv-python starts: it has no other platform than X11's."""
    return {**environ, "QT_QPA_PLATFORM": "xcb"}
