"""The skeletons that pose models speak: joints, limbs, mirror pairs and OKS sigmas."""

from __future__ import annotations

from engines.results import Skeleton

# COCO's own sigmas (cocoapi, cocoeval.py); HALPE-26 begins with the same seventeen joints.
_COCO_SIGMAS = (
    *(0.026, 0.025, 0.025, 0.035, 0.035),  # head
    *(0.079, 0.079, 0.072, 0.072, 0.062, 0.062),  # arms
    *(0.107, 0.107, 0.087, 0.087, 0.089, 0.089),  # legs
)

COCO17 = Skeleton(
    name="coco17",
    names=(
        *("nose", "left_eye", "right_eye", "left_ear", "right_ear"),
        *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
        *("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
    ),
    limbs=(
        *((15, 13), (13, 11), (16, 14), (14, 12), (11, 12)),
        *((5, 11), (6, 12), (5, 6), (5, 7), (7, 9), (6, 8), (8, 10)),
        *((1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6)),
    ),
    pairs=((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16)),
    sigmas=_COCO_SIGMAS,
)

MPII16 = Skeleton(
    name="mpii16",
    names=(
        *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
        *("pelvis", "thorax", "upper_neck", "head_top"),
        *("right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist"),
    ),
    limbs=(
        *((0, 1), (1, 2), (2, 6), (5, 4), (4, 3), (3, 6), (6, 7), (7, 8), (8, 9)),
        *((10, 11), (11, 12), (12, 7), (15, 14), (14, 13), (13, 7)),
    ),
    pairs=((5, 0), (4, 1), (3, 2), (15, 10), (14, 11), (13, 12)),
    # MPII is scored by PCKh and has no sigmas of its own: COCO's for the joints that both have, and MMPose's
    # (configs/_base_/datasets/mpii.py) for pelvis, thorax, neck and head.
    sigmas=(
        *(0.089, 0.087, 0.107, 0.107, 0.087, 0.089),
        *(0.026, 0.026, 0.026, 0.026),
        *(0.062, 0.072, 0.079, 0.079, 0.072, 0.062),
    ),
)

HALPE26 = Skeleton(
    name="halpe26",
    names=(
        *COCO17.names,
        *("head", "neck", "hip"),
        *("left_big_toe", "right_big_toe", "left_small_toe", "right_small_toe", "left_heel", "right_heel"),
    ),
    limbs=(
        *((15, 13), (13, 11), (11, 19), (16, 14), (14, 12), (12, 19), (17, 18), (18, 19)),
        *((18, 5), (5, 7), (7, 9), (18, 6), (6, 8), (8, 10)),
        *((1, 2), (0, 1), (0, 2), (1, 3), (2, 4)),
        *((15, 20), (15, 22), (15, 24), (16, 21), (16, 23), (16, 25)),
    ),
    pairs=(*COCO17.pairs, (20, 21), (22, 23), (24, 25)),
    # Halpe-FullBody's evaluation (halpecocotools, cocoeval.py), as MMPose's halpe26.py quotes it.
    sigmas=(*_COCO_SIGMAS, 0.026, 0.026, 0.066, *(0.079,) * 6),
)

_BY_NAME = {known.name: known for known in (COCO17, MPII16, HALPE26)}


def skeleton(name: str) -> Skeleton:
    """Return the skeleton called `name`; raises ValueError with the known names where there is none."""
    try:
        return _BY_NAME[name]
    except KeyError:
        raise ValueError(f"no skeleton is called {name!r}; known: {', '.join(_BY_NAME)}") from None


def joint_sides(skeleton: Skeleton) -> tuple[int, ...]:
    """Return the side of each joint: -1 the body's left, 0 its middle, +1 its right, by the mirror pairs."""
    sides = dict.fromkeys((left for left, _ in skeleton.pairs), -1) | dict.fromkeys((r for _, r in skeleton.pairs), 1)
    return tuple(sides.get(joint, 0) for joint in range(len(skeleton.names)))


def limb_sides(skeleton: Skeleton) -> tuple[int, ...]:
    """Return the side of each limb: that of its joints; 0 where it joins left and right."""
    sides = joint_sides(skeleton)
    sums = (sides[a] + sides[b] for a, b in skeleton.limbs)
    return tuple((total > 0) - (total < 0) for total in sums)
