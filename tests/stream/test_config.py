"""YAML, settings and flags become option classes."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.config import Config, load_config, to_yaml

CONFIGS = Path(__file__).parents[2] / "configs"


def load(tmp_path: Path, text: str, *settings: str, **flags: object) -> Config:
    file = tmp_path / "config.yaml"
    file.write_text(text, encoding="utf-8")
    return load_config(file, settings, flags)


def test_nothing_said_is_the_defaults() -> None:
    assert load_config(None, [], {}) == Config()


def test_later_words_win(tmp_path: Path) -> None:
    text = "detect: {confidence: 0.3, iou: 0.6, every: 2}"
    config = load(tmp_path, text, "detect.iou=0.7", "detect.every=3", **{"detect.every": 4})
    assert (config.detect.confidence, config.detect.iou, config.detect.every) == (0.3, 0.7, 4)


def test_one_source_needs_no_list(tmp_path: Path) -> None:
    assert load(tmp_path, "source: clip.mp4").source == ("clip.mp4",)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("detct.iou=0.5", "unknown key detct; did you mean detect?"),
        ("detect.confidense=0.5", "unknown key detect.confidense; did you mean detect.confidence?"),
        ("detect.zzz=1", "unknown key detect.zzz; there are confidence, iou"),
        ("detect=1", "detect must be a mapping of keys, got 1"),
        ("detect.every=often", "detect.every: input should be a valid integer"),
        ("detect.every=0", "detect: every and max_people must be 1 or more, got 0 and None"),
        ("detect.confidence=2", "detect: confidence must lie between 0 and 1, got 2"),
        ("live.max_age_s=0", "live: max_age_s must be above 0, got 0.0; write for example 0.2"),
        ("live.max_age_s=200ms", "live.max_age_s: input should be a valid number"),
        ("smooth=maybe", "smooth: input should be 'auto', 'on' or 'off', got 'maybe'"),
        ("show", "a setting is key=value, got 'show'"),
        ("show=[", "show: no YAML value"),
        ("show.loud=1", "show must be a mapping of keys|show: input should be"),
        ("models.detector_card.family=yolo99", "models.detector_card.family: input should be 'heatmap'"),
    ],
)
def test_a_wrong_setting_is_named(setting: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        load_config(None, [setting], {})


def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a configuration is a mapping of keys, got list"):
        load(tmp_path, "- source")


def test_a_file_that_is_no_yaml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"config\.yaml: no YAML"):
        load(tmp_path, "a: [")


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    assert load(tmp_path, "# nothing\n") == Config()


@pytest.mark.parametrize("settings", [[], ["source=clip.mp4", "detect.max_people=3", "models.pose_card.mean=[1,2,3]"]])
def test_a_printed_configuration_gives_itself_again(tmp_path: Path, settings: list[str]) -> None:
    config = load_config(None, settings, {})
    assert load(tmp_path, to_yaml(config)) == config


@pytest.mark.parametrize("name", ["webcam.yaml", "file.yaml", "rtsp.yaml"])
def test_the_shipped_configurations_load_and_say_only_what_differs(name: str) -> None:
    config = load_config(CONFIGS / name, [], {})
    assert config != Config()
