"""From a name and pictures to a model that is built: the people for a pose network found first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from astronaut import POSE, photograph

from engines.backends.base import EngineError
from engines.build_request import MOST_CROPS, Request, _crops, build_requested
from engines.cards import ModelCard
from engines.catalog import Catalog, MissingModelError, load_catalog
from engines.guard_pictures import Scene
from engines.results import Image


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """Of the models that come with the program."""
    return load_catalog([], tmp_path / "cache")


class Refuser:
    """Notes what it is to calibrate on, and quantises nothing."""

    def __init__(self) -> None:
        self.sizes: list[tuple[int, ...]] = []

    def __call__(
        self, onnx: Path, card: ModelCard, calibration: Sequence[Image], target: Path, say: Callable[[str], None]
    ) -> None:
        self.sizes = [picture.shape for picture in calibration]
        raise EngineError("not quantised")


def silent(line: str) -> None:
    pass


def test_fp32_is_not_built(catalog: Catalog) -> None:
    with pytest.raises(ValueError, match="fp32 is what other precisions are compared with"):
        build_requested(Request("posestream-pose", "fp32"), catalog, silent, Refuser())


def test_a_library_without_16_bits_says_so(catalog: Catalog) -> None:
    pytest.importorskip("onnxruntime")
    from engines.shelf import Engines

    with pytest.raises(EngineError, match="runs in fp32 on ONNX Runtime CPU fp32, there is no 16-bit precision here"):
        build_requested(Request("posestream-detect", engines=Engines("onnxruntime")), catalog, silent, Refuser())


@pytest.mark.assets
def test_a_pose_network_is_compared_on_the_people_of_the_pictures(assets: Path, tmp_path: Path) -> None:
    """bf16 is as far from fp32 as eight bits of mantissa make it: the figures are there, whatever the bar says."""
    from engines.backends.openvino_backend import load_openvino

    if "BF16" not in load_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU has no bf16")
    models, bus = assets / "models", np.asarray(cv2.imread(str(assets / "images" / "bus.jpg")), np.uint8)
    nobody = np.zeros((64, 64, 3), np.uint8)
    request = Request(
        str(models / "tinypose_256x192_dyn.onnx"),
        guard=[bus, nobody],
        force=True,
        detector=str(models / "yolox_nano.onnx"),
    )
    verdict = build_requested(request, load_catalog([], tmp_path), silent, Refuser()).verdict
    assert verdict.precision == "bf16"
    assert verdict.on == "5 drawn pictures and 1 given ones with 3 people"
    assert verdict.relative is not None
    assert 0 < verdict.relative < 0.1
    assert verdict.oks is not None
    assert verdict.oks > 0.95


def test_a_pose_network_is_calibrated_on_crops_of_its_input(catalog: Catalog) -> None:
    refuser = Refuser()
    with pytest.raises(EngineError, match="not quantised"):
        build_requested(Request("posestream-pose", "int8", calibration=[photograph()] * 8), catalog, silent, refuser)
    assert refuser.sizes == [(256, 192, 3)] * 8
    assert list((catalog.cache / "built").glob("*.onnx")) == []


def test_crops_come_from_all_over_the_pictures(catalog: Catalog) -> None:
    card = catalog.find("posestream-pose").card
    assert card is not None
    image = np.zeros((300, 4, 3), np.uint8)
    image[:] = np.arange(300)[:, None, None] // 2
    people = [Scene(image, np.float32([[0, y, 4, y + 1] for y in range(0, 300, 2)])) for _ in range(4)]
    crops = _crops(people, card)
    assert len(crops) == MOST_CROPS == 300  # of 600
    assert [int(crop[128, 96, 0]) for crop in crops[:3]] == [0, 2, 4]
    assert _crops([], card) == []


def test_pictures_without_anybody_are_no_use_to_a_pose_network(catalog: Catalog) -> None:
    nobody = [np.zeros((64, 64, 3), np.uint8)] * 2
    with pytest.raises(EngineError, match="nobody was found in 2 pictures by posestream-detect; give others"):
        build_requested(Request("posestream-pose", "bf16", guard=nobody), catalog, silent, Refuser())


def test_without_a_detector_people_cannot_be_found(tmp_path: Path) -> None:
    alone = load_catalog([], tmp_path / "cache", embedded=tmp_path / "lost")
    request = Request(str(POSE), "bf16", guard=[photograph()])
    with pytest.raises(MissingModelError, match=r"people must be found in the pictures first: .* or name --detector"):
        build_requested(request, alone, silent, Refuser())
