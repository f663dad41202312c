"""The joints, limbs and mirror pairs of the skeletons."""

from __future__ import annotations

import pytest

from engines.cards import JOINTS
from engines.results import Skeleton
from engines.skeletons import COCO17, HALPE26, MPII16, joint_sides, limb_sides, skeleton

ALL = pytest.mark.parametrize("body", [COCO17, MPII16, HALPE26], ids=lambda body: body.name)


@ALL
def test_every_joint_has_one_name_and_one_sigma(body: Skeleton) -> None:
    assert len(set(body.names)) == len(body.names) == len(body.sigmas) == JOINTS[body.name]
    assert all(0.02 < sigma < 0.11 for sigma in body.sigmas)


@ALL
def test_pairs_are_all_left_and_right_joints_of_one_kind(body: Skeleton) -> None:
    by_name = {
        (body.names.index(name), body.names.index(name.replace("left", "right")))
        for name in body.names
        if name.startswith("left_")
    }
    assert set(body.pairs) == by_name
    assert sum(name.startswith("right_") for name in body.names) == len(body.pairs)


@ALL
def test_left_and_right_joints_have_equal_sigmas(body: Skeleton) -> None:
    assert all(body.sigmas[left] == body.sigmas[right] for left, right in body.pairs)


@ALL
def test_limbs_look_the_same_in_a_mirror(body: Skeleton) -> None:
    mirror = dict(enumerate(range(len(body.names)))) | dict(body.pairs) | {right: left for left, right in body.pairs}
    limbs = {frozenset(limb) for limb in body.limbs}
    assert len(limbs) == len(body.limbs)
    assert {frozenset(mirror[joint] for joint in limb) for limb in limbs} == limbs


@ALL
def test_limbs_reach_every_joint(body: Skeleton) -> None:
    assert {joint for limb in body.limbs for joint in limb} == set(range(len(body.names)))


def test_mpii_lines_are_those_of_the_folder_workflow() -> None:
    legs = [(0, 1), (1, 2), (2, 6), (5, 4), (4, 3), (3, 6)]
    assert list(MPII16.limbs) == [
        *legs, (6, 7), (7, 8), (8, 9), (10, 11), (11, 12), (12, 7), (15, 14), (14, 13), (13, 7)
    ]  # fmt: skip


def test_coco_sigmas_are_those_of_the_benchmark() -> None:
    tenths = [.26, .25, .25, .35, .35, .79, .79, .72, .72, .62, .62, 1.07, 1.07, .87, .87, .89, .89]  # fmt: skip
    assert [sigma * 10 for sigma in COCO17.sigmas] == pytest.approx(tenths)


def test_halpe_begins_with_coco() -> None:
    assert HALPE26.names[:17] == COCO17.names
    assert HALPE26.names[17:20] == ("head", "neck", "hip")
    assert HALPE26.sigmas[:17] == COCO17.sigmas


@ALL
def test_skeleton_finds_by_name(body: Skeleton) -> None:
    assert skeleton(body.name) is body


def test_unknown_name_is_told_the_known_ones() -> None:
    with pytest.raises(ValueError, match="no skeleton is called 'coco18'; known: coco17, mpii16, halpe26"):
        skeleton("coco18")


@ALL
def test_joint_sides_agree_with_the_names(body: Skeleton) -> None:
    expected = [-1 if n.startswith("left_") else 1 if n.startswith("right_") else 0 for n in body.names]
    assert list(joint_sides(body)) == expected


def test_limb_sides_are_middle_where_left_meets_right() -> None:
    sides = dict(zip(COCO17.limbs, limb_sides(COCO17), strict=True))
    assert sides[5, 7] == -1
    assert sides[6, 8] == 1
    assert sides[5, 6] == sides[11, 12] == 0
    assert sides[0, 1] == -1  # the nose has no side: the eye decides
    assert dict(zip(MPII16.limbs, limb_sides(MPII16), strict=True))[7, 8] == 0
