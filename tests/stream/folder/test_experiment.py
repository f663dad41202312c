from __future__ import annotations

from pathlib import Path

import pytest

from stream.folder.experiment import Experiment, read_experiment

TEXT = """
OUTPUT_DIR: 'out'
GPUS: (0,)
DATASET: {DATASET: custom, ANNOTS: a, IMAGES: i, CUTS: c, FINAL: f, COLOR_RGB: true}
MODEL:
  NAME: pose_hrnet
  NUM_JOINTS: 16
  PRETRAINED: 'net.pth'
  IMAGE_SIZE: [192, 256]
  HEATMAP_SIZE: [48, 64]
  EXTRA: {STAGE2: {NUM_CHANNELS: [32, 64]}}
TEST: {FLIP_TEST: true, POST_PROCESS: false, SHIFT_HEATMAP: false}
DEBUG: {DEBUG: true, SAVE_HEATMAPS_PRED: true}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "w32_192.yaml"
    path.write_text(TEXT)
    return path


def test_every_key_that_is_followed_is_read_with_sizes_turned_to_height_and_width(file: Path) -> None:
    found = read_experiment(file)
    assert (found.name, found.dataset, found.model, found.output) == ("w32_192", "custom", "pose_hrnet", "out")
    assert (found.annots, found.images, found.cuts, found.final) == ("a", "i", "c", "f")
    assert (found.joints, found.skeleton) == (16, "mpii16")
    assert (found.image_size, found.heatmap_size) == ((256, 192), (64, 48))
    assert (found.flip_test, found.post_process, found.shift_heatmap, found.save_heatmaps) == (True, False, False, True)
    assert found.checkpoint == Path("net.pth")
    assert found.network is not None
    assert found.warnings == ()


@pytest.mark.assets
def test_the_users_own_file_is_read_without_a_warning(assets: Path) -> None:
    found = read_experiment(assets / "workflow" / "w32_256x256_adam_lr1e-3.yaml")
    assert found.warnings == ()
    assert found.checkpoint == Path("models/pytorch/pose_mpii/pose_hrnet_w32_256x256.pth")
    assert (found.annots, found.final, found.output) == ("custom/annots", "custom/final", "custom/output")
    assert (found.skeleton, found.image_size, found.heatmap_size) == ("mpii16", (256, 256), (64, 64))
    assert found.flip_test
    assert found.save_heatmaps
    assert found.keys["TRAIN"]["LR_STEP"] == [170, 200]


def test_without_a_file_it_is_what_is_usual() -> None:
    assert read_experiment(None) == Experiment()
    assert Experiment().checkpoint is None
    assert not read_experiment(None, ["DEBUG.SAVE_HEATMAPS_PRED", "False"]).save_heatmaps


def test_a_file_that_does_not_ask_for_heat_maps_gets_none(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("OUTPUT_DIR: out\n")
    assert not read_experiment(tmp_path / "a.yaml").save_heatmaps


def test_unknown_keys_are_kept_and_warned_of_once_each(file: Path) -> None:
    file.write_text(TEXT.replace("TEST: {", "TEST: {FLIPTEST: 1, ") + "MINE: {A: 1, B: 2}\n")
    found = read_experiment(file)
    assert found.warnings == (
        f"{file}: TEST.FLIPTEST is no key of an experiment and is ignored; did you mean TEST.FLIP_TEST?",
        f"{file}: MINE is no key of an experiment and is ignored",
    )
    assert found.keys["MINE"] == {"A": 1, "B": 2}


@pytest.mark.parametrize(
    ("overrides", "field", "value"),
    [
        (["TEST.FLIP_TEST", "False"], "flip_test", False),
        (["TEST.FLIP_TEST", "false"], "flip_test", False),
        (["MODEL.IMAGE_SIZE", "[288,384]"], "image_size", (384, 288)),
        (["MODEL.IMAGE_SIZE", "(288, 384)"], "image_size", (384, 288)),
        (["MODEL.PRETRAINED", "other.pth"], "pretrained", "other.pth"),
        (["TEST.MODEL_FILE", "best.pth"], "checkpoint", Path("best.pth")),
        (["OUTPUT_DIR", "a", "OUTPUT_DIR", "b"], "output", "b"),
        (["MODEL.NUM_JOINTS", "17"], "skeleton", "coco17"),
    ],
)
def test_overrides_win(file: Path, overrides: list[str], field: str, value: object) -> None:
    assert getattr(read_experiment(file, overrides), field) == value


def test_an_override_reaches_into_the_network(file: Path) -> None:
    found = read_experiment(file, ["MODEL.EXTRA.STAGE2.NUM_CHANNELS", "[48, 96]"])
    assert found.network is not None
    assert found.network["EXTRA"]["STAGE2"]["NUM_CHANNELS"] == [48, 96]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["TEST.FLIP_TEST"], "one has no value"),
        (["TEST.FLIPTEST", "True"], r"TEST\.FLIPTEST is no key of an experiment; did you mean TEST\.FLIP_TEST\?"),
        (["TEST.FLIP_TEST", "perhaps"], r"w32_192\.yaml: TEST\.FLIP_TEST: .*got 'perhaps'"),
        (["MODEL.NUM_JOINTS", "15"], r"w32_192\.yaml: MODEL\.NUM_JOINTS: .*got 15"),
        (["MODEL.IMAGE_SIZE", "[0, 256]"], r"w32_192\.yaml: MODEL\.IMAGE_SIZE: .*got"),
        (["DATASET.DATASET", "../up"], r"w32_192\.yaml: DATASET\.DATASET: .*got '\.\./up'"),
        (["DATASET.DATASET", ".."], r"w32_192\.yaml: DATASET\.DATASET: "),
        (["OUTPUT_DIR.SUB", "1"], "OUTPUT_DIR.SUB is no key"),
    ],
)
def test_what_is_wrong_is_refused_by_file_and_key(file: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_experiment(file, overrides)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1\n", "is a mapping of keys, got list"),
        ("a: [", "no YAML"),
        ("MODEL: 5\n", "MODEL must be a mapping"),
        ("", "got NoneType"),
    ],
)
def test_a_file_that_is_no_experiment_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"x\.yaml: .*{message}"):
        read_experiment(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.yaml: no such experiment"):
        read_experiment(tmp_path / "gone.yaml")


def test_a_checkpoint_may_lie_beside_the_file(file: Path) -> None:
    (file.parent / "net.pth").write_bytes(b"")
    assert read_experiment(file).checkpoint == file.parent / "net.pth"
