"""Everything that runs on the device before and after a network, against the same by numpy and OpenCV on the host.

The cases on "cpu" check the test itself where there is no GPU.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from engines import heatmap, heatmap_torch, simcc, simcc_torch, yolo_decode, yolo_decode_torch
from engines.crop import Crops
from engines.crop_torch import cut, framed, placed
from engines.heatmap import Decode
from engines.images import Copies, ImageBatch
from engines.letterbox import fit
from engines.letterbox_torch import paint
from engines.nms import nms
from engines.nms_torch import settled, suppress
from engines.normalize import to_batch
from engines.normalize_torch import normalize
from engines.skeletons import skeleton

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PAIRS = skeleton("coco17").pairs


@pytest.fixture(params=["cpu", pytest.param("cuda:0", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """A blurred picture: without hard edges, where OpenCV 4 and 5 differ in how they round positions."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 16, 3), np.uint8)
    smooth: NDArray[np.uint8] = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return smooth


def on(device: str, array: NDArray[np.generic]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(device)


@pytest.mark.parametrize("size", [(1080, 1920), (720, 406), (416, 416), (33, 1)])
def test_letterbox(device: str, size: tuple[int, int]) -> None:
    image = picture(*size)
    box = fit(size, (416, 416), "center")
    wanted = box.paint(image, 114).transpose(2, 0, 1).astype(np.float32)
    (got,) = paint([on(device, image)], [box], 114).cpu().numpy()
    assert np.abs(got - wanted).max() <= 1
    assert (got != wanted).mean() < 0.15


@pytest.mark.parametrize("people", [1, 5, 40])
def test_crops(device: str, people: int) -> None:
    images = [picture(1080, 1920, 1), picture(360, 640, 2)]
    random = np.random.default_rng(people)
    owners = np.sort(random.integers(0, 2, people)).tolist()
    corner = random.uniform(-30, 300, (people, 2))
    boxes = np.concatenate([corner, corner + random.uniform(20, 400, (people, 2))], axis=1).astype(np.float32)
    crops = Crops.around(boxes, (256, 192))
    wanted = np.zeros((people, 256, 192, 3), np.uint8)
    for person, owner in enumerate(owners):
        crops.cut(person, images[owner], wanted[person])
    places = on(device, placed(crops, owners, [(1080, 1920), (360, 640)]))
    pixels = framed([on(device, image) for image in images])
    got = cut(pixels, places, (256, 192)).cpu().numpy()
    difference = np.abs(got - wanted.transpose(0, 3, 1, 2))
    assert difference.mean() < 0.2
    assert np.quantile(difference, 0.999) <= 8  # at the picture's edge, which is a hard one


@pytest.mark.parametrize("out_rgb", [True, False])
def test_normalization(device: str, out_rgb: bool) -> None:
    images = [picture(64, 48, seed) for seed in range(3)]
    wanted = to_batch(images, out_rgb, 1 / 255, MEAN, STD)
    planes = on(device, np.stack(images).transpose(0, 3, 1, 2).astype(np.float32))
    got = normalize(planes, out_rgb, 1 / 255, MEAN, STD)
    assert got.is_contiguous()
    np.testing.assert_allclose(got.cpu().numpy(), wanted, rtol=0, atol=2e-6)


def yolox(random: np.random.Generator) -> list[NDArray[np.float32]]:
    """The rows of two 64x96 inputs: boxes of some pixels, scores between 0 and 1."""
    rows = random.normal(0, 0.5, (2, 96 + 24 + 6, 7))
    rows[..., 4:] = random.uniform(0, 1, rows[..., 4:].shape)
    return [rows.astype(np.float32)]


def centred(random: np.random.Generator) -> list[NDArray[np.float32]]:
    rows = random.uniform(5, 60, (2, 50, 7))
    rows[..., 4:] = random.uniform(0, 1, rows[..., 4:].shape)
    return [rows.astype(np.float32)]


def columns(random: np.random.Generator) -> list[NDArray[np.float32]]:
    return [np.ascontiguousarray(centred(random)[0][..., :6].transpose(0, 2, 1))]


def nms_free(random: np.random.Generator) -> list[NDArray[np.float32]]:
    rows = centred(random)[0][..., :6]
    rows[..., 5] = random.integers(0, 3, rows.shape[:2])
    return [rows]


def end2end(random: np.random.Generator) -> list[NDArray[np.float32]]:
    rows = nms_free(random)[0]
    return [rows[..., :5].copy(), rows[..., 5].copy()]


def grids(random: np.random.Generator) -> list[NDArray[np.float32]]:
    return [random.normal(0, 3, (2, 64 // s, 96 // s, 5)).astype(np.float32) for s in (8, 16, 32)]


@pytest.mark.parametrize(
    ("family", "make"),
    [
        ("yolox", yolox),
        ("yolox-decoded", centred),
        ("yolov8", columns),
        ("yolo-nms-free", nms_free),
        ("rtmdet", grids),
        ("end2end", end2end),
    ],
)
def test_decoding_of_detectors(
    device: str, family: str, make: Callable[[np.random.Generator], list[NDArray[np.float32]]]
) -> None:
    outputs = make(np.random.default_rng(3))
    people = yolo_decode_torch.DECODERS[family]([on(device, output) for output in outputs], (64, 96), 0.3)
    boxes, scores = (tensor.cpu().numpy() for tensor in yolo_decode_torch.best(people, 1000))
    for row in range(2):
        wanted_boxes, wanted_scores = yolo_decode.DECODERS[family]([output[row] for output in outputs], (64, 96), 0.3)
        order = np.argsort(-wanted_scores, kind="stable")
        count = len(order)
        assert count > 5
        assert (scores[row, count:] == yolo_decode_torch.NOBODY).all()
        np.testing.assert_allclose(scores[row, :count], wanted_scores[order], rtol=1e-5)
        np.testing.assert_allclose(boxes[row, :count], wanted_boxes[order], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("count", [0, 1, 300])
def test_suppression(device: str, count: int) -> None:
    random = np.random.default_rng(count)
    corner = random.uniform(0, 200, (count, 2))
    boxes = np.concatenate([corner, corner + random.uniform(20, 80, (count, 2))], axis=1).astype(np.float32)
    scores = np.sort(random.uniform(0, 1, count).astype(np.float32))[::-1].copy()
    states = suppress(on(device, boxes)[None], on(device, scores)[None], 0.5)[0].cpu().numpy()
    got, got_scores = settled(boxes, scores, states, 0.5)
    kept = nms(boxes, scores, 0.5)
    np.testing.assert_array_equal(got, boxes[kept])
    np.testing.assert_array_equal(got_scores, scores[kept])


def maps(seed: int) -> NDArray[np.float32]:
    """Heat maps (6, 17, 64, 48) with a Gaussian each, some at the border, on a little noise."""
    random = np.random.default_rng(seed)
    centers = random.uniform((-1, -1), (48, 64), (6, 17, 2))
    y, x = np.mgrid[:64, :48]
    distance = (x - centers[..., 0, None, None]) ** 2 + (y - centers[..., 1, None, None]) ** 2
    return (np.exp(-distance / 8) + random.normal(0, 1e-3, (6, 17, 64, 48))).astype(np.float32)


@pytest.mark.parametrize("decode", ["argmax", "quarter", "dark"])
def test_decoding_of_heat_maps(device: str, decode: Decode) -> None:
    wanted_points, wanted_scores = heatmap.decode_heatmaps(maps(0), decode)
    points, scores = heatmap_torch.decode_heatmaps(on(device, maps(0)), decode)
    np.testing.assert_allclose(points.cpu().numpy(), wanted_points, rtol=0, atol=2e-3)
    np.testing.assert_array_equal(scores.cpu().numpy(), wanted_scores)


@pytest.mark.parametrize("shift", [0.0, 0.5, 1.0])
def test_mirrored_heat_maps(device: str, shift: float) -> None:
    wanted = heatmap.flip_back(maps(1), PAIRS, shift)
    got = heatmap_torch.flip_back(on(device, maps(1)), PAIRS, shift)
    np.testing.assert_allclose(got.cpu().numpy(), wanted, rtol=1e-6, atol=1e-7)


def test_simcc(device: str) -> None:
    random = np.random.default_rng(4)
    x, y = (random.normal(0, 1, (5, 17, 2 * side)).astype(np.float32) for side in (192, 256))
    on_x, on_y = on(device, x), on(device, y)
    for got, wanted in (
        (simcc_torch.decode_simcc(on_x, on_y), simcc.decode_simcc(x, y)),
        (simcc_torch.flip_back_simcc(on_x, on_y, PAIRS), simcc.flip_back_simcc(x, y, PAIRS)),
    ):
        for one, other in zip(got, wanted, strict=True):
            np.testing.assert_array_equal(one.cpu().numpy(), other)


def test_a_picture_goes_up_once_and_comes_as_it_is(device: str) -> None:
    image = picture(47, 31)
    images = ImageBatch()
    (first,) = images.put([image], device)
    (second,) = images.take([image], device)
    assert first is second
    assert first.device == torch.device(device)
    np.testing.assert_array_equal(first.cpu().numpy(), image)
    assert (images.copies.uploads, images.copies.uploaded_bytes) == (1, 47 * 31 * 3)


def test_what_is_fetched_comes_in_one_transfer_and_stays(device: str) -> None:
    copies = Copies()
    tensors = [torch.arange(6.0, device=device).reshape(2, 3), torch.full((4,), 7.0, device=device)]
    first = copies.fetch(tensors)
    second = copies.fetch([tensor + 1 for tensor in tensors])
    assert [array.tolist() for array in first] == [[[0, 1, 2], [3, 4, 5]], [7, 7, 7, 7]]
    assert [array.tolist() for array in second] == [[[1, 2, 3], [4, 5, 6]], [8, 8, 8, 8]]
    assert (copies.fetches, copies.fetched_bytes) == (2, 80)
