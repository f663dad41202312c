"""How far two outputs are apart, the noise that they are compared on, and what the guard makes of two backends."""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from astronaut import BOX, POSE, photograph
from fake_engines import DETECT_CARD, POSE_CARD, FakeFinder, FakePoser

from engines.backends.base import open_backend
from engines.cards import InputSpec, ModelCard, read_card
from engines.guard import DRAWN, Difference, compare, judge, noise
from engines.verdict import BARS
from engines.yolo import PersonDetector

PERSON = (0.0, 0.0, 20.0, 40.0, 0.9)


def test_the_largest_and_the_relative_difference() -> None:
    wanted = np.array([[3, 4], [0, 0]], np.float32)  # of norm 5
    assert compare(wanted, wanted) == Difference(0, 0)
    assert compare(wanted + np.float32([[0.3, 0], [0, -0.4]]), wanted) == Difference(
        pytest.approx(0.4, rel=1e-6), pytest.approx(0.1, rel=1e-6)
    )
    assert str(Difference(0.00012, 3e-7)) == "1.2e-04 (relative 3.0e-07)"


@pytest.mark.parametrize("shape", [(0, 6), (2, 3)])
def test_nothing_and_zeros_differ_by_nothing(shape: tuple[int, int]) -> None:
    assert compare(np.zeros(shape, np.float32), np.zeros(shape, np.float32)) == Difference(0, 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_within_no_bound(bad: float) -> None:
    broken, sound = np.full((1, 2), bad, np.float32), np.ones((1, 2), np.float32)
    for got, wanted in ((broken, sound), (sound, broken), (broken, broken)):
        assert math.isnan(compare(got, wanted).relative)


def test_outputs_of_two_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one shape, got \(1, 2\) and \(2, 1\)"):
        compare(np.zeros((1, 2), np.float32), np.zeros((2, 1), np.float32))


def test_noise_fills_the_range_of_the_network_and_is_always_the_same() -> None:
    plain = noise(InputSpec((40, 30), "bgr"), 3)
    assert (plain.shape, plain.dtype) == ((3, 3, 40, 30), np.float32)
    assert 0 <= plain.min() < 1
    assert 254 < plain.max() <= 255
    np.testing.assert_array_equal(noise(InputSpec((40, 30), "bgr"), 3), plain)
    spec = InputSpec((40, 30), "rgb", 1 / 255, (0.5, 0.25, 0), (1, 1, 0.5))
    normal = noise(spec, 3)
    np.testing.assert_allclose(normal[:, 0], plain[:, 0] / 255 - 0.5, atol=1e-6)
    np.testing.assert_allclose(normal[:, 2], plain[:, 2] / 255 * 2, atol=1e-6)


@pytest.mark.parametrize(("error", "passes"), [(0.0, True), (0.019, True), (0.021, False), (math.nan, False)])
def test_heat_maps_of_a_network_that_knows_nobody_are_compared_number_by_number(error: float, passes: bool) -> None:
    verdict = judge(FakePoser("bf16", error), FakePoser(), POSE_CARD, "bf16")
    assert verdict.relative == pytest.approx(error, abs=1e-6, nan_ok=True)
    assert (verdict.oks, verdict.ap) == (None, None)
    assert verdict.passed is passes
    assert (verdict.engine, verdict.against, verdict.bars) == ("Fake CPU bf16", "Fake CPU fp32", BARS["bf16"])
    assert (verdict.laps, verdict.forced) == ((), False)


def test_int8_has_bars_of_its_own() -> None:
    assert judge(FakePoser("int8", 0.07), FakePoser(), POSE_CARD, "int8").passed
    assert not judge(FakePoser("int8", 0.09), FakePoser(), POSE_CARD, "int8").passed


def test_a_network_that_knows_nobody_is_not_judged_on_given_pictures() -> None:
    given = [np.zeros((40, 30, 3), np.uint8)]
    verdict = judge(FakePoser("bf16"), FakePoser(), POSE_CARD, "bf16", given)
    assert verdict.on == "5 drawn pictures, in which it finds no joints"
    assert verdict.oks is None


def test_a_detectors_boxes_are_compared_not_its_raw_outputs() -> None:
    empty = (30.0, 10.0, 60.0, 40.0, 0.01)  # a box that neither reports, as of a cell without anybody
    far = (0.0, 0.0, 3.0, 3.0, 0.01)
    verdict = judge(FakeFinder([PERSON, far], "bf16"), FakeFinder([PERSON, empty]), DETECT_CARD, "bf16")
    assert (verdict.ap, verdict.relative, verdict.oks) == (1.0, None, None)
    assert verdict.on == f"{DRAWN['detect']} drawn pictures"


def test_a_box_that_moved_costs_ap() -> None:
    moved = (2.0, 0.0, 22.0, 40.0, 0.9)  # overlap 18 / 22 = 0.818: found at 7 of 10 overlaps
    verdict = judge(FakeFinder([moved], "bf16"), FakeFinder([PERSON]), DETECT_CARD, "bf16")
    assert verdict.ap == pytest.approx(0.7)
    assert verdict.faults == ("AP 0.700, 0.97 at least",)


def test_a_score_that_falls_below_the_usual_confidence_is_no_miss() -> None:
    unsure = (*PERSON[:4], 0.35)
    assert judge(FakeFinder([unsure], "bf16"), FakeFinder([(*PERSON[:4], 0.45)]), DETECT_CARD, "bf16").ap == 1.0


def test_given_pictures_take_the_place_of_the_drawn_ones() -> None:
    given = [np.zeros((48, 64, 3), np.uint8)] * 3
    two = [PERSON, (30.0, 0.0, 50.0, 40.0, 0.8)]
    verdict = judge(FakeFinder(two, "int8"), FakeFinder(two), DETECT_CARD, "int8", given)
    assert verdict.on == "12 drawn pictures and 3 given ones with 6 people"
    assert verdict.passed


def test_where_nobody_is_found_raw_outputs_are_compared() -> None:
    nobody = [(*PERSON[:4], 0.1)]
    near = [(0.0, 0.0, 20.0, 40.4, 0.1)]
    verdict = judge(FakeFinder(near, "bf16"), FakeFinder(nobody), DETECT_CARD, "bf16")
    # cx, cy, w, h, obj, class: 10, 20, 20, 40, 0.1, 1 and 0.2 and 0.4 of difference
    assert verdict.relative == pytest.approx(math.hypot(0.2, 0.4) / math.sqrt(2501.01), rel=1e-4)
    assert verdict.ap is None
    assert verdict.passed


def test_rows_of_an_nms_inside_are_not_compared_where_nobody_is_found() -> None:
    card = replace(DETECT_CARD, family="yolo-nms-free")
    verdict = judge(FakeFinder([(*PERSON[:4], 0.1)]), FakeFinder([(*PERSON[:4], 0.1)]), card, "fp16")
    assert verdict.faults == ("nobody was found to compare by",)


def test_a_detector_that_gives_no_numbers_is_refused() -> None:
    broken = FakeFinder([PERSON, (0.0, 0.0, math.inf, 1.0, 0.0)], "bf16")
    verdict = judge(broken, FakeFinder([PERSON, (0.0, 0.0, 1.0, 1.0, 0.0)]), DETECT_CARD, "bf16")
    assert math.isnan(verdict.relative or 0.0)
    assert not verdict.passed


def test_the_embedded_pose_network_agrees_with_itself_and_not_with_one_that_is_off() -> None:
    card = read_card(POSE.with_suffix(".yaml"))
    with closing(open_backend(POSE, precision="fp32")) as backend:
        same = judge(backend, backend, card, "fp16", [photograph()], [BOX[None]])
        worse = judge(_Shifted(backend), backend, card, "int8", [photograph()], [BOX[None]])
    assert same.relative == 0
    assert same.passed
    assert not worse.passed


@pytest.mark.assets
def test_real_networks_agree_with_themselves_and_not_with_other_weights(assets: Path) -> None:
    """TinyPose knows the drawn people: OKS counts; its sibling of another input is another network."""
    card = ModelCard(
        "tinypose",
        "pose",
        "heatmap",
        InputSpec((256, 192), "rgb", 1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        skeleton="coco17",
    )
    detector = ModelCard("yolox", "detect", "yolox", InputSpec((416, 416), "bgr"))
    models = assets / "models"
    image = np.asarray(cv2.imread(str(assets / "images" / "zidane.jpg")), np.uint8)
    with (
        closing(open_backend(models / "tinypose_256x192_dyn.onnx", precision="fp32")) as backend,
        closing(open_backend(models / "yolox_nano.onnx", precision="fp32")) as finder,
    ):
        (people,) = PersonDetector(finder, detector).detect([image])
        same = judge(backend, backend, card, "fp16", [image], [people.boxes])
        worse = judge(_Shifted(backend), backend, card, "int8", [image], [people.boxes])
    assert (same.relative, same.oks) == (0.0, pytest.approx(1.0))
    assert same.on == f"5 drawn pictures and 1 given ones with {len(people.boxes)} people"
    assert not worse.passed
    assert worse.oks is not None
    assert 0.5 < worse.oks < 0.97


class _Shifted:
    """A backend whose heat maps lie two cells to the right of another's."""

    name = "Fake CPU int8"

    def __init__(self, backend: object) -> None:
        self._backend = backend
        self.inputs, self.outputs = backend.inputs, backend.outputs

    def infer(self, batch: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(np.roll(output, 2, axis=-1) for output in self._backend.infer(batch))

    def close(self) -> None:
        pass
