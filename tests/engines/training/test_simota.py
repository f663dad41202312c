"""SimOTA by hand: which cells get which people, and how many."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from engines.training.simota import assign, box_iou  # noqa: E402
from engines.training.yolox_loss import Cells  # noqa: E402

SURE = 4.0
"""A logit."""


def test_overlaps_are_shared_area_by_joint_area() -> None:
    first = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    second = torch.tensor([[0.0, 0.0, 10.0, 10.0], [5.0, 0.0, 15.0, 10.0], [20.0, 20.0, 30.0, 30.0]])
    torch.testing.assert_close(box_iou(first, second), torch.tensor([[1.0, 50 / 150, 0.0]]))


def test_a_perfect_cell_alone_is_one_cell() -> None:
    """The overlaps of a person sum to 1.0, so one cell is had: the one that found it."""
    cells = Cells.of((64, 64))
    person = torch.tensor([[16.0, 16.0, 48.0, 48.0]])
    boxes = torch.zeros(len(cells.strides), 4)  # of no area: nothing overlaps
    boxes[27] = person[0]  # row 3, column 3 of stride 8: centre (28, 28)
    found = assign(person, cells.centers, cells.strides, boxes, torch.zeros(len(boxes), 2))
    assert found.cells.tolist() == [27]
    assert found.people.tolist() == [0]
    assert found.ious.tolist() == pytest.approx([1.0])


def test_as_many_cells_as_the_overlaps_sum_to() -> None:
    """Four cells have an overlap of 0.5 and one of 1.0: 3.0 in all, so the perfect one and the two surest others."""
    cells = Cells.of((64, 64))
    person = torch.tensor([[16.0, 16.0, 48.0, 48.0]])
    boxes, logits = torch.zeros(len(cells.strides), 4), torch.full((len(cells.strides), 2), -SURE)
    boxes[27] = person[0]
    for cell in (26, 28, 35, 36):
        boxes[cell] = torch.tensor([16.0, 16.0, 48.0, 32.0])
    logits[[26, 36]] = SURE
    found = assign(person, cells.centers, cells.strides, boxes, logits)
    assert found.cells.tolist() == [26, 27, 36]
    assert found.ious.tolist() == pytest.approx([0.5, 1.0, 0.5])


def test_a_cell_that_two_want_goes_to_the_one_it_fits_better() -> None:
    """Both people hold the centre of one cell, and its box is the second's."""
    centers, strides = torch.tensor([[50.0, 50.0], [40.0, 50.0]]), torch.tensor([8.0, 8.0])
    people = torch.tensor([[30.0, 30.0, 66.0, 66.0], [34.0, 34.0, 66.0, 66.0]])
    boxes = torch.stack([people[1], torch.tensor([0.0, 0.0, 1.0, 1.0])])
    found = assign(people, centers, strides, boxes, torch.zeros(2, 2))
    assert found.cells.tolist() == [0]
    assert found.people.tolist() == [1]
    assert found.ious.tolist() == pytest.approx([1.0])


def test_within_and_near_the_centre_goes_before_either_alone() -> None:
    """A cell far from the centre but in the box finds the person well, and still comes behind one near the centre."""
    centers, strides = torch.tensor([[100.0, 100.0], [10.0, 100.0]]), torch.tensor([8.0, 8.0])
    person = torch.tensor([[0.0, 0.0, 200.0, 200.0]])
    boxes = torch.stack([torch.tensor([0.0, 0.0, 200.0, 90.0]), torch.tensor([0.0, 0.0, 200.0, 100.0])])
    found = assign(person, centers, strides, boxes, torch.zeros(2, 2))
    assert found.cells.tolist() == [0]
    assert found.ious.tolist() == pytest.approx([0.45])


def test_nobody_gets_no_cells() -> None:
    cells = Cells.of((32, 64))
    boxes = torch.zeros(len(cells.strides), 4)
    found = assign(torch.zeros(0, 4), cells.centers, cells.strides, boxes, torch.zeros(len(boxes), 2))
    assert found.cells.shape == found.people.shape == found.ious.shape == (0,)


def test_a_person_smaller_than_a_cell_is_not_forgotten() -> None:
    """No cell's centre lies in it, but some are near it; what it overlaps is under 1, so it has one."""
    cells = Cells.of((64, 64))
    person = torch.tensor([[30.0, 30.0, 34.0, 34.0]])
    boxes = torch.cat([cells.centers - 4, cells.centers + 4], dim=1)
    found = assign(person, cells.centers, cells.strides, boxes, torch.zeros(len(boxes), 2))
    assert len(found.cells) == 1
    center = cells.centers[found.cells[0]]
    assert (center - 32).abs().max() < 20
