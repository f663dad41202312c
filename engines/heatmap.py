"""Heat maps to key points.

Pixel convention, that of the reference code (HRNet, lib/core/inference.py): whole numbers are the centres of heat-map
cells, and cell (x, y) of a (h, w) heat map stands for pixel (x * width / w, y * height / h) of the (height, width)
crop, without half a pixel between them, because the networks were trained on targets drawn that way.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Decode = Literal["argmax", "quarter", "dark"]
Floats = NDArray[np.float32]

DARK_KERNEL = 11
"""Cells that the blur before DARK spans: 11 for targets of sigma 2 (heat maps up to 64 by 48), 17 for sigma 3."""

REFERENCE_SHIFT = 1.0
"""Cells by which the reference moves mirrored heat maps (SHIFT_HEATMAP)."""
EXACT_SHIFT = 0.75
"""Cells by which they lie too far left where a cell is four pixels: (4 - 1) / 4."""

_SHIFT = np.float32(0.25)
_REACH = 2  # cells to each side of the maximum that DARK's second derivatives look at
_FLOOR = 1e-10  # of the logarithm


def decode_heatmaps(
    heatmaps: Floats, decode: Decode = "quarter", dark_kernel: int = DARK_KERNEL
) -> tuple[Floats, Floats]:
    """The key points (N, K, 2) xy in heat-map cells and their scores (N, K) of heat maps (N, K, h, w), all float32.

    The score is the highest value. A map without a value above 0 gives (0, 0). `argmax` is the first highest cell,
    `quarter` adds the reference's quarter shift, `dark` the refinement of DARK (arXiv 1910.06278).
    """
    count, joints, height, width = heatmaps.shape
    maps = heatmaps.reshape(count * joints, height, width)
    xs, ys, scores = _highest_cells(maps)
    points = np.stack([xs, ys], axis=-1).astype(np.float32)
    if decode == "quarter":
        points += _quarter_shifts(maps, xs, ys)
    elif decode == "dark":
        points += _dark_shifts(maps, xs, ys, dark_kernel)
    return points.reshape(count, joints, 2), scores.reshape(count, joints)


def cells_to_crop(points: Floats, heatmap_size: tuple[int, int], crop_size: tuple[int, int]) -> Floats:
    """Points (N, K, 2) xy in heat-map cells, as pixels of the crop; sizes are (height, width)."""
    ratio = np.array([crop_size[1] / heatmap_size[1], crop_size[0] / heatmap_size[0]], np.float32)
    return points * ratio


def flip_back(heatmaps: Floats, pairs: tuple[tuple[int, int], ...], shift: float = REFERENCE_SHIFT) -> Floats:
    """The heat maps (N, K, h, w) of mirrored crops, as those of the crops: mirrored, left and right joints swapped.

    `shift` moves them right by so many cells, 0 to 1, between two of them linearly; the first column stays as it is.
    Pixel x of a crop is pixel width - 1 - x of its mirror, so that cells of four pixels come back EXACT_SHIFT too far
    left; the reference moves them by REFERENCE_SHIFT. Returns a new array.
    """
    back = np.ascontiguousarray(heatmaps[:, mirrored_order(heatmaps.shape[1], pairs), :, ::-1])
    if shift:
        back[..., 1:] = np.float32(1 - shift) * back[..., 1:] + np.float32(shift) * back[..., :-1]
    return back


def mirrored_order(joints: int, pairs: tuple[tuple[int, int], ...]) -> NDArray[np.intp]:
    """For each joint (K,) the joint that stands in its place in a mirror."""
    order = np.arange(joints)
    for left, right in pairs:
        order[[left, right]] = right, left
    return order


def _highest_cells(maps: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """Column, row and value, each (M,), of the highest cell of maps (M, h, w); cell (0, 0) where none is above 0."""
    count, height, width = maps.shape
    flat = maps.reshape(count, height * width)
    cells = flat.argmax(axis=1)
    values = np.take_along_axis(flat, cells[:, None], axis=1)[:, 0]
    rows, columns = np.divmod(np.where(values > 0, cells, 0), width)
    return columns, rows, values


def _quarter_shifts(maps: Floats, xs: NDArray[np.intp], ys: NDArray[np.intp]) -> Floats:
    """A quarter of a cell toward the higher neighbour in each direction, (M, 2); nothing between equal neighbours.

    The reference shifts only where both 1 < x < w - 1 and 1 < y < h - 1: not from cell 1, although it has neighbours.
    """
    _, height, width = maps.shape
    inside = np.flatnonzero((xs > 1) & (xs < width - 1) & (ys > 1) & (ys < height - 1))
    x, y = xs[inside], ys[inside]
    shifts = np.zeros((len(maps), 2), np.float32)
    shifts[inside, 0] = np.sign(maps[inside, y, x + 1] - maps[inside, y, x - 1])
    shifts[inside, 1] = np.sign(maps[inside, y + 1, x] - maps[inside, y - 1, x])
    return shifts * _SHIFT


def _dark_shifts(maps: Floats, xs: NDArray[np.intp], ys: NDArray[np.intp], kernel: int) -> Floats:
    """The step (M, 2) from the highest cell to the top of the Gaussian through its blurred neighbourhood.

    One Newton step on the logarithm, as in the authors' code: only where 1 < x < w - 2 and 1 < y < h - 2. A step longer
    than the neighbourhood leads to no maximum and is not taken. The authors also scale the blurred map to its old
    height, which the logarithm turns into a constant: left out.
    """
    _, height, width = maps.shape
    inside = np.flatnonzero((xs > 1) & (xs < width - 2) & (ys > 1) & (ys < height - 2))
    logs = np.log(np.maximum(_blurred_patches(maps[inside], xs[inside], ys[inside], kernel), _FLOOR))

    def at(dx: int, dy: int) -> NDArray[np.float64]:
        return logs[:, _REACH + dy, _REACH + dx]

    slope_x, slope_y = (at(1, 0) - at(-1, 0)) / 2, (at(0, 1) - at(0, -1)) / 2
    bend_xx = (at(2, 0) - 2 * at(0, 0) + at(-2, 0)) / 4
    bend_yy = (at(0, 2) - 2 * at(0, 0) + at(0, -2)) / 4
    bend_xy = (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1)) / 4
    determinant = bend_xx * bend_yy - bend_xy**2
    safe = np.where(determinant == 0, np.inf, determinant)  # no curvature: no step
    newton = [bend_xy * slope_y - bend_yy * slope_x, bend_xy * slope_x - bend_xx * slope_y]
    steps = np.stack(newton, axis=-1) / safe[:, None]
    steps[np.abs(steps).max(axis=-1) > _REACH] = 0

    shifts = np.zeros((len(maps), 2), np.float32)
    shifts[inside] = steps
    return shifts


def _blurred_patches(maps: Floats, xs: NDArray[np.intp], ys: NDArray[np.intp], kernel: int) -> NDArray[np.float64]:
    """The neighbourhoods (M, 5, 5) of the cells (xs, ys) in the Gaussian blur of (M, h, w) maps, which are 0 outside.

    Only these cells are computed: a patch wide enough for the kernel, times a banded matrix from both sides.
    """
    reach = _REACH + kernel // 2
    padded = np.pad(maps, ((0, 0), (reach, reach), (reach, reach)))
    span = np.arange(2 * reach + 1)  # of the padded map: its cell x + reach is cell x
    rows, columns = (ys[:, None] + span)[:, :, None], (xs[:, None] + span)[:, None, :]
    patches = padded[np.arange(len(maps))[:, None, None], rows, columns].astype(np.float64)  # (M, 2 reach + 1, same)
    weights = cv2.getGaussianKernel(kernel, 0)[:, 0]  # 0: OpenCV derives sigma from the kernel, as for the authors
    band = np.zeros((2 * _REACH + 1, len(span)))
    for row in range(len(band)):
        band[row, row : row + kernel] = weights
    blurred: NDArray[np.float64] = band @ patches @ band.T
    return blurred
