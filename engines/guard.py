"""How far one way to run a network is from another, and whether that is near enough to be used."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from engines.agreement import box_agreement, joint_agreement, pose_agreement
from engines.backends.base import Backend, TensorSpec
from engines.cards import InputSpec, ModelCard, Task
from engines.guard_pictures import JOINTS, Scene, drawn_scenes
from engines.hrnet import PoseEstimator
from engines.results import Detections, Image, Poses
from engines.verdict import BARS, Verdict
from engines.yolo import DetectorOptions, PersonDetector

Floats = NDArray[np.float32]
T = TypeVar("T")

VERSION: Final = 2
"""Of what is compared here; raised where a change makes older verdicts worthless."""
DRAWN: Final[dict[Task, int]] = {"detect": 12, "pose": 5}
"""Drawn pictures: HRNet-W32 takes 0.1 s a person on a small CPU, twice, and the first opening waits for it."""
STEP: Final = 4
"""Pictures that go through the networks together: their raw outputs are held."""
LOOSE: Final = DetectorOptions(confidence=0.05)
"""What the candidate reports; fp32's boxes at the usual confidence are the truth, and a score may move about it."""
KNOWS_PEOPLE: Final = 0.5
"""OKS of fp32's joints on the drawn ones, from which it is a network for people; one of random weights reaches 0.1."""
NMS_INSIDE: Final = ("yolo-nms-free", "end2end")
"""Families whose outputs are rows in the order of their scores: two that swap places mean the same."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The `largest` |difference| of two outputs, and the `relative` one: its norm by the norm of what is wanted.

    Not a number, and never within a bound, where one of them is not finite.
    """

    largest: float
    relative: float

    def __str__(self) -> str:
        return f"{self.largest:.1e} (relative {self.relative:.1e})"


def noise(spec: InputSpec, rows: int) -> Floats:
    """Random pictures as a network sees them, (rows, 3, height, width) of its own range, always the same."""
    pixels = np.random.default_rng(0).uniform(0, 255, (rows, *spec.size, 3))
    batch = (pixels * spec.scale - spec.mean) / spec.std
    return np.ascontiguousarray(batch.transpose(0, 3, 1, 2), np.float32)


def compare(got: Floats, wanted: Floats) -> Difference:
    """How far `got` is from `wanted`, of one shape; ValueError where they are not."""
    if got.shape != wanted.shape:
        raise ValueError(f"outputs to compare must be of one shape, got {got.shape} and {wanted.shape}")
    if not (np.isfinite(got).all() and np.isfinite(wanted).all()):
        return Difference(float("nan"), float("nan"))
    difference = got.astype(np.float64) - wanted
    norm = float(np.linalg.norm(wanted)) or 1.0
    return Difference(float(np.abs(difference).max(initial=0)), float(np.linalg.norm(difference)) / norm)


def judge(
    candidate: Backend,
    reference: Backend,
    card: ModelCard,
    precision: str,
    pictures: Sequence[Image] = (),
    boxes: Sequence[Floats] | None = None,
) -> Verdict:
    """Whether `candidate`, in `precision`, may stand for `reference`, the same model in fp32.

    Heat maps are compared number by number on drawn pictures. What is found is compared on these and on `pictures`, and
    the lower figure counts: boxes by AP, fp32's being the truth, and key points by OKS to fp32's, in the `boxes`
    (M_i, 4) of the people in each picture (None: each picture is of one person). A detector's raw outputs are not
    compared: they are boxes for every cell of the picture, of which all but a few are of nobody and were never taught
    anything. Only where fp32 finds nobody, and where a pose network is not one for people, as those of random weights,
    raw outputs are all there is, and are judged by the bar of heat maps.
    """
    drawn = drawn_scenes(DRAWN[card.task])
    whole = [np.array([[0, 0, image.shape[1], image.shape[0]]], np.float32) for image in pictures]
    given = [Scene(image, own) for image, own in zip(pictures, whole if boxes is None else boxes, strict=True)]
    pair = _Pair(_Watched(candidate), _Watched(reference))
    figures = (_detector_figures if card.task == "detect" else _pose_figures)(pair, card, drawn, given)
    on = f"{len(drawn)} drawn pictures{figures.on}"
    return Verdict(
        precision, candidate.name, reference.name, on, BARS[precision], figures.relative, figures.ap, figures.oks
    )


@dataclass(frozen=True, slots=True)
class _Figures:
    """What a Verdict says of the comparison; `on` are words behind `12 drawn pictures`."""

    on: str
    relative: float | None
    ap: float | None = None
    oks: float | None = None


def _detector_figures(pair: _Pair, card: ModelCard, drawn: list[Scene], given: list[Scene]) -> _Figures:
    loose, usual = PersonDetector(pair.candidate, card, LOOSE), PersonDetector(pair.reference, card)

    def run(scenes: list[Scene]) -> _Both[Detections]:
        return pair.run(scenes, lambda s: loose.detect(_images(s)), lambda s: usual.detect(_images(s)))

    first = run(drawn)
    last = run(given) if given else first
    ap = _lower(box_agreement(first.found, first.truth), box_agreement(last.found, last.truth))
    on = _given_words(given, sum(len(true.boxes) for true in last.truth)) if given else ""
    counts = ap is None and card.family not in NMS_INSIDE
    return _Figures(on, _counted(first, last, counts), ap=ap)


def _pose_figures(pair: _Pair, card: ModelCard, drawn: list[Scene], given: list[Scene]) -> _Figures:
    ours, theirs = PoseEstimator(pair.candidate, card), PoseEstimator(pair.reference, card)

    def run(scenes: list[Scene]) -> _Both[Poses]:
        return pair.run(
            scenes, lambda s: ours.estimate(_images(s), _boxes(s)), lambda s: theirs.estimate(_images(s), _boxes(s))
        )

    first = run(drawn)
    known = joint_agreement(first.truth, [scene.joints for scene in drawn], _boxes(drawn), JOINTS) >= KNOWS_PEOPLE
    if not known:
        return _Figures(", in which it finds no joints", first.relative)
    last = run(given) if given else first
    oks = _lower(
        pose_agreement(first.found, first.truth, _boxes(drawn)),
        pose_agreement(last.found, last.truth, _boxes(given or drawn)),
    )
    on = _given_words(given, sum(map(len, _boxes(given)))) if given else ""
    return _Figures(on, _counted(first, last, oks is None or card.family == "heatmap"), oks=oks)


def _lower(drawn: float | None, given: float | None) -> float | None:
    """Of both figures, as far as there are any, the lower: neither kind of pictures makes up for the other."""
    return min((figure for figure in (drawn, given) if figure is not None), default=None)


def _counted(first: _Both[T], last: _Both[T], counts: bool) -> float | None:
    """The distance on the drawn pictures where it `counts`; not a number, which always counts, where any is not."""
    if math.isnan(first.relative + last.relative):
        return math.nan
    return first.relative if counts else None


def _given_words(given: list[Scene], people: int) -> str:
    return f" and {len(given)} given ones with {people} people"


def _images(scenes: list[Scene]) -> list[Image]:
    return [scene.image for scene in scenes]


def _boxes(scenes: list[Scene]) -> list[Floats]:
    return [scene.boxes for scene in scenes]


class _Watched:
    """A Backend that keeps the outputs of its calls until they are taken. It does not own the one that it asks."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.given: list[tuple[Floats, ...]] = []

    @property
    def name(self) -> str:
        return self._backend.name

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self._backend.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self._backend.outputs

    def infer(self, batch: Floats) -> tuple[Floats, ...]:
        outputs = self._backend.infer(batch)
        self.given.append(outputs)
        return outputs

    def close(self) -> None: ...

    def take(self) -> list[tuple[Floats, ...]]:
        """The outputs since the last time."""
        taken, self.given = self.given, []
        return taken


@dataclass(frozen=True, slots=True)
class _Both(Generic[T]):
    """What a candidate `found` in some pictures, what its reference did, and how far their raw outputs are apart.

    `relative` is the norm of the difference by that of the reference's, not a number where an output was not.
    """

    found: list[T]
    truth: list[T]
    relative: float


@dataclass(frozen=True, slots=True)
class _Pair:
    candidate: _Watched
    reference: _Watched

    def run(
        self, scenes: list[Scene], ours: Callable[[list[Scene]], list[T]], theirs: Callable[[list[Scene]], list[T]]
    ) -> _Both[T]:
        """Both over all of `scenes`, STEP by STEP."""
        found: list[T] = []
        truth: list[T] = []
        apart = norm = 0.0
        finite = True
        for start in range(0, len(scenes), STEP):
            step = scenes[start : start + STEP]
            found += ours(step)
            truth += theirs(step)
            for got, wanted in zip(self.candidate.take(), self.reference.take(), strict=True):
                for one, other in zip(got, wanted, strict=True):
                    finite &= bool(np.isfinite(one).all() and np.isfinite(other).all())
                    if one.shape == other.shape:  # an NMS inside may leave rows of another number
                        apart += float(np.square(one.astype(np.float64) - other).sum())
                        norm += float(np.square(other, dtype=np.float64).sum())
        relative = math.sqrt(apart / norm) if norm else 0.0
        return _Both(found, truth, relative if finite else math.nan)
