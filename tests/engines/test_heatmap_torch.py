"""Heat maps to key points in torch: against numpy, and against a slow loop."""

from __future__ import annotations

import os
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from engines import heatmap, heatmap_torch  # noqa: E402
from engines.heatmap import Decode  # noqa: E402

Floats = NDArray[np.float32]
PAIRS = ((0, 1), (3, 4))
DECODES: tuple[Decode, ...] = ("argmax", "quarter", "dark")


def torch_decode(maps: Floats, decode: Decode, kernel: int = 11) -> tuple[Floats, Floats]:
    points, scores = heatmap_torch.decode_heatmaps(torch.from_numpy(maps), decode, kernel)
    assert points.dtype == scores.dtype == torch.float32
    return points.numpy(), scores.numpy()


def gaussians(seed: int, size: tuple[int, int] = (64, 48), shape: tuple[int, int] = (6, 17)) -> Floats:
    """Heat maps of Gaussians of sigma 2, some of them with their centres outside."""
    centers = np.random.default_rng(seed).uniform((-2, -2), (size[1] + 2, size[0] + 2), (*shape, 2))
    ys, xs = np.mgrid[: size[0], : size[1]]
    x, y = centers[..., 0, None, None], centers[..., 1, None, None]
    return np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / 8).astype(np.float32)


def noise(shape: tuple[int, int, int, int]) -> Floats:
    return np.random.default_rng(4).normal(0, 1, shape).astype(np.float32)


MAPS: dict[str, Callable[[], Floats]] = {
    "gaussians": lambda: gaussians(5),
    "square": lambda: gaussians(6, (64, 64), (2, 16)),
    "noise": lambda: noise((3, 17, 64, 48)),
    "ties": lambda: np.round(noise((5, 4, 16, 12))),
    "never above 0": lambda: noise((2, 3, 9, 7)) - 9,
    "mostly 0": lambda: np.maximum(noise((2, 3, 9, 7)) - 2, 0),
    "tiny": lambda: noise((40, 4, 5, 5)),
    "one cell": lambda: noise((3, 2, 1, 1)),
    "one row": lambda: noise((2, 2, 1, 9)),
    "nobody": lambda: noise((0, 17, 64, 48)),
}


@pytest.mark.parametrize("maps", MAPS)
@pytest.mark.parametrize("decode", DECODES)
def test_torch_and_numpy_decode_alike(maps: str, decode: Decode) -> None:
    heatmaps = MAPS[maps]()
    points, scores = torch_decode(heatmaps, decode)
    wanted_points, wanted_scores = heatmap.decode_heatmaps(heatmaps, decode)
    np.testing.assert_allclose(points, wanted_points, rtol=0, atol=1e-5 if decode == "dark" else 0)
    np.testing.assert_array_equal(scores, wanted_scores)


@pytest.mark.parametrize("kernel", [3, 11, 17])
def test_dark_equals_a_slow_loop(kernel: int) -> None:
    heatmaps = gaussians(7, shape=(3, 5))
    points, _ = torch_decode(heatmaps, "dark", kernel)
    border = kernel // 2
    for n, k in np.ndindex(3, 5):
        y, x = np.unravel_index(heatmaps[n, k].argmax(), (64, 48))
        wanted = np.array([x, y], float)
        if 1 < x < 46 and 1 < y < 62:
            padded = np.pad(heatmaps[n, k].astype(np.float64), border)
            blurred = cv2.GaussianBlur(padded, (kernel, kernel), 0)[border:-border, border:-border]
            f = np.log(np.maximum(blurred, 1e-10))
            slope = np.array([f[y, x + 1] - f[y, x - 1], f[y + 1, x] - f[y - 1, x]]) / 2
            cross = (f[y + 1, x + 1] - f[y - 1, x + 1] - f[y + 1, x - 1] + f[y - 1, x - 1]) / 4
            bend_x = (f[y, x + 2] - 2 * f[y, x] + f[y, x - 2]) / 4
            bend_y = (f[y + 2, x] - 2 * f[y, x] + f[y - 2, x]) / 4
            step = -np.linalg.solve([[bend_x, cross], [cross, bend_y]], slope)
            wanted += step if np.abs(step).max() <= 2 else 0
        np.testing.assert_allclose(points[n, k], wanted, atol=1e-4)


def test_quarter_shift_equals_a_slow_loop() -> None:
    heatmaps = np.concatenate([gaussians(8, (12, 10), (4, 5)), np.round(noise((4, 5, 12, 10)), 1)])
    points, scores = torch_decode(heatmaps, "quarter")
    for n, k in np.ndindex(8, 5):
        y, x = np.unravel_index(heatmaps[n, k].argmax(), (12, 10))
        wanted = np.array([x, y], float)
        if 1 < x < 9 and 1 < y < 11:
            wanted[0] += 0.25 * np.sign(heatmaps[n, k, y, x + 1] - heatmaps[n, k, y, x - 1])
            wanted[1] += 0.25 * np.sign(heatmaps[n, k, y + 1, x] - heatmaps[n, k, y - 1, x])
        assert points[n, k].tolist() == wanted.tolist()
        assert scores[n, k] == heatmaps[n, k].max()


def test_dark_finds_the_centre_that_the_cells_hide() -> None:
    ys, xs = np.mgrid[:64, :48]
    maps = np.exp(-((xs - 20.3) ** 2 + (ys - 31.6) ** 2) / 8).astype(np.float32)[None, None]
    assert torch_decode(maps, "argmax")[0].tolist() == [[[20, 32]]]
    assert torch_decode(maps, "quarter")[0].tolist() == [[[20.25, 31.75]]]
    np.testing.assert_allclose(torch_decode(maps, "dark")[0], [[[20.3, 31.6]]], atol=1e-3)


def test_a_plateau_stays_where_it_is() -> None:
    assert torch_decode(np.full((1, 1, 31, 31), 0.5, np.float32), "dark")[0].tolist() == [[[0, 0]]]


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
@pytest.mark.parametrize("decode", DECODES)
def test_half_precision_maps_decode_as_their_float32_copy(half: str, decode: Decode) -> None:
    maps = torch.from_numpy(gaussians(9)).to(getattr(torch, half))
    points, scores = heatmap_torch.decode_heatmaps(maps, decode)
    wanted_points, wanted_scores = heatmap_torch.decode_heatmaps(maps.float(), decode)
    assert torch.equal(points, wanted_points)
    assert torch.equal(scores, wanted_scores)


@pytest.mark.parametrize("shift", [1.0, 0.75, 0.0])
@pytest.mark.parametrize("shape", [(3, 5, 64, 48), (1, 5, 3, 7), (2, 5, 4, 1), (0, 5, 64, 48)])
def test_torch_and_numpy_flip_back_alike(shape: tuple[int, int, int, int], shift: float) -> None:
    maps = noise(shape)
    kept = maps.copy()
    back = heatmap_torch.flip_back(torch.from_numpy(maps), PAIRS, shift)
    np.testing.assert_allclose(back.numpy(), heatmap.flip_back(maps, PAIRS, shift), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(maps, kept)


def test_flip_back_equals_a_slow_loop() -> None:
    maps = noise((2, 5, 4, 6))
    partner = {0: 1, 1: 0, 2: 2, 3: 4, 4: 3}
    wanted = np.zeros_like(maps)
    for n, k, y, x in np.ndindex(maps.shape):
        wanted[n, k, y, x] = maps[n, partner[k], y, 5 - max(x - 1, 0)]
    np.testing.assert_array_equal(heatmap_torch.flip_back(torch.from_numpy(maps), PAIRS).numpy(), wanted)


def test_flip_back_mirrors_swaps_and_shifts() -> None:
    maps = torch.tensor([[[[1.0, 2, 3, 4]], [[5, 6, 7, 8]], [[9, 0, 0, 0]]]])
    back = heatmap_torch.flip_back(maps, ((1, 2),), shift=0)
    assert back.tolist() == [[[[4, 3, 2, 1]], [[0, 0, 0, 9]], [[8, 7, 6, 5]]]]
    assert heatmap_torch.flip_back(maps, ((1, 2),)).tolist() == [[[[4, 4, 3, 2]], [[0, 0, 0, 0]], [[8, 8, 7, 6]]]]


@pytest.mark.gpu
def test_a_gpu_decodes_as_the_cpu() -> None:
    if not torch.cuda.is_available():
        if os.environ.get("REQUIRE_GPU") == "1":
            pytest.fail("REQUIRE_GPU=1 but torch finds no CUDA device")
        pytest.skip("no CUDA device")
    maps = torch.from_numpy(gaussians(10))
    for decode in DECODES:
        points, scores = heatmap_torch.decode_heatmaps(maps.cuda(), decode)
        wanted_points, wanted_scores = heatmap_torch.decode_heatmaps(maps, decode)
        assert points.is_cuda
        torch.testing.assert_close(points.cpu(), wanted_points, rtol=0, atol=1e-4)
        assert torch.equal(scores.cpu(), wanted_scores)
    assert torch.equal(heatmap_torch.flip_back(maps.cuda(), PAIRS).cpu(), heatmap_torch.flip_back(maps, PAIRS))
