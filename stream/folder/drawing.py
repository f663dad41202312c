"""The drawings of the folder workflow, whose rules its users know: red boxes, red joints and limbs, coloured numbers.

Sizes are pixels and do not follow those of the picture: they are flags.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.results import Image

Floats = NDArray[np.float32]

BLUE, GREEN, RED = (255, 0, 0), (0, 255, 0), (0, 0, 255)
LABELS = (BLUE, GREEN, RED)
"""The colours of the joints' numbers, in turn."""
BOX_LINE = 5
"""Pixels."""
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_THICKEST = 32767
"""cv2 draws no thicker line."""
_FAR = 1 << 15
"""Joints farther off than this many pixels are pulled in: cv2 counts in 32 bits."""
_HEAT = 0.7
"""How much of a tile of the grid is heat map, the rest being picture (HRNet, lib/utils/vis.py)."""


@dataclass(frozen=True, slots=True)
class PoseStyle:
    """What is drawn of a pose and how large, in pixels; a `circle_thickness` of -1 fills the circles."""

    circle: bool = True
    label: bool = True
    line: bool = True
    circle_radius: int = 20
    circle_thickness: int = 10
    label_font_scale: float = 3.0
    label_thickness: int = 8
    line_thickness: int = 5

    def __post_init__(self) -> None:
        if self.circle_radius < 0:
            raise ValueError(f"circle_radius must be 0 or more, got {self.circle_radius}")
        if not 0 < self.label_font_scale < float("inf"):
            raise ValueError(f"label_font_scale must be above 0, got {self.label_font_scale}")
        for name in ("circle_thickness", "label_thickness", "line_thickness"):
            value = getattr(self, name)
            filled = name == "circle_thickness" and value == -1
            if not 1 <= value <= _THICKEST and not filled:
                raise ValueError(f"{name} must be 1 to {_THICKEST}, got {value}")


def draw_boxes(image: Image, boxes: Floats) -> None:
    """Draw the outlines of boxes (M, 4) xyxy on `image`, in place."""
    for x1, y1, x2, y2 in boxes.astype(int).tolist():
        cv2.rectangle(image, (x1, y1), (x2, y2), RED, BOX_LINE)


def draw_poses(image: Image, keypoints: Floats, limbs: Sequence[tuple[int, int]], style: PoseStyle) -> None:
    """Draw all joints of people (M, K, 2) xy on `image`, in place: lines, circles over them, numbers over those."""
    people = np.clip(np.nan_to_num(keypoints), -_FAR, _FAR).astype(int).tolist()
    for joints in people:
        if style.line:
            for one, other in limbs:
                cv2.line(image, joints[one], joints[other], RED, style.line_thickness)
        if style.circle:
            for joint in joints:
                cv2.circle(image, joint, style.circle_radius, RED, style.circle_thickness)
        if style.label:
            for number, joint in enumerate(joints):
                colour = LABELS[number % len(LABELS)]
                cv2.putText(image, str(number), joint, _FONT, style.label_font_scale, colour, style.label_thickness)


def heatmap_grid(crop: Image, heatmaps: Floats, cells: Floats) -> Image:
    """One row of tiles (h, w): the crop, then for each joint its heat map over the crop, with the joint marked.

    `crop` is what the network saw, `heatmaps` (K, h, w), `cells` (K, 2) xy the joints in heat-map cells. Values are
    shown from 0, blue, to 1, red.
    """
    joints, height, width = heatmaps.shape
    small = cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA)
    values = np.clip(heatmaps * 255, 0, 255).astype(np.uint8).reshape(joints * height, width)
    coloured = cv2.applyColorMap(values, cv2.COLORMAP_JET).reshape(joints, height, width, 3)
    grid = np.empty((height, (joints + 1) * width, 3), np.uint8)
    grid[:, :width] = small
    for joint, (x, y) in enumerate(np.rint(cells).astype(int).tolist()):
        tile = cv2.addWeighted(coloured[joint], _HEAT, small, 1 - _HEAT, 0)
        cv2.circle(tile, (x, y), 1, RED, 1)
        cv2.circle(grid[:, :width], (x, y), 1, RED, 1)
        grid[:, (joint + 1) * width : (joint + 2) * width] = tile
    return grid
