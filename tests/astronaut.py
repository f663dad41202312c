"""A clip of one real person, made where the tests run: a camera pans and zooms over scikit-image's photograph of her.

The way of the camera is known, so that it is known to a fraction of a pixel where she is in every frame. The models
that come with the program find her.
"""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.data import astronaut

from engines.catalog import EMBEDDED
from engines.results import Image

DETECTOR = EMBEDDED / "posestream-detect.onnx"
POSE = EMBEDDED / "posestream-pose.onnx"
"""The models that come with the program, their cards beside them."""
FRAMES = 48
RATE = 24
SIZE = (288, 320)
"""Height and width of the clip."""
JOINTS = ("nose", "left_eye", "right_eye")
"""Hers that can be pointed at, her suit hides the others; left is her left, which is to the right in the picture."""
POINTS = np.array([[223.5, 124.0], [246.5, 103.5], [203.0, 101.0]], np.float32)
"""Where they are in the photograph of 512x512, marked by eye."""
BOX = np.array([14.0, 16.0, 366.0, 512.0], np.float32)
"""She, without her helmet, from the hair to the lower edge of the photograph."""


def photograph() -> Image:
    """The photograph, 512x512."""
    return np.ascontiguousarray(astronaut()[:, :, ::-1])


def camera(index: int) -> NDArray[np.float64]:
    """From the photograph to frame `index`, (2, 3): the window goes round once, nearer and back."""
    phase = 2 * math.pi * index / FRAMES
    scale = 0.74 - 0.09 * math.cos(phase)
    left = 248 + 24 * math.sin(phase) - SIZE[1] / 2 / scale
    top = 6 - 6 * math.cos(phase)
    return np.array([[scale, 0, -left * scale], [0, scale, -top * scale]])


def view(index: int) -> Image:
    """Frame `index` of the clip."""
    height, width = SIZE
    seen = cv2.warpAffine(photograph(), camera(index), (width, height), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(seen, np.uint8)


def seen_points(index: int) -> NDArray[np.float32]:
    """Where JOINTS are in frame `index`, (3, 2)."""
    return _through(camera(index), POINTS)


def seen_box(index: int) -> NDArray[np.float32]:
    """Where she is in frame `index`, xyxy, as far as she is within it."""
    height, width = SIZE
    corners = _through(camera(index), BOX.reshape(2, 2))
    return np.clip(corners, 0, [width, height]).astype(np.float32).reshape(4)


def write_clip(path: Path, frames: int = FRAMES) -> None:
    """Encode the first frames of the clip, in H.264."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": "veryfast", "crf": "16"})
        stream.height, stream.width = SIZE
        stream.pix_fmt = "yuv420p"
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(view(index), format="bgr24")
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_views(folder: Path, count: int = 4) -> list[Path]:
    """Pictures from all over the clip, as JPEG, named view-00 and on."""
    paths = [folder / f"view-{i:02}.jpg" for i in range(count)]
    for i, path in enumerate(paths):
        cv2.imwrite(str(path), view(FRAMES * i // count), [cv2.IMWRITE_JPEG_QUALITY, 95])
    return paths


def _through(transform: NDArray[np.float64], points: NDArray[np.float32]) -> NDArray[np.float32]:
    moved = points @ transform[:, :2].T + transform[:, 2]
    return np.asarray(moved, np.float32)
