"""Teachers: heat maps averaged with those of the mirrored crop, and people's boxes."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_engines import DETECT_CARD, POSE_CARD, FakeFinder, FakePoser, Floats

onnx = pytest.importorskip("onnx")
pytest.importorskip("openvino")  # imported here, as it starts a thread that stays

from engines.backends.base import EngineError  # noqa: E402
from engines.cards import card_yaml  # noqa: E402
from engines.training.teacher import (  # noqa: E402
    LOWEST_SCORE,
    BoxTeacher,
    PoseTeacher,
    TeacherOptions,
    open_box_teacher,
    open_pose_teacher,
)


class Numbered(FakePoser):
    """The map of joint k is k throughout."""

    def infer(self, batch: Floats) -> tuple[Floats, ...]:
        self.rows.append(len(batch))
        return (np.broadcast_to(np.arange(17, dtype=np.float32)[:, None, None], (len(batch), 17, 16, 12)).copy(),)


def test_a_joints_map_is_the_mean_with_that_of_its_pair_in_the_mirror() -> None:
    poser = Numbered()
    maps = PoseTeacher(poser, POSE_CARD, "123").teach([np.zeros((64, 48, 3), np.uint8)] * 2)
    assert poser.rows == [2, 2]
    assert (maps.shape, maps.dtype) == ((2, 17, 16, 12), np.float32)
    assert maps[1, :5, 3, 4].tolist() == [0, 1.5, 1.5, 3.5, 3.5]  # the nose, the eyes, the ears
    assert maps.min(axis=(2, 3)).tolist() == maps.max(axis=(2, 3)).tolist()


def test_the_mirrored_maps_are_moved_back_by_three_quarters_of_a_cell() -> None:
    crop = np.zeros((64, 48, 3), np.uint8)
    crop[20:24, 12:16] = 255  # cell (3, 5)
    (maps,) = PoseTeacher(FakePoser(), POSE_CARD, "123").teach([crop])
    # The mirror gives cell 3 again: a quarter of it stays there, and three go to cell 4.
    np.testing.assert_allclose(maps[0, 5, 2:6], [0, (1 + 0.25) / 2, 0.75 / 2, 0], atol=1e-6)
    assert maps[0].sum() == pytest.approx(1)


def test_crops_are_cut_as_the_network_was_trained() -> None:
    image = np.zeros((200, 200, 3), np.uint8)
    image[98:103, 78:83] = 200  # around (80, 100)
    # 64 pixels high by 1.25: a scale of 0.8; the middle of the box is that of the crop, (24, 32).
    (crop,) = PoseTeacher(FakePoser(), POSE_CARD, "123").crops(image, np.array([[60, 68, 100, 132]], np.float32))
    assert (crop.shape, crop.dtype) == ((64, 48, 3), np.uint8)
    rows, columns = np.nonzero(crop[..., 0] > 100)
    assert (rows.mean(), columns.mean()) == (32, 24)


def test_what_gives_no_heat_maps_cannot_teach_poses() -> None:
    with pytest.raises(EngineError, match=r"net: a teacher gives heat maps, got simcc; name another --teacher"):
        PoseTeacher(FakePoser(), replace(POSE_CARD, family="simcc"), "123")
    with pytest.raises(EngineError, match="got yolox-decoded"):
        PoseTeacher(FakePoser(), DETECT_CARD, "123")


def test_boxes_are_found_down_to_the_lowest_score() -> None:
    people = [(5.0, 5.0, 15.0, 35.0, 0.12), (30.0, 5.0, 40.0, 35.0, 0.9), (50.0, 5.0, 60.0, 35.0, 0.08)]
    (found,) = BoxTeacher(FakeFinder(people), DETECT_CARD, "123").detect([np.zeros((96, 128, 3), np.uint8)])
    assert LOWEST_SCORE == 0.1
    np.testing.assert_allclose(found.boxes, [[60, 10, 80, 70], [10, 10, 30, 70]], atol=1e-3)
    np.testing.assert_allclose(found.scores, [0.9, 0.12], atol=1e-6)


@pytest.mark.parametrize(
    ("opener", "flag"), [(open_box_teacher, "--teacher-detector"), (open_pose_teacher, "--teacher")]
)
def test_a_teacher_that_is_needed_must_be_named(opener: object, flag: str) -> None:
    assert callable(opener)
    with pytest.raises(ValueError, match=f"name one: {flag}$"), opener(TeacherOptions()):
        pass


def save_poser(path: Path) -> None:
    """What FakePoser does, as ONNX with its card: the mean of each four by four pixels for all joints."""
    from onnx import TensorProto, helper, numpy_helper

    weight = numpy_helper.from_array(np.full((17, 3, 4, 4), 1 / 48, np.float32), "weight")
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape])
        for name, shape in (("image", (3, 64, 48)), ("heatmaps", (17, 16, 12)))
    ]
    node = helper.make_node("Conv", ["image", "weight"], ["heatmaps"], strides=[4, 4])
    graph = helper.make_graph([node], "net", ends[:1], ends[1:], [weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    path.with_suffix(".yaml").write_text(card_yaml(POSE_CARD), encoding="utf-8")


def test_a_file_with_its_card_is_a_teacher(tmp_path: Path) -> None:
    save_poser(tmp_path / "net.onnx")
    crops = list(np.random.default_rng(0).integers(0, 256, (3, 64, 48, 3), np.uint8))
    with open_pose_teacher(TeacherOptions(pose=str(tmp_path / "net.onnx"))) as teacher:
        assert (teacher.card, teacher.skeleton.name) == (POSE_CARD, "coco17")
        assert teacher.identity == f"{hashlib.sha256((tmp_path / 'net.onnx').read_bytes()).hexdigest()} fp32"
        maps = teacher.teach(crops)
    np.testing.assert_allclose(maps, PoseTeacher(FakePoser(), POSE_CARD, "123").teach(crops), atol=1e-5)


def test_a_teacher_is_known_by_what_its_file_holds(tmp_path: Path) -> None:
    for name, content in (("net", b"abc"), ("same", b"abc"), ("other", b"abd")):
        (tmp_path / f"{name}.onnx").write_bytes(content)
    known = {
        name: TeacherOptions(str(tmp_path / f"{name}.onnx"), str(tmp_path / f"{name}.onnx"), 320)
        for name in ("net", "same", "other")
    }
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert (known["net"].box_identity, known["net"].pose_identity) == (f"{abc} fp32 320", f"{abc} fp32")
    assert known["same"].box_identity == known["net"].box_identity
    assert known["other"].box_identity != known["net"].box_identity
    assert replace(known["net"], size=640).box_identity == f"{abc} fp32 640"
    assert replace(known["net"], size=640).pose_identity == known["net"].pose_identity
    assert (TeacherOptions().box_identity, TeacherOptions().pose_identity) == (None, None)


def test_a_teacher_that_is_not_there_is_told(tmp_path: Path) -> None:
    with (
        pytest.raises(FileNotFoundError, match=r"absent\.onnx"),
        open_pose_teacher(TeacherOptions(pose=str(tmp_path / "absent.onnx"))),
    ):
        pass
