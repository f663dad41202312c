"""The losses of a YOLOX by hand."""

from __future__ import annotations

from math import log

import pytest

torch = pytest.importorskip("torch")

from engines.training.yolox_loss import Cells, People, detection_loss, distillation_loss  # noqa: E402
from engines.yolo_decode import decode_yolox  # noqa: E402

SURE, UNSURE = 30.0, -30.0
"""Logits of which the sigmoid is 1 and 0."""


def nobody() -> People:
    return People(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, 4))


def someone(box: list[float], weight: float = 1.0) -> People:
    return People(torch.tensor([box]), torch.tensor([weight]), torch.zeros(0, 4))


def silent_rows(cells: Cells) -> torch.Tensor:
    """Rows of a network that finds nobody, whose boxes have hardly any area, (1, A, 6)."""
    rows = torch.zeros(1, len(cells.strides), 6)
    rows[..., 2:4] = -10
    rows[..., 4:] = UNSURE
    return rows


def test_cells_are_those_of_the_decoder() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.rand(40 + 10 + 2 + 0, 6, generator=generator)[: 4 * 8 + 2 * 4 + 1 * 2]
    cells = Cells.of((32, 64))
    boxes, _ = decode_yolox([rows.numpy()], (32, 64), 0.0)
    torch.testing.assert_close(cells.decode(rows), torch.from_numpy(boxes))
    assert cells.centers[0].tolist() == [4.0, 4.0]
    assert cells.centers[-1].tolist() == [48.0, 16.0]


def test_encode_is_the_inverse_of_decode() -> None:
    cells = Cells.of((64, 64))
    boxes = torch.tensor([[3.0, 5.0, 30.0, 60.0], [10.0, 12.0, 26.0, 28.0]])
    chosen = torch.tensor([9, 70])
    rows = torch.zeros(len(cells.strides), 4)
    rows[chosen] = cells.encode(boxes, chosen)
    torch.testing.assert_close(cells.decode(rows)[chosen], boxes)


def test_a_perfect_network_loses_nothing() -> None:
    cells, box = Cells.of((64, 64)), [16.0, 16.0, 48.0, 48.0]
    rows = silent_rows(cells)
    rows[0, 27, :4] = cells.encode(torch.tensor([box]), torch.tensor([27]))[0]
    rows[0, 27, 4:] = SURE
    loss, parts = detection_loss(rows, cells, [someone(box)], with_raw=True)
    assert loss.item() == pytest.approx(0, abs=1e-4)
    assert set(parts) == {"box", "objectness", "class", "raw"}


def test_each_part_by_hand() -> None:
    """A box of half the height (overlap 0.5) at logits of 0, beside cells that are sure of nobody."""
    cells, box = Cells.of((64, 64)), [16.0, 16.0, 48.0, 48.0]
    rows = silent_rows(cells)
    rows[0, 27, :4] = cells.encode(torch.tensor([[16.0, 16.0, 48.0, 32.0]]), torch.tensor([27]))[0]
    rows[0, 27, 4:] = 0
    loss, parts = detection_loss(rows, cells, [someone(box)])
    assert parts["box"].item() == pytest.approx(1 - 0.25)
    assert parts["objectness"].item() == pytest.approx(log(2), abs=1e-5)
    assert parts["class"].item() == pytest.approx(log(2))
    # The middle is 8 pixels, a cell, too high, and the height half.
    assert parts["raw"].item() == pytest.approx(1 + log(2))
    assert loss.item() == pytest.approx(5 * 0.75 + 2 * log(2), abs=1e-5)
    with_raw, _ = detection_loss(rows, cells, [someone(box)], with_raw=True)
    assert with_raw.item() - loss.item() == pytest.approx(1 + log(2), abs=1e-5)


def test_nobody_is_background_but_for_what_is_passed_over() -> None:
    """At logits of 0 each of the 84 cells loses log 2; the box passed over holds the centres of 4 + 1."""
    cells = Cells.of((64, 64))
    rows = silent_rows(cells)
    rows[..., 4] = 0
    loss, _ = detection_loss(rows, cells, [nobody()])
    assert loss.item() == pytest.approx(84 * log(2), rel=1e-5)
    passed = People(torch.zeros(0, 4), torch.zeros(0), torch.tensor([[0.0, 0.0, 16.0, 16.0]]))
    loss, _ = detection_loss(rows, cells, [passed])
    assert loss.item() == pytest.approx((84 - 5) * log(2), rel=1e-5)


def test_a_person_the_teacher_half_believes_in_counts_half_beside_another() -> None:
    cells, box = Cells.of((64, 64)), [16.0, 16.0, 48.0, 48.0]
    rows = silent_rows(cells).repeat(2, 1, 1)
    right, wrong = (cells.encode(torch.tensor([b]), torch.tensor([27]))[0] for b in (box, [16.0, 16.0, 48.0, 32.0]))
    rows[0, 27, :4], rows[1, 27, :4] = right, wrong
    rows[:, 27, 4:] = SURE
    _, parts = detection_loss(rows, cells, [someone(box), someone(box, 0.5)])
    assert parts["box"].item() == pytest.approx(0.5 * 0.75 / 1.5)


def test_gradients_are_finite_for_an_untrained_network() -> None:
    cells = Cells.of((64, 64))
    generator = torch.Generator().manual_seed(1)
    rows = (torch.randn(2, len(cells.strides), 6, generator=generator) * 20).requires_grad_()
    loss, _ = detection_loss(rows, cells, [nobody(), someone([1.0, 2.0, 60.0, 50.0])], with_raw=True)
    loss.backward()
    assert rows.grad is not None
    assert bool(rows.grad.isfinite().all())
    assert float(rows.grad.abs().sum()) > 0


def test_who_gives_what_the_teacher_gives_loses_the_least() -> None:
    """The rest is the entropy of the teacher's scores, here none as they are 0 and 1."""
    cells = Cells.of((64, 64))
    rows = silent_rows(cells)
    rows[0, 27, :4] = torch.tensor([0.5, 0.5, 1.0, 1.0])
    rows[0, 27, 4:] = SURE
    taught = torch.cat([rows[..., :4], rows[..., 4:].sigmoid().round()], dim=2)
    assert distillation_loss(rows, cells, taught).item() == pytest.approx(0, abs=1e-4)
    other = rows.clone()
    other[0, 27, 3] = 1.0 - log(2)  # half as high: the overlap is 0.5, the raw difference log 2
    assert distillation_loss(other, cells, taught).item() == pytest.approx(5 * 0.5 + log(2), abs=1e-4)
