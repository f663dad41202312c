"""Darknet's two files: a `.cfg` that describes a network, layer by layer, and the `.weights` that hold its numbers.

Source: Redmon's darknet (`src/parser.c`), as far as YOLOv3 goes. What would change a network's output and is not built
here (YOLOv4's activations, groups, dilation) is refused rather than passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.backends.base import EngineError
from engines.nets.darknet_text import Section, read_sections

Shape = tuple[int, int, int]
"""(channels, height, width) of what a layer gives."""

INPUT_CHANNELS = 3


@dataclass(frozen=True, slots=True)
class Convolution:
    """`padding` cells of zeros on each side; the bias is the normalisation's where there is one; leaky or linear."""

    shape: Shape
    inputs: int
    size: int
    stride: int
    padding: int
    normalized: bool
    leaky: bool

    @property
    def numbers(self) -> int:
        """How many numbers a `.weights` file holds of it."""
        filters = self.shape[0]
        return filters * (self.inputs * self.size**2 + (4 if self.normalized else 1))


@dataclass(frozen=True, slots=True)
class MaxPool:
    """Maxima of windows of `size`, `stride` apart; what lies outside counts for nothing, the odd cell to the right."""

    shape: Shape
    size: int
    stride: int


@dataclass(frozen=True, slots=True)
class Upsample:
    """Every cell repeated `factor` times both ways."""

    shape: Shape
    factor: int


@dataclass(frozen=True, slots=True)
class Route:
    """The channels of the layers `sources`, one behind the other; layers are numbered from 0."""

    shape: Shape
    sources: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Shortcut:
    """What the layer before gives plus what the layer `source` gives."""

    shape: Shape
    source: int


@dataclass(frozen=True, slots=True)
class Detection:
    """A [yolo] layer: per cell of `stride` pixels and anchor (width, height) in pixels a row of 5 + `classes`."""

    shape: Shape
    anchors: tuple[tuple[float, float], ...]
    classes: int
    stride: int


Layer = Convolution | MaxPool | Upsample | Route | Shortcut | Detection


@dataclass(frozen=True, slots=True)
class Network:
    """What a `.cfg` describes; `size` is the (height, width) of its input."""

    size: tuple[int, int]
    layers: tuple[Layer, ...]


def read_cfg(path: Path) -> Network:
    """The detector in a `.cfg`. Raises OSError where it cannot be read, EngineError with the line that is wrong."""
    sections = read_sections(path)
    if not sections or sections[0].name not in ("net", "network"):
        raise EngineError(f"{path}: must begin with [net], got {f'[{sections[0].name}]' if sections else 'nothing'}")
    net = sections[0]
    net.must_be("channels", INPUT_CHANNELS)
    picture = INPUT_CHANNELS, net.integer("height", least=1), net.integer("width", least=1)
    layers: list[Layer] = []
    for section in sections[1:]:
        if section.name not in _READERS:
            raise section.error(f"is an unknown layer, wanted one of {', '.join(_READERS)}")
        layers.append(_READERS[section.name](section, picture, layers))
    if not any(isinstance(layer, Detection) for layer in layers):
        raise EngineError(f"{path}: has no [yolo] layer, so it is no detector; name the .cfg of a YOLOv3")
    return Network(picture[1:], tuple(layers))


def read_weights(path: Path, network: Network) -> NDArray[np.float32]:
    """The numbers of a `.weights` file, in the order of the convolutions: for each the biases, then (where it is
    normalised) scales, means and variances, then the weights (out, in, k, k).

    Raises OSError where it cannot be read, EngineError where it does not hold exactly what `network` needs.
    """
    needed = sum(layer.numbers for layer in network.layers if isinstance(layer, Convolution))
    with path.open("rb") as file:
        version = np.fromfile(file, "<i4", 3)
        if len(version) < 3 or not ((version >= 0) & (version < 1000)).all():
            raise EngineError(f"{path}: does not begin as darknet weights do; name a .weights file")
        # Then the pictures seen in training: as size_t since version 0.2.
        file.seek(8 if 10 * version[0] + version[1] >= 2 else 4, 1)
        got = max(path.stat().st_size - file.tell(), 0) / 4
        if got != needed:
            wrong = "cut short" if got < needed else "not of this .cfg"
            raise EngineError(f"{path}: holds {got:.0f} numbers, the .cfg needs {needed}: {wrong}; fetch it again")
        return np.fromfile(file, "<f4", needed).astype(np.float32, copy=False)


def _convolution(section: Section, picture: Shape, before: Sequence[Layer]) -> Layer:
    channels, *given = _given(picture, before)
    for key, neutral in (("groups", 1), ("dilation", 1), ("binary", 0), ("xnor", 0), ("antialiasing", 0)):
        section.must_be(key, neutral)
    leaky = section.choice("activation", ("leaky", "linear"), "logistic") == "leaky"
    size, stride = section.integer("size", 1, least=1), section.integer("stride", 1, least=1)
    padding = size // 2 if section.integer("pad", 0) else section.integer("padding", 0)
    height, width = ((side + 2 * padding - size) // stride + 1 for side in given)
    if min(height, width) < 1:
        raise section.error(f"size must fit into the {given[0]}x{given[1]} cells it is given, got {size}")
    shape = section.integer("filters", 1, least=1), height, width
    return Convolution(shape, channels, size, stride, padding, bool(section.integer("batch_normalize", 0)), leaky)


def _max_pool(section: Section, picture: Shape, before: Sequence[Layer]) -> Layer:
    channels, height, width = _given(picture, before)
    stride = section.integer("stride", 1, least=1)
    size = section.integer("size", stride, least=stride)
    for key, neutral in (("padding", size - 1), ("maxpool_depth", 0), ("antialiasing", 0)):
        section.must_be(key, neutral)
    if height % stride or width % stride:
        raise section.error(f"stride must divide the {height}x{width} cells it is given, got {stride}")
    return MaxPool((channels, height // stride, width // stride), size, stride)


def _upsample(section: Section, picture: Shape, before: Sequence[Layer]) -> Layer:
    channels, height, width = _given(picture, before)
    section.must_be("scale", 1)
    factor = section.integer("stride", 2, least=1)
    return Upsample((channels, height * factor, width * factor), factor)


def _route(section: Section, _picture: Shape, before: Sequence[Layer]) -> Layer:
    section.must_be("groups", 1)
    sources = _sources(section, "layers", before)
    shapes = [before[source].shape for source in sources]
    if len({shape[1:] for shape in shapes}) != 1:
        raise section.error(f"layers must be of one height and width, got {shapes}")
    return Route((sum(shape[0] for shape in shapes), *shapes[0][1:]), sources)


def _shortcut(section: Section, picture: Shape, before: Sequence[Layer]) -> Layer:
    section.choice("activation", ("linear",), "linear")
    section.choice("weights_type", ("none",), "none")
    sources, given = _sources(section, "from", before), _given(picture, before)
    if len(sources) != 1 or before[sources[0]].shape != given:
        raise section.error(f"from must be one layer of the shape {given}, got {[before[s].shape for s in sources]}")
    return Shortcut(given, sources[0])


def _detection(section: Section, picture: Shape, before: Sequence[Layer]) -> Layer:
    section.must_be("scale_x_y", 1)
    section.must_be("new_coords", 0)
    shape = channels, height, width = _given(picture, before)
    sides = section.numbers("anchors", float)
    anchors = list(zip(sides[::2], sides[1::2], strict=False))
    mask = section.numbers("mask", int, range(len(anchors)))
    classes = section.integer("classes", 20, least=1)
    if len(sides) % 2 or not mask or not all(0 <= number < len(anchors) for number in mask):
        raise section.error(f"mask must name pairs of anchors, got {mask} of {len(sides)} numbers")
    if channels != len(mask) * (5 + classes):
        wanted = f"{len(mask)} anchors x (5 + {classes} classes)"
        raise section.error(f"must follow {len(mask) * (5 + classes)} filters, {wanted}, got {channels}")
    stride = picture[1] // height
    if (height * stride, width * stride) != picture[1:]:
        raise section.error(
            f"[net] must be of a size that {height}x{width} cells divide, got {picture[1]}x{picture[2]}"
        )
    return Detection(shape, tuple(anchors[number] for number in mask), classes, stride)


_READERS: dict[str, Callable[[Section, Shape, Sequence[Layer]], Layer]] = {
    "convolutional": _convolution,
    "maxpool": _max_pool,
    "upsample": _upsample,
    "route": _route,
    "shortcut": _shortcut,
    "yolo": _detection,
}
"""Each reads its section, given the shape of the picture and the layers before."""


def _given(picture: Shape, before: Sequence[Layer]) -> Shape:
    """The shape a layer is given."""
    return before[-1].shape if before else picture


def _sources(section: Section, key: str, before: Sequence[Layer]) -> tuple[int, ...]:
    """The layers that `key` names: below 0 counted back from this one."""
    numbers = section.numbers(key, int)
    sources = tuple(number + len(before) if number < 0 else number for number in numbers)
    if not sources or not all(0 <= source < len(before) for source in sources):
        raise section.error(f"{key} must name layers before this, number {len(before)}, got {list(numbers)}")
    return sources
