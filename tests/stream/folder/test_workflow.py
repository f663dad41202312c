from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydantic import BaseModel, ConfigDict

from engines.backends.base import EngineError
from stream.folder.workflow import Workflow, read_whole

MakePictures = Callable[[dict[str, int]], Path]
MakeWorkflow = Callable[..., Workflow]


class Schema(BaseModel):
    """Keys as they are named here, in this order, and no others."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @classmethod
    def check(cls, file: Path) -> dict:
        text = file.read_text()
        found = cls.model_validate_json(text)
        assert json.loads(text) == found.model_dump()
        assert list(json.loads(text)) == list(cls.model_fields)
        return json.loads(text)


class Point(Schema):
    x: float
    y: float


class Box(Schema):
    x1: float
    y1: float
    x2: float
    y2: float
    w: float
    h: float
    center: Point


class Annots(Schema):
    path: str
    boxes: list[Box]


class Prediction(Schema):
    width: int
    height: int
    joints: dict[str, tuple[float, float]]


class Input(Schema):
    path: str
    width: int
    height: int


class Person(Schema):
    pred: Prediction
    input: Input


class Inference(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    batch_0: Person


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def inference(root: Path, number: int) -> dict:
    text = (root / "output" / "annots" / f"inference_{number}.json").read_text()
    Inference.model_validate_json(text)
    return json.loads(text)["batch_0"]


def contents(root: Path) -> dict[str, bytes]:
    written = [file for file in root.rglob("*") if file.is_file() and "images" not in file.parts]
    return {str(file.relative_to(root)): file.read_bytes() for file in written}


def test_every_file_of_the_layout_appears(make_pictures: MakePictures, make_workflow: MakeWorkflow) -> None:
    root = make_pictures({"a.jpg": 2, "b.png": 0, "c.webp": 1})
    outcomes = list(make_workflow(root))
    assert [(o.picture.path.name, o.state, o.people) for o in outcomes] == [
        ("a.jpg", "done", 2), ("b.png", "done", 0), ("c.webp", "done", 1),
    ]  # fmt: skip
    assert names(root / "annots") == ["a.json", "b.json", "c.json"]
    assert names(root / "cuts") == ["a-0.jpg", "a-1.jpg", "c-0.jpg"]
    assert names(root / "inspect") == names(root / "final") == ["a.jpg", "b.jpg", "c.jpg"]
    assert names(root / "output" / "poses") == ["a.json", "b.json", "c.json"]
    assert names(root / "output" / "annots") == [f"inference_{i}.json" for i in range(3)]
    assert (
        names(root / "output" / "debug")
        == names(root / "output" / "inspect")
        == [f"inference_{i}.jpg" for i in range(3)]
    )


def test_boxes_and_cuts_are_those_of_the_people(make_pictures: MakePictures, make_workflow: MakeWorkflow) -> None:
    root = make_pictures({"a.png": 2})
    list(make_workflow(root))
    annots = Annots.check(root / "annots" / "a.json")
    assert annots["path"] == f"{root}/images/a.png"
    assert [[box[k] for k in ("x1", "y1", "w", "h")] for box in annots["boxes"]] == [[10, 20, 30, 60], [70, 20, 30, 60]]
    cut = cv2.imread(str(root / "cuts" / "a-1.jpg"))
    assert cut.shape == (60, 30, 3)
    image = cv2.imread(str(root / "images" / "a.png"))
    assert np.abs(cut.astype(int) - image[20:80, 70:100]).mean() < 12
    inspect = cv2.imread(str(root / "inspect" / "a.jpg"))
    assert np.abs(inspect[50, 10].astype(int) - (0, 0, 255)).max() < 60
    assert inspect.shape == image.shape


def test_a_box_over_the_edge_is_clamped(make_pictures, make_workflow, make_detector) -> None:
    root = make_pictures({"a.png": 1})
    (outcome,) = make_workflow(root, detector=make_detector(spill=25.0))
    assert outcome.state == "done"
    (box,) = Annots.check(root / "annots" / "a.json")["boxes"]
    assert (box["x1"], box["x2"], box["w"], box["center"]) == (0, 65, 65, {"x": 32.5, "y": 30})
    assert cv2.imread(str(root / "cuts" / "a-0.jpg")).shape == (60, 65, 3)


def test_poses_are_told_in_heat_map_cells_and_in_the_picture(make_pictures, make_workflow) -> None:
    root = make_pictures({"a.png": 2})
    list(make_workflow(root))
    for number, left in enumerate((10, 70)):
        person = inference(root, number)
        assert person["input"] == {"path": f"{root}/cuts/a-{number}.jpg", "width": 30, "height": 60}
        assert (person["pred"]["width"], person["pred"]["height"]) == (12, 16)
        assert list(person["pred"]["joints"]) == [f"joint_{k}" for k in range(17)]
        record = json.loads((root / "output" / "poses" / "a.json").read_text())["people"][number]
        assert record["box"] == [left, 20, left + 30, 80]
        x, y, score = record["keypoints"][0]
        assert (x, y) == (pytest.approx(left + 15, abs=3), pytest.approx(40, abs=3))
        assert score == pytest.approx(0.35, abs=0.01)
        # Fitted, not stretched: 60 high and padded by a quarter is 16 cells; both axes share the scale.
        cell_x, cell_y = person["pred"]["joints"]["joint_0"]
        assert cell_x == pytest.approx(6 + (x - left - 15) * 16 / 75, abs=0.01)
        assert cell_y == pytest.approx(8 + (y - 50) * 16 / 75, abs=0.01)
    final = cv2.imread(str(root / "final" / "a.jpg"))
    assert (final[30:50, 15:35, 2] > 150).any()
    assert not (final[90:, :, 2] > 150).any()
    assert [p["score"] for p in json.loads((root / "output/poses/a.json").read_text())["people"]] == [0.9, 0.5]


def test_two_steps_write_what_one_go_does(make_pictures, make_workflow) -> None:
    root = make_pictures({"a.png": 2, "a-1.png": 1, "b.jpg": 3})
    list(make_workflow(root))
    at_once = contents(root)
    for folder in ("annots", "cuts", "inspect", "final", "output"):
        (root / folder).rename(root / f"old_{folder}")
    list(make_workflow(root, pose=False))
    assert not (root / "final").exists()
    list(make_workflow(root, detect=False))
    two = {name: data for name, data in contents(root).items() if not name.startswith("old_")}
    assert two.keys() == at_once.keys()
    # The file of boxes holds no scores.
    assert {name for name in two if two[name] != at_once[name]} == {f"output/poses/{s}.json" for s in ("a", "a-1", "b")}


def test_people_are_counted_over_cuts_in_lexical_order(make_pictures, make_workflow) -> None:
    root = make_pictures({"a.png": 2, "a-1.png": 2, "b.png": 1})
    list(make_workflow(root, batch_size=1))
    cuts = [Path(inference(root, i)["input"]["path"]).name for i in range(5)]
    assert cuts == names(root / "cuts") == ["a-0.jpg", "a-1-0.jpg", "a-1-1.jpg", "a-1.jpg", "b-0.jpg"]


def test_pictures_go_through_the_networks_together(
    make_pictures, make_workflow, make_detector, make_poser, network
) -> None:
    root = make_pictures({f"{i}.png": 1 for i in range(5)})
    detector = make_detector()
    list(make_workflow(root, detector=detector, poser=make_poser(network=network), batch_size=3))
    assert detector.batches == network.batches == [3, 2]


def test_what_cannot_be_read_fails_by_name_and_the_others_are_done(make_pictures, make_workflow) -> None:
    root = make_pictures({"a.jpg": 1, "e.jpg": 1})
    (root / "images" / "b.png").write_bytes(b"no picture")
    (root / "images" / "c.webp").write_bytes(b"")
    jpeg = (root / "images" / "a.jpg").read_bytes()
    (root / "images" / "d.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    found = {o.picture.path.name: (o.state, o.fault) for o in make_workflow(root)}
    assert {name for name, (state, _) in found.items() if state == "done"} == {"a.jpg", "e.jpg"}
    assert "no picture that can be read" in found["b.png"][1]
    assert found["c.webp"][1] == "is empty"
    assert "cut short" in found["d.jpg"][1]
    assert names(root / "final") == ["a.jpg", "e.jpg"]
    assert names(root / "output" / "annots") == ["inference_0.json", "inference_1.json"]


def test_nothing_stale_is_left_or_read(make_pictures, make_workflow) -> None:
    root = make_pictures({"a.png": 3, "b.png": 1, "gone.png": 1})
    list(make_workflow(root))
    (root / "images" / "gone.png").unlink()
    make_pictures({"a.png": 1})
    (root / "images" / "b.png").write_bytes(b"broken now")
    list(make_workflow(root))
    assert names(root / "annots") == ["a.json", "gone.json"]
    assert names(root / "cuts") == ["a-0.jpg", "gone-0.jpg"]
    assert names(root / "output" / "annots") == ["inference_0.json"]
    assert names(root / "output" / "debug") == names(root / "output" / "inspect") == ["inference_0.jpg"]
    assert "b.jpg" not in names(root / "final")
    list(make_workflow(root, detect=False))
    assert names(root / "output" / "annots") == ["inference_0.json"]


def test_a_person_whose_cut_was_deleted_is_left_out(make_pictures, make_workflow) -> None:
    root = make_pictures({"a.png": 3})
    list(make_workflow(root, pose=False))
    (root / "cuts" / "a-1.jpg").unlink()
    (outcome,) = make_workflow(root, detect=False)
    assert (outcome.people, outcome.left_out) == (2, 1)
    assert [Path(inference(root, i)["input"]["path"]).name for i in range(2)] == ["a-0.jpg", "a-2.jpg"]


def test_boxes_alone_will_do_where_there_are_no_cuts(make_pictures, make_workflow) -> None:
    root = make_pictures({"a.png": 1})
    (root / "annots").mkdir()
    box = {"x1": -40.5, "y1": 20, "x2": 39.5, "y2": 80}
    (root / "annots" / "a.json").write_text(json.dumps({"path": "elsewhere/a.png", "boxes": [box]}))
    (outcome,) = make_workflow(root, detect=False)
    assert (outcome.state, outcome.people) == ("done", 1)
    assert inference(root, 0)["input"] == {"path": f"{root}/cuts/a-0.jpg", "width": 39, "height": 60}


def test_the_pose_step_names_pictures_without_boxes(make_pictures, make_workflow) -> None:
    root = make_pictures({"a.png": 1, "b.png": 1})
    list(make_workflow(root, pose=False))
    (root / "annots" / "a.json").unlink()
    first, second = make_workflow(root, detect=False)
    assert (first.state, first.fault) == ("failed", f"{root}/annots/a.json is missing; run the step detect first")
    assert second.state == "done"


def states(workflow: Workflow) -> list[str]:
    return [outcome.state for outcome in workflow]


@pytest.mark.parametrize("steps", [{}, {"pose": False}])
def test_resuming_passes_finished_pictures_by(make_pictures, make_workflow, steps: dict[str, bool]) -> None:
    root = make_pictures({"a.png": 2, "b.png": 1})
    list(make_workflow(root, **steps))
    before = contents(root)
    assert states(make_workflow(root, resume=True, **steps)) == ["finished before"] * 2
    assert contents(root) == before


def test_resuming_does_what_is_new_changed_or_half_done_and_numbers_all_anew(make_pictures, make_workflow) -> None:
    root = make_pictures({"b.png": 2, "c.png": 1, "d.png": 1})
    list(make_workflow(root))
    make_pictures({"a.png": 1})
    os.utime(root / "images" / "c.png", ns=(0, (root / "output/poses/c.json").stat().st_mtime_ns + 1))
    (root / "final" / "d.jpg").unlink()
    assert states(make_workflow(root, resume=True)) == ["done", "finished before", "done", "done"]
    resumed = contents(root)
    cuts = [Path(inference(root, i)["input"]["path"]).name for i in range(5)]
    assert cuts == ["a-0.jpg", "b-0.jpg", "b-1.jpg", "c-0.jpg", "d-0.jpg"]
    list(make_workflow(root))
    assert contents(root) == resumed


def test_left_in_the_middle_what_was_begun_is_whole_and_the_rest_can_be_resumed(make_pictures, make_workflow) -> None:
    root = make_pictures({f"{i}.png": 1 for i in range(9)})
    outcomes = iter(make_workflow(root, batch_size=1))
    next(outcomes)
    outcomes.close()
    done = names(root / "output" / "poses")
    assert 1 <= len(done) < 9
    assert names(root / "output" / "annots") == [f"inference_{i}.json" for i in range(len(done))]
    assert not list(root.rglob("*.part*"))
    found = states(make_workflow(root, resume=True))
    assert found.count("finished before") == len(done)
    partly = contents(root)
    list(make_workflow(root))
    assert contents(root) == partly


def test_a_network_that_fails_ends_the_run_after_what_was_begun(make_pictures, make_workflow, make_detector) -> None:
    class Failing(make_detector):
        def detect(self, images):
            if len(self.batches) == 2:
                raise EngineError("out of memory")
            return super().detect(images)

    root = make_pictures({f"{i}.png": 1 for i in range(6)})
    with pytest.raises(EngineError, match="out of memory"):
        list(make_workflow(root, detector=Failing(), batch_size=1))
    assert names(root / "final") == ["0.jpg", "1.jpg"]
    assert names(root / "output" / "annots") == ["inference_0.json", "inference_1.json"]


def test_a_picture_that_cannot_be_written_fails_by_name(make_pictures, make_workflow) -> None:
    root = make_pictures({"a.png": 1, "b.png": 1})
    (root / "final" / "a.jpg" / "in the way").mkdir(parents=True)
    outcomes = []
    with pytest.raises(OSError, match=r"a\.jpg"):
        outcomes += make_workflow(root)
    assert outcomes == []


def test_pictures_are_read_in_threads_and_memory_holds_few(make_pictures, make_workflow, make_detector) -> None:
    root = make_pictures({f"{i:02}.png": 0 for i in range(20)})
    workflow = make_workflow(root, batch_size=2)
    outcomes = iter(workflow)
    next(outcomes)
    assert any(thread.name.startswith("read pictures") for thread in threading.enumerate())
    assert len(names(root / "final")) <= 2 * (2 + 2) + 2
    outcomes.close()


def test_a_whole_picture_is_not_to_be_written_to(make_pictures) -> None:
    image = read_whole(make_pictures({"a.png": 0}) / "images" / "a.png")
    assert not image.flags.writeable
