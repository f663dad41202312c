"""COCO's files and scores: annotated people, boxes and poses as results, and their average precision (AP)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engines.annotated import locate_pictures, read_json
from engines.backends.base import EngineError
from engines.oks import OKS_NMS, oks_nms, pose_scores
from engines.results import Detections, Poses, Skeleton
from engines.skeletons import COCO17

PERSON: Final = 1
"""COCO's number of the category person."""
JOINTS: Final = len(COCO17.names)


@dataclass(frozen=True, slots=True, eq=False)
class CocoPicture:
    """An annotated picture and those of its people who have key points and are no crowd.

    `size` is (height, width). `keypoints` is (P, 17, 2) float32 xy and `visible` (P, 17), both all zero where a joint
    is not annotated; `boxes` is (P, 4) float32 xyxy, `areas` (P,) float32 in square pixels.
    """

    number: int
    path: Path
    size: tuple[int, int]
    keypoints: NDArray[np.float32]
    visible: NDArray[np.bool_]
    boxes: NDArray[np.float32]
    areas: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class CocoTruth:
    """An annotation file and its pictures, in its order."""

    file: Path
    pictures: tuple[CocoPicture, ...]

    @property
    def people(self) -> int:
        """How many people have key points."""
        return sum(len(picture.boxes) for picture in self.pictures)


@dataclass(frozen=True, slots=True)
class PoseRules:
    """How poses become results.

    Of two poses more alike than `oks_nms` (OKS) the better one stays; None keeps all. `rescore` multiplies the score of
    the box by that of the joints.
    """

    oks_nms: float | None = OKS_NMS
    rescore: bool = True

    def __post_init__(self) -> None:
        if self.oks_nms is not None and not 0 < self.oks_nms < 1:
            raise ValueError(f"oks_nms must lie between 0 and 1, got {self.oks_nms}")


@dataclass(frozen=True, slots=True)
class CocoScores:
    """AP and AR over IoU or OKS 0.50 to 0.95; AP at 0.50 and 0.75, of people of medium and of large size.

    None where nobody of the kind is annotated.
    """

    ap: float | None
    ap50: float | None
    ap75: float | None
    ap_medium: float | None
    ap_large: float | None
    ar: float | None


def read_truth(file: Path, images: Path | None = None) -> CocoTruth:
    """Read a COCO annotation file; its pictures lie in `images`, or where `locate_pictures` finds them.

    Raises FileNotFoundError where it or a picture is not there, ValueError where it is no such file.
    """
    data = read_json(file)
    try:
        entries = list(data["images"])
        people: dict[int, list[Mapping[str, Any]]] = {int(entry["id"]): [] for entry in entries}
        for annotation in data["annotations"]:
            if _has_pose(annotation):
                people[annotation["image_id"]].append(annotation)
        names = [str(entry["file_name"]) for entry in entries]
        rows = [(int(e["id"]), (int(e["height"]), int(e["width"])), _people(people[e["id"]])) for e in entries]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file}: no COCO annotations ({_say(error)}); name one like person_keypoints_val2017.json") \
            from error  # fmt: skip
    paths = locate_pictures(file, names, images)
    return CocoTruth(
        file, tuple(CocoPicture(row[0], path, row[1], *row[2]) for row, path in zip(rows, paths, strict=True))
    )


def read_detections(file: Path, truth: CocoTruth) -> dict[int, Detections]:
    """The people's boxes in a COCO results file by picture, best first; those of other pictures are passed over.

    Raises ValueError where it is no such file or has nothing for any of the pictures.
    """
    data = read_json(file)
    found: dict[int, list[list[float]]] = {picture.number: [] for picture in truth.pictures}
    try:
        for entry in data:
            if entry["category_id"] == PERSON and entry["image_id"] in found:
                left, top, width, height = entry["bbox"]
                found[entry["image_id"]].append([left, top, left + width, top + height, entry["score"]])
        boxes = {number: _detections(rows) for number, rows in found.items()}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file}: no COCO results ({_say(error)}), which list image_id, category_id, bbox, score") \
            from error  # fmt: skip
    if not any(found.values()):
        raise ValueError(f"{file}: has nobody in any picture of {truth.file}; name two files of one set")
    return boxes


def truth_boxes(truth: CocoTruth) -> dict[int, Detections]:
    """The boxes of the annotated people by picture, in their order, each with score 1."""
    return {p.number: Detections(p.boxes, np.ones(len(p.boxes), np.float32)) for p in truth.pictures}


def box_results(boxes: Mapping[int, Detections]) -> list[dict[str, Any]]:
    """Boxes by picture as COCO wants them: left, top, width, height."""
    return [
        {"image_id": number, "category_id": PERSON, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score}
        for number, found in boxes.items()
        for (x1, y1, x2, y2), score in zip(found.boxes.tolist(), found.scores.tolist(), strict=True)
    ]


def pose_results(
    boxes: Mapping[int, Detections],
    poses: Mapping[int, Poses],
    areas: Mapping[int, NDArray[np.float64]],
    rules: PoseRules,
) -> list[dict[str, Any]]:
    """Poses by picture as COCO wants them; row i of a picture's poses is from row i of its boxes.

    `areas` (M,), those of the crops, are what poses are judged alike by. Raises EngineError where the joints do not
    begin with COCO's.
    """
    results = []
    for number, found in boxes.items():
        check_joints(poses[number].skeleton)
        points, joints = poses[number].keypoints[:, :JOINTS], poses[number].scores[:, :JOINTS]
        scores = pose_scores(found.scores, joints) if rules.rescore else found.scores.astype(np.float64)
        kept = np.arange(len(scores))
        if rules.oks_nms is not None:
            kept = oks_nms(points, scores, areas[number], COCO17.sigmas, rules.oks_nms)
        rows = np.concatenate([points, joints[..., None]], axis=-1)[kept].reshape(-1, 3 * JOINTS)  # (M, 51)
        for row, score in zip(rows.tolist(), scores[kept].tolist(), strict=True):
            results.append({"image_id": number, "category_id": PERSON, "keypoints": row, "score": score})
    return results


def check_joints(skeleton: Skeleton) -> None:
    """Raise EngineError unless the joints of a skeleton begin with those of COCO."""
    if skeleton.names[:JOINTS] != COCO17.names:
        raise EngineError(f"{skeleton.name}: COCO scores its own {JOINTS} joints; choose a model that has them")


def score_boxes(truth: CocoTruth, results: list[dict[str, Any]]) -> CocoScores:
    """The scores of people's boxes, 100 a picture at most."""
    return _score(truth, results, "bbox", (0, 1, 2, 4, 5, 8))


def score_poses(truth: CocoTruth, results: list[dict[str, Any]]) -> CocoScores:
    """The scores of poses, 20 a picture at most."""
    return _score(truth, results, "keypoints", (0, 1, 2, 3, 4, 5))


def check_library() -> None:
    """Raise EngineError where the library that does COCO's arithmetic is missing."""
    try:
        import faster_coco_eval  # noqa: F401
    except ImportError as error:
        raise EngineError("faster-coco-eval is missing; pip install 'posestream[eval]'") from error


def _score(truth: CocoTruth, results: list[dict[str, Any]], kind: str, places: tuple[int, ...]) -> CocoScores:
    """The scores at `places` of the library's summary, in the order of CocoScores."""
    check_library()
    from faster_coco_eval import COCO, COCOeval_faster

    annotated = COCO(str(truth.file))
    evaluation = COCOeval_faster(annotated, annotated.loadRes(results), kind, print_function=lambda *_: None)
    evaluation.params.catIds = [PERSON]
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    numbers = [float(evaluation.stats[place]) for place in places]
    return CocoScores(*(number if number >= 0 else None for number in numbers))


def _has_pose(annotation: Mapping[str, Any]) -> bool:
    crowd, joints = annotation.get("iscrowd", 0), annotation.get("keypoints", ())
    return annotation["category_id"] == PERSON and not crowd and any(joints[2::3])


def _people(
    people: Sequence[Mapping[str, Any]],
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float32], NDArray[np.float32]]:
    """Key points, visibility, boxes and areas of a picture's people, as CocoPicture has them."""
    joints = np.array([person["keypoints"] for person in people], np.float32).reshape(-1, JOINTS, 3)
    boxes = np.array([person["bbox"] for person in people], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return joints[..., :2], joints[..., 2] > 0, boxes, np.array([person["area"] for person in people], np.float32)


def _detections(rows: Sequence[Sequence[float]]) -> Detections:
    """Boxes and scores of rows (N, 5), best first."""
    table = np.array(rows, np.float32).reshape(-1, 5)
    table = table[np.argsort(-table[:, 4], kind="stable")]
    return Detections(table[:, :4], table[:, 4])


def _say(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
