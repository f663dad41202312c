"""From a configuration to a running session."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astronaut import POSE, SIZE
from fakes import FakeSink, make_result

from engines.backends.base import EngineError
from stream.build import FILE_STEP, open_models, open_session
from stream.build_pipeline import tracker_options
from stream.config import Config, build_options
from stream.meter import Meter
from stream.painter import Painter
from stream.render import Style
from stream.sinks.writer import QUEUE, Writer


def config_for(clip: Path, **keys: Any) -> Config:
    """Of a run by the models that come with the program, as none is named."""
    return build_options(Config, {"source": str(clip), **keys})


def test_results_come_one_after_another_without_windows_or_files(astronaut_clip: Path) -> None:
    with open_session(config_for(astronaut_clip, input={"end_s": 0.3})) as session:
        results = list(session)
    assert [result.frame.index for result in results] == list(range(8))
    assert all(result.tracks.ids.tolist() == [1] for result in results)
    assert results[0].poses.keypoints.shape == (1, 17, 2)
    height, width = SIZE
    inside = (results[0].poses.keypoints >= -100) & (results[0].poses.keypoints <= (width + 100, height + 100))
    assert inside.all()
    assert session.warnings == ()
    assert [stage.name for stage in session.meter.stages()] == ["detect", "pose", "track", "smooth", "output"]


def test_stop_ends_the_iteration_and_the_threads(astronaut_clip: Path) -> None:
    results = []
    with open_session(config_for(astronaut_clip)) as session:
        for result in session:
            results.append(result)
            if len(results) == 5:
                session.stop()
    assert 5 <= len(results) <= 5 + FILE_STEP
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("capture")]


def test_notes_tell_source_models_and_what_they_run_on(astronaut_clip: Path) -> None:
    with open_session(config_for(astronaut_clip)) as session:
        source, detector, pose = session.notes
    assert "320x288, 24 fps, 48 frames (every frame)" in source
    assert detector.startswith("detector: posestream-detect: YOLOX raw, ")
    assert "OpenVINO CPU" in detector
    assert pose.startswith("pose: posestream-pose: heat maps, 256x192")


def test_the_summary_names_the_models_and_better_ones_than_the_embedded(astronaut_clip: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.onnx"
    shutil.copy(POSE, mine)
    for keys, summary in (
        (
            {},
            "posestream-detect (embedded), posestream-pose (embedded); better: python run.py models fetch yolox-s"
            " hrnet-w32, then --detector yolox-s --pose hrnet-w32",
        ),
        (
            {"pose": str(mine)},
            "posestream-detect (embedded), mine; better: python run.py models fetch yolox-s, then --detector yolox-s",
        ),
    ):
        config = config_for(astronaut_clip, models={"precision": "fp32", **keys})
        with open_models(config.models) as models:
            assert models.summary == summary


def test_models_that_are_open_serve_one_run_after_another(astronaut_clip: Path) -> None:
    config = config_for(astronaut_clip, input={"end_s": 0.2}, models={"precision": "fp32"})
    with open_models(config.models) as models:
        runs = []
        for _ in range(2):
            with open_session(config, models) as session:
                runs.append([result.poses.keypoints for result in session])
    assert len(runs[0]) == 5
    assert all(np.array_equal(a, b) for a, b in zip(*runs, strict=True))


def test_an_error_while_opening_leaves_no_output_and_no_thread(astronaut_clip: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    outputs = [str(tmp_path / "out.mp4"), str(tmp_path / "out.jsonl")]
    config = config_for(astronaut_clip, output=outputs)
    config = replace(config, models=replace(config.models, pose=str(tmp_path / "bad.onnx")))
    before = set(threading.enumerate())  # NNCF's tests leave a pool of its own
    with pytest.raises(EngineError, match=r"bad\.onnx"), open_session(config):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["bad.onnx"]
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "no source"),
        ({"source": ["a.mp4", "b.mp4"], "output": ["x.mp4"]}, r"x.mp4: one output for 2 sources.*{source}-x.mp4"),
        ({"source": "a.mp4", "output": ["x.mp4", "./x.mp4"]}, "two outputs to .*x.mp4"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is_opened(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message), open_session(build_options(Config, keys)):
        pass


@pytest.mark.parametrize(
    ("confidence", "wanted"), [(0.4, (0.2, 0.4, 0.5)), (0.2, (0.2, 0.2, 0.25)), (0.05, (0.05, 0.05, 0.0625))]
)
def test_the_confidence_scales_the_scores_of_the_tracker(confidence: float, wanted: tuple[float, ...]) -> None:
    options = tracker_options(build_options(Config, {"detect": {"confidence": confidence}}))
    assert (options.low_score, options.high_score, options.new_score) == pytest.approx(wanted)


@pytest.mark.parametrize("confidence", [0.01, 0.5, 0.9, 0.99])
def test_every_confidence_gives_options_that_hold(confidence: float) -> None:
    options = tracker_options(build_options(Config, {"detect": {"confidence": confidence}}))
    assert options.low_score <= options.high_score == confidence <= options.new_score < 1


def test_a_picture_stays_as_it_is_while_a_writer_may_hold_it() -> None:
    gate = threading.Event()
    sink = FakeSink(gate=gate, keep_pixels=True)
    writer, painter = Writer(sink, "slow", Meter()), Painter(Style(ids=False))

    def produce() -> None:
        for index in range(20):
            result = make_result(index, people=0)
            writer.write(result, painter.paint(result))
            if index == QUEUE:
                gate.set()  # By now the sink holds one picture and the queue is full.

    produce()
    writer.close()
    assert sink.pixels == list(range(20))


def test_a_painted_frame_is_left_alone() -> None:
    result = make_result(7, people=1)
    before = result.frame.image.copy()
    picture = Painter(Style()).paint(result)
    assert np.array_equal(result.frame.image, before)
    assert not np.array_equal(picture.image, before)


def fail_at(index: int, config: Config) -> None:
    with open_session(config) as session:
        for result in session:
            if result.frame.index == index:
                raise RuntimeError("the user's own")


def test_a_run_that_fails_leaves_the_file_that_had_the_name(astronaut_clip: Path, tmp_path: Path) -> None:
    film, records = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    film.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="the user's own"):
        fail_at(3, config_for(astronaut_clip, output=[str(film), str(records)], overwrite=True))
    assert film.read_bytes() == b"old"
    assert (tmp_path / "out.part.mp4").stat().st_size > 1000
    assert len(records.read_text().splitlines()) == 4
