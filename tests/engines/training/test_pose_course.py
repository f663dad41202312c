"""A course in poses: who is packed, who is learnt from, and what the network begins with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from drawn_people import pack_of, stick_people, tiny_layout  # noqa: E402

from engines.nets.hrnet import HRNet  # noqa: E402
from engines.nets.samples import save_checkpoint  # noqa: E402
from engines.skeletons import COCO17  # noqa: E402
from engines.training.labels import LabelledPicture, LabelledSet, Labels  # noqa: E402
from engines.training.pose import PoseTraining, Stage  # noqa: E402
from engines.training.pose_course import PoseCourse, find_crowd, pack_people, people_of, start_network  # noqa: E402
from engines.training.split import Parts  # noqa: E402
from engines.training.teacher import TeacherOptions  # noqa: E402

TRAINING = PoseTraining((Stage((32, 24), 2, 2), Stage((64, 48), 2, 2)))
COURSE = PoseCourse(TRAINING, layout=tiny_layout(17))


def follow(paths: Sequence[Path], words: str) -> Iterable[Path]:
    return paths


def one_set(folder: Path, *seen: int) -> LabelledSet:
    """A picture with so many labelled joints of its one person for each number."""
    pictures = []
    for number, joints in enumerate(seen):
        path = folder / f"{number}.png"
        cv2.imwrite(str(path), np.full((80, 60, 3), 90, np.uint8))
        labels = Labels(
            np.array([[10, 10, 40, 70]], np.float32),
            np.full((1, 17, 2), 25, np.float32),
            np.arange(17)[None] < joints,
            np.zeros(1, np.bool_),
        )
        pictures.append(LabelledPicture(path, labels, True))
    return LabelledSet("drawn", tuple(pictures), 1.0, True, ())


def test_those_with_labels_are_packed_for_the_last_stage(tmp_path: Path) -> None:
    pack = pack_people([one_set(tmp_path, 17, 0, 3)], COCO17, COURSE, tmp_path / "packs", follow)
    assert (pack.crops.shape, pack.labelled.sum(axis=1).tolist()) == ((2, 96, 72, 3), [17, 3])
    assert pack.pictures.tolist() == [0, 2]
    assert [path.name for path in pack.paths] == ["0.png", "1.png", "2.png"]


def test_whom_a_box_alone_tells_of_is_somebody_where_a_teacher_will_pose_them(tmp_path: Path) -> None:
    sets, packs = [one_set(tmp_path, 17, 0)], tmp_path / "packs"
    for teacher, seen in ((TeacherOptions(pose="some"), [17, 0]), (TeacherOptions(), [17])):
        crowd = find_crowd(sets, 17, teacher, packs, follow)
        assert [int(person.visible.sum()) for person in crowd.people] == seen
    find_crowd(sets, 17, TeacherOptions(pose="another"), packs, follow)
    assert len(list(packs.glob("people-*.npz"))) == 2  # another one to pose them finds nobody else


def test_nobody_to_learn_from_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nobody to learn from in these pictures"):
        pack_people([one_set(tmp_path, 0)], COCO17, COURSE, tmp_path, follow)


def test_pictures_without_labels_need_a_teacher(tmp_path: Path) -> None:
    unlabelled = LabelledSet("folder", (), 1.0, False, ())
    with pytest.raises(ValueError, match="--teacher-detector"):
        pack_people([unlabelled], COCO17, COURSE, tmp_path, follow)


def parts(held: str, left: str) -> Parts:
    return Parts(*(np.array([mark == "x" for mark in marks]) for marks in (held, left)))


def test_people_of_held_pictures_mark_and_those_left_out_do_neither() -> None:
    labelled = np.ones((8, 5), np.bool_)
    labelled[:2] = False
    taught = np.zeros((8, 5), np.bool_)
    taught[1, 0] = True  # the first of all has no known joint
    pack = pack_of(stick_people(8), labelled=labelled, taught=taught, pictures=np.array([0, 0, 1, 1, 2, 3, 3, 4]))
    learnt, held = people_of(pack, parts("-x-x-", "--x--"), None, 0)
    assert (learnt.tolist(), held.tolist()) == ([1, 7], [2, 3, 5, 6])


def test_at_most_so_many_are_learnt_from_always_the_same() -> None:
    pack = pack_of(stick_people(20))
    marks = parts("x" * 4 + "-" * 16, "-" * 20)
    few, held = people_of(pack, marks, 5, seed=1)
    assert (len(few), held.tolist()) == (5, [0, 1, 2, 3])
    assert few.tolist() == sorted(set(few.tolist()))
    assert set(few.tolist()) <= set(range(4, 20))
    assert people_of(pack, marks, 5, seed=1)[0].tolist() == few.tolist()
    assert people_of(pack, marks, 5, seed=2)[0].tolist() != few.tolist()
    assert len(people_of(pack, marks, 99, seed=1)[0]) == 16


@pytest.mark.parametrize(("held", "words"), [("---", "3 people to learn from, 0 to mark by"), ("xxx", "0 people to")])
def test_there_must_be_some_on_either_side(held: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        people_of(pack_of(stick_people(3)), parts(held, "---"), None, 0)


def test_the_network_begins_with_a_checkpoint_and_its_backbone_may_be_frozen(tmp_path: Path) -> None:
    torch.manual_seed(4)
    given = HRNet(tiny_layout(17))
    save_checkpoint(given, tmp_path / "start.pth")
    course = PoseCourse(TRAINING, start=tmp_path / "start.pth")
    network, frozen = start_network(course, 17)
    assert frozen == []
    assert all(torch.equal(tensor, given.state_dict()[name]) for name, tensor in network.state_dict().items())
    network, frozen = start_network(PoseCourse(TRAINING, start=tmp_path / "start.pth", frozen="backbone"), 17)
    assert len(frozen) == len(list(network.children())) - 2
    learning = {name.split(".")[0] for name, weight in network.named_parameters() if weight.requires_grad}
    assert learning == {"stage2", "final_layer"}
    with pytest.raises(ValueError, match="a stem that has learned nothing is no use frozen"):
        start_network(PoseCourse(TRAINING, frozen="stem"), 17)
