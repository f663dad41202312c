"""The lesson of a detector: its marks by hand, its repeatability, and that it learns."""

from __future__ import annotations

from dataclasses import replace
from math import log
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from engines.nets.samples import save_checkpoint  # noqa: E402
from engines.nets.yolox import Yolox  # noqa: E402
from engines.results import Detections  # noqa: E402
from engines.training.detector import DetectorLesson, DetectorTraining, mark_boxes, new_yolox  # noqa: E402
from engines.training.labels import LabelledPicture, Labels  # noqa: E402
from engines.training.mosaic import MosaicOptions  # noqa: E402
from engines.training.picture_pack import PackedPeople, PicturePack, open_picture_pack  # noqa: E402

SMALL = DetectorTraining(width=0.0625, size=(64, 64), batch=4, steps=40, plain_steps=10)


@pytest.fixture
def pack(tmp_path: Path) -> PicturePack:
    """Six noisy pictures with one bright person each."""
    rng, pictures = np.random.default_rng(0), []
    for number in range(6):
        pixels: NDArray[np.uint8] = rng.integers(0, 80, (64, 64, 3), np.uint8)
        x, y = rng.integers(4, 30, 2).tolist()
        pixels[y : y + 30, x : x + 20] = 220
        path = tmp_path / f"{number}.png"
        cv2.imwrite(str(path), pixels)
        box = np.array([[x, y, x + 20, y + 30]], np.float32)
        labels = Labels(box, np.zeros((1, 17, 2), np.float32), np.zeros((1, 17), np.bool_), np.zeros(1, np.bool_))
        pictures.append(LabelledPicture(path, labels, True))
    return open_picture_pack(tmp_path / "pack", pictures)


def lesson(pack: PicturePack, options: DetectorTraining = SMALL) -> DetectorLesson:
    return DetectorLesson(pack, options, np.arange(4), np.arange(4, 6))


def detections(boxes: list[list[float]], scores: list[float]) -> Detections:
    return Detections(np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32))


def people(boxes: list[list[float]], passed: list[bool] | None = None) -> PackedPeople:
    count = len(boxes)
    rows = np.array(boxes, np.float32).reshape(-1, 4)
    return PackedPeople(rows, np.ones(count, np.float32), np.array(passed or [False] * count, np.bool_))


ONE, TWO, AWAY = [0.0, 0.0, 10.0, 10.0], [20.0, 0.0, 30.0, 10.0], [50.0, 50.0, 60.0, 60.0]


@pytest.mark.parametrize(
    ("found", "truth", "ap", "recall"),
    [
        (detections([ONE, TWO], [0.9, 0.8]), people([ONE, TWO]), 1.0, 1.0),
        # Half of them are found, all that is said is right: the first 51 of 101 recalls.
        (detections([ONE], [0.9]), people([ONE, TWO]), 51 / 101, 0.5),
        # A wrong one before the right one.
        (detections([AWAY, ONE], [0.9, 0.8]), people([ONE]), 0.5, 1.0),
        # A second box on one person is wrong, though behind it no one is missed.
        (detections([ONE, ONE, TWO], [0.9, 0.8, 0.7]), people([ONE, TWO]), (51 + 50 * 2 / 3) / 101, 1.0),
        # A box on what is passed over counts neither way.
        (detections([AWAY, ONE], [0.9, 0.8]), people([ONE, AWAY], [False, True]), 1.0, 1.0),
        (detections([], []), people([ONE]), 0.0, 0.0),
        (detections([ONE], [0.9]), people([]), 0.0, 0.0),
    ],
)
def test_marks_by_hand(found: Detections, truth: PackedPeople, ap: float, recall: float) -> None:
    assert mark_boxes([found], [truth]) == pytest.approx((ap, recall))


def test_marks_are_over_all_pictures_by_score() -> None:
    """The wrong box of the second picture is surer than the right one of the first."""
    found = [detections([ONE], [0.5]), detections([AWAY], [0.9])]
    assert mark_boxes(found, [people([ONE]), people([])]) == pytest.approx((0.5, 1.0))


def test_a_step_done_again_is_the_same_and_the_next_is_another(pack: PicturePack) -> None:
    first, second = lesson(pack), lesson(pack)
    losses = [one.loss(one.network.train(), 3)[0].item() for one in (first, second)]
    assert losses[0] == losses[1]
    assert losses[0] != first.loss(first.network, 4)[0].item()


def test_a_new_network_finds_nobody_sure(pack: PicturePack) -> None:
    network = new_yolox(0.33, 0.0625, True).train()
    rows = network(torch.zeros(1, 3, 64, 64))
    assert rows.shape == (1, 84, 6)
    assert rows[..., 4:].mean().item() == pytest.approx(-log(99), abs=0.5)


def test_the_last_phase_has_the_raw_numbers_in_its_loss(pack: PicturePack) -> None:
    one = lesson(pack)
    assert [one.grade(step) for step in (0, 29, 30, 39)] == [0, 0, 1, 1]
    for step, extra in ((29, 0.0), (30, 1.0)):
        loss, parts = one.loss(one.network.train(), step)
        wanted = 5 * parts["box"] + parts["objectness"] + parts["class"] + extra * parts["raw"]
        assert loss.item() == pytest.approx(wanted, rel=1e-4)


def test_it_learns_in_bf16(pack: PicturePack) -> None:
    options = DetectorTraining(
        width=0.0625, size=(64, 64), batch=4, steps=80, plain_steps=75, mosaic=MosaicOptions(mosaic=0.0)
    )
    one = lesson(pack, options)
    network = one.network.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    before, losses = one.validate(network.eval(), 0), []
    for step in range(80):
        with torch.autocast("cpu", torch.bfloat16):
            loss, _ = one.loss(network.train(), step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert before["score"] < 0.2
    assert np.mean(losses[-10:]) < np.mean(losses[5:15])
    marks = one.validate(network.eval(), 79)
    assert set(marks) == {"score", "ap50", "recall"}
    assert marks["score"] > 0.5


def test_a_network_to_begin_with_gives_what_it_gave(pack: PicturePack, tmp_path: Path) -> None:
    torch.manual_seed(1)
    saved = Yolox(0.33, 0.0625, True, 3).eval()
    save_checkpoint(saved, tmp_path / "net.pth")
    options = DetectorTraining(init=tmp_path / "net.pth", size=(64, 64), batch=4, steps=4, plain_steps=0)
    network = lesson(pack, options).network.eval()
    batch = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255
    with torch.inference_mode():
        torch.testing.assert_close(network(batch), saved(batch)[..., :6], rtol=1e-3, atol=1e-3)


def test_a_teacher_adds_half_of_what_it_wants(pack: PicturePack, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    from engines.nets.to_onnx import to_onnx

    torch.manual_seed(1)
    model = to_onnx(Yolox(0.33, 0.0625, True, 1).eval(), np.zeros((2, 3, 64, 64), np.float32), "output")
    (tmp_path / "teacher.onnx").write_bytes(model.SerializeToString())
    one = lesson(pack, replace(SMALL, distil=tmp_path / "teacher.onnx", distil_weight=0.5))
    loss, parts = one.loss(one.network.train(), 0)
    one.close()
    own = 5 * parts["box"] + parts["objectness"] + parts["class"]
    assert loss.item() == pytest.approx(own + 0.5 * parts["taught"], rel=1e-4)
    assert parts["taught"] > 0


def test_the_sheet_shows_the_held_pictures(pack: PicturePack) -> None:
    one = lesson(pack)
    sheet = one.sheet(one.network.eval(), 0)
    assert sheet is not None
    assert sheet.shape == (4 * 64 // 2, 6 * 64 // 2, 3)
    assert sheet[:32, :64].max() == 255
    assert sheet[:32, 64:].max() == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 5, "plain_steps": 6}, "plain_steps no more than steps"),
        ({"size": (100, 96)}, "size must be multiples of 32"),
        ({"sizes": ((96, 100),)}, "size must be multiples of 32"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DetectorTraining(**options)  # type: ignore[arg-type]
