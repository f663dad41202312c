"""A model without a card is known by its tensors and one run; what is ambiguous is asked for."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from astronaut import DETECTOR, POSE
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from engines.backends.base import EngineError, TensorSpec
from engines.backends.onnx_file import describe, describe_by_onnxruntime, describe_by_openvino
from engines.cards import NO_FLAGS, CardFlags, InputSpec, Task, make_card, read_card
from engines.catalog import Catalog
from engines.guess import Guess, apply_flags, check_joints, choose_size, guess_card
from engines.opening import OpenModel, open_model

PATH = Path("m.onnx")
EMPTY = Catalog((), Path("nowhere"))
ANCHORS_64 = 84
"""8 x 8 + 4 x 4 + 2 x 2 cells of a 64 x 64 picture."""


def grid_64() -> NDArray[np.float32]:
    """The centres (84, 2) of the cells of a 64 x 64 picture in pixels, rows first, worked out the slow way."""
    centres = [((x + 0.5) * s, (y + 0.5) * s) for s in (8, 16, 32) for y in range(64 // s) for x in range(64 // s)]
    return np.array(centres, np.float32)


def yolox(classes: int, centres: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """YOLOX output (1, 84, 5 + classes): raw offsets of 0.3 cells, or the centres that are given."""
    rows = np.full((1, ANCHORS_64, 5 + classes), 0.3, np.float32)
    if centres is not None:
        rows[0, :, :2] = centres
    return rows


def guess(
    arrays: Sequence[NDArray[np.float32]],
    task: Task,
    size: tuple[int, int] = (64, 64),
    names: Sequence[str] = ("output", "output2", "output3"),
    flags: CardFlags = NO_FLAGS,
) -> Guess:
    outputs = [TensorSpec(n, (None, *a.shape[1:]), "float32") for n, a in zip(names, arrays, strict=False)]
    seen: list[tuple[int, ...]] = []

    def infer(batch: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        seen.append(batch.shape)
        return tuple(arrays)

    made = guess_card(PATH, task, outputs, infer, size, flags)
    assert seen == [(1, 3, *size)]
    return made


def zeros(*shape: int) -> NDArray[np.float32]:
    return np.zeros((1, *shape), np.float32)


@pytest.mark.parametrize(
    ("arrays", "task", "text"),
    [
        ([yolox(80)], "detect", "YOLOX raw, 64x64, BGR 0-255, 80 classes"),
        ([yolox(1)], "detect", "YOLOX raw, 64x64, BGR 0-255, 1 class"),
        ([yolox(80, grid_64())], "detect", "YOLOX decoded, 64x64, BGR 0-255, 80 classes"),
        ([yolox(80, grid_64() + 9)], "detect", "YOLOX decoded, 64x64, BGR 0-255, 80 classes"),
        ([zeros(3 * ANCHORS_64, 85)], "detect", "YOLOv3, 64x64, RGB 0-1, 80 classes"),
        ([zeros(3 * (4 * 4 + 2 * 2), 6)], "detect", "YOLOv3, 64x64, RGB 0-1, 1 class"),
        ([zeros(24, ANCHORS_64)], "detect", "YOLOv8/11, 64x64, RGB 0-1, 20 classes"),
        ([zeros(5, ANCHORS_64)], "detect", "YOLOv8/11, 64x64, RGB 0-1, 1 class"),
        ([zeros(300, 6)], "detect", "YOLO without NMS, 64x64, RGB 0-1"),
        ([zeros(8, 8, 5), zeros(4, 4, 5), zeros(2, 2, 5)], "detect", "RTMDet raw heads, 64x64, BGR ImageNet mean/std"),
        ([zeros(2, 2, 5), zeros(4, 4, 5), zeros(8, 8, 5)], "detect", "RTMDet raw heads, 64x64, BGR ImageNet mean/std"),
        ([zeros(17, 16, 16)], "pose", "heat maps, 64x64, RGB ImageNet mean/std, 17 joints (coco17)"),
        ([zeros(16, 16, 16)], "pose", "heat maps, 64x64, RGB ImageNet mean/std, 16 joints (mpii16)"),
        ([zeros(26, 16, 16)], "pose", "heat maps, 64x64, RGB ImageNet mean/std, 26 joints (halpe26)"),
        ([zeros(26, 128), zeros(26, 128)], "pose", "SimCC, 64x64, RGB ImageNet mean/std, 26 joints (halpe26)"),
    ],
)
def test_each_family_is_told_from_its_outputs(arrays: list[NDArray[np.float32]], task: Task, text: str) -> None:
    assert guess(arrays, task).text == f"m.onnx: guessed: {text}"


def test_simcc_vectors_are_known_in_either_order_unless_their_names_contradict() -> None:
    across, down = zeros(17, 96), zeros(17, 128)  # of 48 and 64 pixels
    for arrays, names in (
        ([across, down], ("a", "b")),
        ([down, across], ("a", "b")),
        ([down, across], ("simcc_y", "simcc_x")),
    ):
        assert guess(arrays, "pose", (64, 48), names).card.family == "simcc"
    with pytest.raises(EngineError, match=r"simcc_x \(\?, 17, 128\); simcc_y \(\?, 17, 96\) fit no known family"):
        guess([down, across], "pose", (64, 48), ("simcc_x", "simcc_y"))


@pytest.mark.parametrize(
    "arrays",
    [
        [zeros(25200, 85)],
        [zeros(252, 85) - 1],
        [zeros(252, 5)],
        [zeros(1000)],
        [zeros(17, 15, 16)],
        [zeros(17, 0, 0)],
        [],
    ],
)
def test_outputs_of_no_family_are_an_error_that_names_the_key(arrays: list[NDArray[np.float32]]) -> None:
    with pytest.raises(EngineError, match=r"fit no known family; say it by the key family of a card m\.yaml"):
        guess(arrays, "detect")


def test_neither_raw_nor_decoded_is_an_error() -> None:
    with pytest.raises(EngineError, match="neither raw nor decoded"):
        guess([yolox(80, np.full((ANCHORS_64, 2), 1e4, np.float32))], "detect")
    with pytest.raises(EngineError, match="neither raw nor decoded"):
        guess([yolox(80, np.full((ANCHORS_64, 2), np.nan, np.float32))], "detect")


def test_a_yolo_pose_export_is_no_detector_of_52_classes() -> None:
    rows = zeros(56, ANCHORS_64)
    rows[0, 5] = 31.5  # the x of a joint, in pixels
    with pytest.raises(EngineError, match=r"56 channels.*YOLO pose or segmentation"):
        guess([rows], "detect")


@pytest.mark.parametrize("joints", [1, 15, 21])
def test_a_number_of_joints_without_a_skeleton_names_the_card_key(joints: int) -> None:
    with pytest.raises(EngineError, match=rf"{joints} joints, which no skeleton \(card key skeleton\) fits: coco17 17"):
        guess([zeros(joints, 16, 16)], "pose")


def test_end_to_end_asks_which_model_it_is_of() -> None:
    arrays = [zeros(100, 5), zeros(100)]
    with pytest.raises(EngineError, match=r"YOLOX-human's or RTMDet's; say which by mean and std, in a card m\.yaml"):
        guess(arrays, "detect")
    flags = CardFlags(mean=(103.53, 116.28, 123.675), std=(57.375, 57.12, 58.395))
    card = guess(arrays, "detect", flags=flags).card
    assert (card.family, card.input) == ("end2end", InputSpec((64, 64), "bgr", 1.0, flags.mean, flags.std))


def test_a_model_of_the_other_task_is_refused() -> None:
    with pytest.raises(EngineError, match="gives heat maps, so it is a pose model; wanted a detector"):
        guess([zeros(17, 16, 16)], "detect")
    with pytest.raises(EngineError, match="gives YOLOX raw, so it is a detector; wanted a pose model"):
        guess([yolox(80)], "pose")


def test_flags_win_over_the_guess() -> None:
    flags = CardFlags(family="yolox-decoded", color="rgb", scale=0.5, mean=(1, 2, 3), std=(4, 5, 6), letterbox="center")
    card = guess([yolox(80)], "detect", flags=flags).card
    assert card.family == "yolox-decoded"
    assert card.letterbox == "center"
    assert card.input == InputSpec((64, 64), "rgb", 0.5, (1, 2, 3), (4, 5, 6))


def test_a_flag_cannot_give_a_model_another_number_of_joints() -> None:
    assert guess([zeros(16, 16, 16)], "pose", flags=CardFlags(skeleton="mpii16")).card.skeleton == "mpii16"
    with pytest.raises(EngineError, match="16 joints, which no skeleton"):
        guess([zeros(16, 16, 16)], "pose", flags=CardFlags(skeleton="coco17"))


def picture(*sides: int | None) -> list[TensorSpec]:
    return [TensorSpec("images", (None, 3, *sides), "float32")]


@pytest.mark.parametrize(
    ("sides", "task", "wanted", "size"),
    [
        ((416, 416), "detect", None, (416, 416)),
        ((416, 416), "detect", (416, 416), (416, 416)),
        ((300, 300), "detect", None, (300, 300)),  # fixed: not for us to refuse
        ((None, None), "detect", None, (640, 640)),
        ((None, None), "detect", (384, 640), (384, 640)),
        ((416, None), "detect", None, (416, 640)),
        ((None, None), "pose", (256, 192), (256, 192)),
    ],
)
def test_the_size_is_the_model_s_else_the_wanted_else_640(
    sides: tuple[int | None, ...], task: Task, wanted: tuple[int, int] | None, size: tuple[int, int]
) -> None:
    assert choose_size(PATH, task, picture(*sides), wanted) == size


@pytest.mark.parametrize(
    ("sides", "task", "wanted", "message"),
    [
        ((416, 416), "detect", (640, 640), "takes pictures of 416x416 only, imgsz or its card says 640x640"),
        ((416, None), "detect", (640, 640), "takes pictures of 416x640 only, imgsz or its card says 640x640"),
        ((None, None), "detect", (630, 640), "imgsz must be a multiple of 32, got 630x640"),
        ((None, None), "pose", None, "takes pictures of any size: say which by imgsz"),
    ],
)
def test_a_size_that_does_not_fit_is_an_error(
    sides: tuple[int | None, ...], task: Task, wanted: tuple[int, int] | None, message: str
) -> None:
    with pytest.raises(EngineError, match=message):
        choose_size(PATH, task, picture(*sides), wanted)


@pytest.mark.parametrize(
    "inputs",
    [
        [],
        [TensorSpec("x", (1, 784), "float32")],
        [TensorSpec("x", (1, 416, 416, 3), "float32")],
        [TensorSpec("x", (1, 1, 28, 28), "float32")],
        picture(64, 64) * 2,
    ],
)
def test_another_input_than_one_picture_is_refused(inputs: list[TensorSpec]) -> None:
    with pytest.raises(EngineError, match=r"m\.onnx: the input must be one picture \(N, 3, H, W\), got "):
        choose_size(PATH, "detect", inputs, None)


def test_flags_win_over_a_card_too() -> None:
    card = make_card("x", {"name": "a", "family": "yolox", "input": {"size": [640, 640]}})
    changed = apply_flags(card, CardFlags(color="rgb", letterbox="center"), (416, 416))
    assert (changed.input, changed.letterbox) == (InputSpec((416, 416), "rgb"), "center")
    assert apply_flags(card, CardFlags(), (640, 640)) == card


def test_a_card_with_another_number_of_joints_is_refused() -> None:
    card = make_card("x", {"name": "a", "family": "heatmap", "skeleton": "mpii16", "input": {"size": [64, 64]}})
    check_joints(PATH, card, [TensorSpec("h", (None, 16, 16, 16), "float32")])
    check_joints(PATH, card, [TensorSpec("h", (None, None, None, None), "float32")])
    with pytest.raises(EngineError, match="skeleton mpii16 has 16 joints, the model gives 17"):
        check_joints(PATH, card, [TensorSpec("h", (None, 17, 16, 16), "float32")])


# Files: tiny models that give constants, and the real ones.


def write_model(path: Path, outputs: dict[str, NDArray[np.generic]], sides: tuple[int | str, int | str]) -> Path:
    """An ONNX file of one picture (1, 3, *sides) whose outputs are these constants."""
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "nought"], ["zero"]),
    ]
    constants = [numpy_helper.from_array(np.float32(0), "nought")]
    infos = []
    for name, array in outputs.items():
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        constants.append(numpy_helper.from_array(array, f"{name}_constant"))
        nodes.append(helper.make_node("Cast", ["zero"], [f"{name}_zero"], to=kind))
        nodes.append(helper.make_node("Add", [f"{name}_constant", f"{name}_zero"], [name]))
        infos.append(helper.make_tensor_value_info(name, kind, array.shape))
    image = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, *sides])
    graph = helper.make_graph(nodes, "tiny", [image], infos, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def opened(path: Path, task: Task, flags: CardFlags = NO_FLAGS) -> OpenModel:
    model = open_model(str(path), task, flags, catalog=EMPTY, precision="fp32")
    model.backend.close()
    return model


@pytest.mark.parametrize(
    ("outputs", "task", "family"),
    [
        ({"output": yolox(80)}, "detect", "yolox"),
        ({"output": yolox(3, grid_64())}, "detect", "yolox-decoded"),
        ({"output0": zeros(24, ANCHORS_64)}, "detect", "yolov8"),
        ({"output0": zeros(300, 6)}, "detect", "yolo-nms-free"),
        ({"a": zeros(8, 8, 5), "b": zeros(4, 4, 5), "c": zeros(2, 2, 5)}, "detect", "rtmdet"),
        ({"simcc_x": zeros(17, 128), "simcc_y": zeros(17, 128)}, "pose", "simcc"),
        ({"heatmaps": zeros(16, 16, 16)}, "pose", "heatmap"),
    ],
)
def test_a_file_of_each_family_opens_by_path(
    tmp_path: Path, outputs: dict[str, NDArray[np.float32]], task: Task, family: str
) -> None:
    path = write_model(tmp_path / "m.onnx", outputs, (64, 64))
    model = opened(path, task)
    assert (model.card.family, model.card.input.size, model.path) == (family, (64, 64), path)
    assert model.note.startswith(f"{path}: guessed: ")


def test_an_end_to_end_file_opens_with_its_card(tmp_path: Path) -> None:
    outputs = {"dets": zeros(3, 5), "labels": np.zeros((1, 3), np.int64)}
    path = write_model(tmp_path / "m.onnx", outputs, (64, 64))
    with pytest.raises(EngineError, match="YOLOX-human's or RTMDet's"):
        opened(path, "detect")
    (tmp_path / "m.yaml").write_text("{name: mine, family: end2end, input: {size: [64, 64], color: bgr}}")
    model = opened(path, "detect")
    assert (model.card.name, model.note) == ("mine", "mine: end to end with NMS inside, 64x64, BGR 0-255")


def test_a_card_that_contradicts_its_file_is_refused(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.onnx", {"heatmaps": zeros(17, 16, 16)}, (64, 64))
    card = "{name: mine, family: heatmap, skeleton: SKELETON, input: {size: [64, SIDE]}}"
    for skeleton, side, message in (("mpii16", "64", "has 16 joints, the model gives 17"), ("coco17", "48", "64x48")):
        (tmp_path / "m.yaml").write_text(card.replace("SKELETON", skeleton).replace("SIDE", side))
        with pytest.raises(EngineError, match=message):
            opened(path, "pose")


def test_a_file_is_described_alike_by_both_libraries(tmp_path: Path) -> None:
    outputs = {"dets": zeros(3, 5), "labels": np.zeros((1, 3), np.int64)}
    path = write_model(tmp_path / "m.onnx", outputs, ("H", 64))
    expected = (
        (TensorSpec("images", (1, 3, None, 64), "float32"),),
        (TensorSpec("dets", (1, 3, 5), "float32"), TensorSpec("labels", (1, 3), "int64")),
    )
    assert describe(path) == describe_by_openvino(path) == describe_by_onnxruntime(path) == expected


@pytest.mark.parametrize("content", [b"", b"no model at all", b"<html><body>Sign in</body></html>"])
def test_a_file_that_is_no_onnx_is_refused_in_one_line(
    tmp_path: Path, content: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    for read in (describe, describe_by_onnxruntime):
        with pytest.raises(EngineError) as caught:
            read(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_describing_no_file_is_file_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.onnx: no such file"):
        describe(tmp_path / "gone.onnx")


@pytest.mark.parametrize("model", [DETECTOR, POSE], ids=["detector", "pose"])
def test_the_embedded_models_are_guessed_as_their_cards_say(model: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.onnx"
    shutil.copy(model, bare)
    card = read_card(model.with_suffix(".yaml"))
    guessed = opened(bare, card.task).card
    for key in ("family", "input", "letterbox", "pad", "skeleton"):
        assert getattr(guessed, key) == getattr(card, key), key


@pytest.mark.parametrize(
    ("name", "task", "flags", "text"),
    [
        ("yolox_nano", "detect", CardFlags(), "YOLOX raw, 416x416, BGR 0-255, 80 classes"),
        ("yolox_nano_dynhw", "detect", CardFlags(), "YOLOX raw, 640x640, BGR 0-255, 80 classes"),
        ("yolox_nano_dynhw", "detect", CardFlags(imgsz=(320, 416)), "YOLOX raw, 320x416, BGR 0-255, 80 classes"),
        ("rtmdet_nano_dyn", "detect", CardFlags(), "RTMDet raw heads, 320x320, BGR ImageNet mean/std"),
        (
            "tinypose_256x192_dyn",
            "pose",
            CardFlags(),
            "heat maps, 256x192, RGB ImageNet mean/std, 17 joints (coco17)",
        ),
        ("tinypose_128x96_dyn", "pose", CardFlags(), "heat maps, 128x96, RGB ImageNet mean/std, 17 joints (coco17)"),
    ],
)
def test_the_real_models_open_by_path(assets: Path, name: str, task: Task, flags: CardFlags, text: str) -> None:
    path = assets / "models" / f"{name}.onnx"
    assert opened(path, task, flags).note == f"{path}: guessed: {text}"
