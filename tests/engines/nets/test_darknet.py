"""Darknet's .cfg as layers with their shapes, and what is wrong in one by file and line; its .weights as numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engines.backends.base import EngineError
from engines.nets.darknet import (
    Convolution,
    Detection,
    MaxPool,
    Network,
    Route,
    Shortcut,
    Upsample,
    read_cfg,
    read_weights,
)

NET = "[net]\nwidth=96\nheight=64\nchannels=3\n"
CONVOLUTION = "[convolutional]\nbatch_normalize=1\nfilters=4\nsize=3\nstride=2\npad=1\nactivation=leaky\n"
LINEAR = "[convolutional]\nfilters=12\nactivation=linear\n"
YOLO = "[yolo]\nmask = 0,2\nanchors = 10,14,  23,27,  37,58\nclasses=1\nnum=3\njitter=.3\n"
"""Two anchors of six columns: 12 filters before it."""


def write(folder: Path, text: str) -> Path:
    path = folder / "net.cfg"
    path.write_text(text)
    return path


def test_every_layer_is_read_with_its_shape(tmp_path: Path) -> None:
    text = f"""
        # a network of all layers
        {NET}
        ; 32 x 48 cells from here
        {CONVOLUTION}
        [maxpool]
        size=2
        stride=2
        [convolutional]
        filters=4
        size=1
        stride=1
        activation=linear
        [shortcut]
        from=-2
        activation=linear
        [upsample]
        stride=2
        [route]
        layers = -1, 0
        {LINEAR}
        {YOLO}
    """
    assert read_cfg(write(tmp_path, text)) == Network(
        (64, 96),
        (
            Convolution((4, 32, 48), inputs=3, size=3, stride=2, padding=1, normalized=True, leaky=True),
            MaxPool((4, 16, 24), size=2, stride=2),
            Convolution((4, 16, 24), inputs=4, size=1, stride=1, padding=0, normalized=False, leaky=False),
            Shortcut((4, 16, 24), source=1),
            Upsample((4, 32, 48), factor=2),
            Route((8, 32, 48), sources=(4, 0)),
            Convolution((12, 32, 48), inputs=8, size=1, stride=1, padding=0, normalized=False, leaky=False),
            Detection((12, 32, 48), anchors=((10, 14), (37, 58)), classes=1, stride=2),
        ),
    )


def test_a_pool_of_stride_one_keeps_the_size(tmp_path: Path) -> None:
    pools = "[maxpool]\nsize=2\nstride=1\n[maxpool]\nsize=5\nstride=1\n"
    network = read_cfg(write(tmp_path, NET + pools + LINEAR + YOLO))
    assert network.layers[:2] == (MaxPool((3, 64, 96), 2, 1), MaxPool((3, 64, 96), 5, 1))


@pytest.mark.assets
@pytest.mark.parametrize(
    ("name", "layers", "convolutions", "numbers", "heads"),
    [
        ("yolov3", 107, 75, 62_001_757, [(82, 32), (94, 16), (106, 8)]),
        ("yolov3-tiny", 24, 13, 8_858_734, [(16, 32), (23, 16)]),
    ],
)
def test_the_public_networks_are_read_whole(
    assets: Path, name: str, layers: int, convolutions: int, numbers: int, heads: list[tuple[int, int]]
) -> None:
    network = read_cfg(assets / "gt" / "reference_nets" / f"{name}.cfg")
    filters = [layer for layer in network.layers if isinstance(layer, Convolution)]
    assert (network.size, len(network.layers), len(filters)) == ((416, 416), layers, convolutions)
    assert sum(layer.numbers for layer in filters) == numbers  # as many as the public .weights hold
    assert [(i, layer.stride) for i, layer in enumerate(network.layers) if isinstance(layer, Detection)] == heads


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"net\.cfg: must begin with \[net\], got nothing"),
        (CONVOLUTION, r"must begin with \[net\], got \[convolutional\]"),
        ("width=3\n", r"net\.cfg:1: wanted \[layer\] or key=value, got 'width=3'"),
        (NET + "nonsense\n", r"net\.cfg:5: wanted .* got 'nonsense'"),
        (NET, r"has no \[yolo\] layer"),
        (NET + LINEAR, r"has no \[yolo\] layer"),
        (NET + "[gru]\n", r"net\.cfg:5: \[gru\] is an unknown layer, wanted one of convolutional, maxpool"),
        ("[net]\nwidth=96\n", r"net\.cfg:1: \[net\] height must be a number from 1 to 65536, got 'none'"),
        ("[net]\nwidth=x\nheight=1\n", r"width must be whole numbers, got 'x'"),
        ("[net]\nwidth=1\nheight=1\nchannels=1\n", r"channels must be 3, got '1'"),
        (NET + "[convolutional]\nfilters=1\nactivation=mish\n", "activation must be leaky or linear, got 'mish'"),
        (NET + "[convolutional]\nfilters=1\n", "activation must be leaky or linear, got 'logistic'"),
        (NET + CONVOLUTION + "groups=2\n", r":5: \[convolutional\] groups must be 1, got '2': no YOLOv3 has it"),
        (NET + "[convolutional]\nfilters=99999\nactivation=linear\n", "filters must be a number from 1 to 65536"),
        (
            NET + "[convolutional]\nsize=99\nactivation=linear\n",
            "size must fit into the 64x96 cells .* got 99",
        ),
        (NET + "[maxpool]\nsize=3\nstride=5\n", "size must be a number from 5 to 65536, got '3'"),
        (NET + "[maxpool]\nsize=5\nstride=5\n", "stride must divide the 64x96 cells it is given, got 5"),
        (NET + "[maxpool]\nsize=2\nstride=2\npadding=0\n", "padding must be 1, got '0'"),
        (NET + "[route]\nlayers=-1\n", r"layers must name layers before this, number 0, got \[-1\]"),
        (NET + LINEAR + "[route]\nlayers=1\n", r"layers must name layers before this, number 1, got \[1\]"),
        (NET + LINEAR + "[route]\n", r"layers must name layers before this, number 1, got \[\]"),
        (
            NET + LINEAR + CONVOLUTION + "[route]\nlayers=0,1\n",
            r"layers must be of one height and width, got \[\(",
        ),
        (NET + LINEAR + "[route]\nlayers=0\ngroups=2\n", "groups must be 1"),
        (NET + LINEAR + CONVOLUTION + "[shortcut]\nfrom=-2\n", r"from must be one layer of the shape \(4, 32, 48\)"),
        (NET + LINEAR + YOLO.replace("0,2", "0,3"), r"mask must name pairs of anchors, got \(0, 3\) of 6 numbers"),
        (NET + LINEAR + YOLO.replace("0,2", "-1"), r"mask must name pairs of anchors, got \(-1,\)"),
        (NET + LINEAR + YOLO.replace("10,", ""), "mask must name pairs of anchors, .* of 5 numbers"),
        (NET + LINEAR + YOLO.replace("10", "x"), "anchors must be numbers, got 'x,14"),
        (
            NET + LINEAR + YOLO.replace("classes=1", "classes=80"),
            r"must follow 170 filters, 2 anchors x .* 12",
        ),
        (NET + LINEAR + YOLO + "scale_x_y=1.05\n", "scale_x_y must be 1, got '1.05'"),
        (
            NET.replace("64", "65") + CONVOLUTION + LINEAR + YOLO,
            r"\[net\] must be of a size that 33x48 cells .* 65x96",
        ),
    ],
)
def test_what_is_wrong_in_a_cfg_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        read_cfg(write(tmp_path, text))


def test_a_cfg_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.cfg"
    path.write_bytes(b"\xff\xfe[\x00n")
    with pytest.raises(EngineError, match=r"net\.cfg: no text, wanted a darknet \.cfg"):
        read_cfg(path)


def small(folder: Path) -> Network:
    """12 filters of 3 channels and their biases: 48 numbers."""
    return read_cfg(write(folder, NET + LINEAR + YOLO))


def header(minor: int) -> bytes:
    """Of version 0.`minor`: the pictures seen are an int64 from 0.2 on, before it an int32."""
    return np.array([0, minor, 0], "<i4").tobytes() + bytes(8 if minor >= 2 else 4)


@pytest.mark.parametrize("minor", [1, 2, 5])
def test_the_numbers_stand_behind_the_header_of_their_version(tmp_path: Path, minor: int) -> None:
    path = tmp_path / "net.weights"
    path.write_bytes(header(minor) + np.arange(48, dtype="<f4").tobytes())
    numbers = read_weights(path, small(tmp_path))
    assert numbers.dtype == np.float32
    assert numbers.tolist() == list(range(48))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (header(2) + bytes(4 * 47), r"net\.weights: holds 47 numbers, the \.cfg needs 48: cut short; fetch it again"),
        (header(2) + bytes(4 * 47 + 3), "cut short"),
        (header(2)[:16], "holds 0 numbers, the .cfg needs 48: cut short"),
        (header(2) + bytes(4 * 49), r"holds 49 numbers, the \.cfg needs 48: not of this \.cfg"),
        (b"", "does not begin as darknet weights do"),
        (b"<!DOCTYPE html>" + bytes(4 * 60), "does not begin as darknet weights do; name a .weights file"),
    ],
)
def test_weights_that_are_not_the_networks_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "net.weights"
    path.write_bytes(content)
    with pytest.raises(EngineError, match=message):
        read_weights(path, small(tmp_path))


def test_a_file_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_cfg(tmp_path / "none.cfg")
    with pytest.raises(FileNotFoundError):
        read_weights(tmp_path / "none.weights", small(tmp_path))
