"""Model cards: read, completed by their family, refused with file and key, written back."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.backends.base import EngineError
from engines.cards import (
    DETECT_FAMILIES,
    POSE_FAMILIES,
    Accuracy,
    CardFlags,
    InputSpec,
    ModelCard,
    SourceRef,
    TrainingNote,
    card_yaml,
    family_defaults,
    load_yaml,
    make_card,
    read_card,
)
from engines.wording import card_words, input_words

# The example of CONTRACTS.md, part 3, to the letter.
EXAMPLE = """\
name: tinypose-256x192
task: pose                 # or: detect
family: heatmap
input: {size: [256, 192], color: rgb, scale: 0.00392157, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}
letterbox: top-left        # detectors: top-left or center; pad: 114
skeleton: coco17           # poses: coco17, mpii16, halpe26
license: Apache-2.0
source: {url: null, sha256: null}      # or an OpenMMLab hash prefix
accuracy: {gt_box_ap: 0.667, on: "gt/coco_val, 94 pictures", published: false}
"""
SHORT = {"name": "a", "family": "heatmap", "skeleton": "coco17", "input": {"size": [256, 192]}}


def test_the_contract_s_example_is_read(tmp_path: Path) -> None:
    file = tmp_path / "tinypose-256x192.yaml"
    file.write_text(EXAMPLE)
    assert read_card(file) == ModelCard(
        name="tinypose-256x192",
        task="pose",
        family="heatmap",
        input=InputSpec((256, 192), "rgb", 0.00392157, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        letterbox="top-left",
        pad=114,
        skeleton="coco17",
        license="Apache-2.0",
        source=SourceRef(),
        accuracy=Accuracy(on="gt/coco_val, 94 pictures", published=False, gt_box_ap=0.667),
    )


def test_a_written_card_reads_back_the_same(tmp_path: Path) -> None:
    card = make_card("x", load_yaml(EXAMPLE))
    file = tmp_path / "card.yaml"
    file.write_text(card_yaml(card))
    assert read_card(file) == card


TRAINED = """
training:
  command: run.py train pose labels.json*2 images --teacher tinypose
  data: [labels.json, images]
  rights: research only
  teachers: [tinypose]
  seed: 1
  samples: 64000
  hours: 1.5
  machine: some CPU, 2 cores
  date: 2026-12-01
"""


def test_a_card_says_how_its_model_was_trained(tmp_path: Path) -> None:
    card = make_card("x", load_yaml(EXAMPLE + TRAINED))
    assert card.training == TrainingNote(
        command="run.py train pose labels.json*2 images --teacher tinypose",
        data=("labels.json", "images"),
        rights="research only",
        teachers=("tinypose",),
        seed=1,
        samples=64000,
        hours=1.5,
        machine="some CPU, 2 cores",
        date="2026-12-01",
    )
    file = tmp_path / "card.yaml"
    file.write_text(card_yaml(card))
    assert read_card(file) == card
    with pytest.raises(EngineError, match=r"x: key training\.rights is missing"):
        make_card("x", load_yaml(EXAMPLE + TRAINED.replace("  rights: research only\n", "")))


@pytest.mark.parametrize(
    ("family", "color", "scale", "mean", "std", "letterbox"),
    [
        ("heatmap", "rgb", 1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "top-left"),
        ("simcc", "rgb", 1.0, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), "top-left"),
        ("yolox", "bgr", 1.0, (0, 0, 0), (1, 1, 1), "top-left"),
        ("yolox-decoded", "bgr", 1.0, (0, 0, 0), (1, 1, 1), "top-left"),
        ("rtmdet", "bgr", 1.0, (103.53, 116.28, 123.675), (57.375, 57.12, 58.395), "top-left"),
        ("yolov8", "rgb", 1 / 255, (0, 0, 0), (1, 1, 1), "center"),
        ("yolo-nms-free", "rgb", 1 / 255, (0, 0, 0), (1, 1, 1), "center"),
        ("yolov3", "rgb", 1 / 255, (0, 0, 0), (1, 1, 1), "center"),
    ],
)
def test_what_a_family_fixes_may_be_left_out(
    family: str, color: str, scale: float, mean: tuple[float, ...], std: tuple[float, ...], letterbox: str
) -> None:
    data = {"name": "a", "family": family, "input": {"size": [64, 32]}}
    if family in POSE_FAMILIES:
        data["skeleton"] = "halpe26"
    card = make_card("x", data)
    assert card.task == ("pose" if family in POSE_FAMILIES else "detect")
    assert card.input == InputSpec((64, 32), color, scale, mean, std)
    assert card.letterbox == letterbox


def test_what_a_card_says_wins_over_its_family() -> None:
    data = {"name": "a", "family": "yolox", "letterbox": "center", "input": {"size": [64, 64], "color": "rgb"}}
    card = make_card("x", data)
    assert (card.letterbox, card.input.color, card.input.scale) == ("center", "rgb", 1.0)


def test_family_defaults_are_a_copy() -> None:
    family_defaults("yolox")["input"]["color"] = "rgb"
    assert family_defaults("yolox")["input"]["color"] == "bgr"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": "rgb"}, r"f\.yaml: unknown key colour"),
        ({"input": {"size": [64, 64], "means": 0}}, r"f\.yaml: unknown key input\.means"),
        ({"source": {"uri": "x"}}, r"f\.yaml: unknown key source\.uri"),
        ({"input": {}}, r"f\.yaml: key input\.size is missing"),
        ({"input": {"size": [256]}}, r"f\.yaml: key input\.size\.1 is missing"),
        ({"input": {"size": [0, 64]}}, r"f\.yaml: input: size must be two positive numbers .*got \(0, 64\)"),
        ({"input": {"size": [64, 64], "std": [1, 0, 1]}}, r"f\.yaml: input: scale and std must be above 0"),
        ({"input": {"size": [64, 64], "color": "gray"}}, r"f\.yaml: input\.color: .*'bgr' or 'rgb', got 'gray'"),
        ({"family": "yolov9"}, r"f\.yaml: family must be one of heatmap, simcc, .*; got 'yolov9'"),
        ({"family": ["heatmap"]}, r"f\.yaml: family must be one of"),
        ({"task": "detect"}, r"f\.yaml: card: family of task detect must be one of yolox,.*got heatmap"),
        ({"skeleton": None}, r"f\.yaml: card: skeleton must be given for task pose"),
        ({"skeleton": "coco18"}, r"f\.yaml: skeleton: .*got 'coco18'"),
        ({"pad": 300}, r"f\.yaml: card: pad must be 0 to 255, got 300"),
        ({"source": {"sha256": "81C58E40"}}, r"f\.yaml: source: sha256 must be 8 to 64 lower-case hex digits"),
        ({"accuracy": {"ap": 0.5}}, r"f\.yaml: key accuracy\.on is missing"),
    ],
)
def test_a_bad_card_is_refused_with_file_and_key(change: dict[str, object], message: str) -> None:
    with pytest.raises(EngineError, match=message):
        make_card("f.yaml", {**SHORT, **change})


def test_a_detector_has_no_skeleton() -> None:
    with pytest.raises(EngineError, match="skeleton is for task pose"):
        make_card("x", {"name": "a", "family": "yolox", "skeleton": "coco17", "input": {"size": [64, 64]}})


def test_end_to_end_must_say_its_colours() -> None:
    with pytest.raises(EngineError, match=r"key input\.color is missing"):
        make_card("x", {"name": "a", "family": "end2end", "input": {"size": [64, 64]}})


@pytest.mark.parametrize(("text", "message"), [("a: [", "no YAML"), ("- a", "got list"), ("", "got NoneType")])
def test_a_file_that_is_no_card_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "no.yaml"
    file.write_text(text)
    with pytest.raises(EngineError, match=message) as caught:
        read_card(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_on_is_a_key_and_true_a_truth_value() -> None:
    assert load_yaml("{on: yes, published: true, no: off}") == {"on": "yes", "published": True, "no": "off"}


def test_every_family_belongs_to_one_task() -> None:
    assert not set(POSE_FAMILIES) & set(DETECT_FAMILIES)
    assert len(POSE_FAMILIES) + len(DETECT_FAMILIES) == 9


@pytest.mark.parametrize(("imgsz", "size"), [(None, None), (416, (416, 416)), ((256, 192), (256, 192))])
def test_imgsz_is_a_square_or_height_and_width(
    imgsz: int | tuple[int, int] | None, size: tuple[int, int] | None
) -> None:
    assert CardFlags(imgsz=imgsz).size == size


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (InputSpec((1, 1), "bgr"), "BGR 0-255"),
        (InputSpec((1, 1), "rgb", 0.00392157), "RGB 0-1"),
        (InputSpec((1, 1), "rgb", 1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), "RGB ImageNet mean/std"),
        (InputSpec((1, 1), "bgr", 1, (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)), "BGR ImageNet mean/std"),
        (
            InputSpec((1, 1), "rgb", 1, (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)),
            "RGB scale 1 mean [103.53, 116.28, 123.675] std [57.375, 57.12, 58.395]",
        ),
    ],
)
def test_normalisation_is_named_by_its_numbers(spec: InputSpec, words: str) -> None:
    assert input_words(spec) == words


def test_a_card_in_words() -> None:
    assert card_words(make_card("x", SHORT)) == "heat maps, 256x192, RGB ImageNet mean/std, 17 joints (coco17)"
