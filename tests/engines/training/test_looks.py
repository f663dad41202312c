"""Crops that look otherwise: within their bounds, the same for the same seed."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import Generator, Tensor  # noqa: E402

from engines.training.looks import LookOptions, change_looks  # noqa: E402

NONE = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "tint": 0.0, "gray": 0.0, "blur": 0.0, "cut_out": 0.0}


def changed(crops: Tensor, seed: int = 0, **options: float) -> Tensor:
    return change_looks(crops, LookOptions(**{**NONE, **options}), Generator().manual_seed(seed))


def crops(count: int = 64) -> Tensor:
    return torch.rand(count, 3, 24, 20, generator=Generator().manual_seed(1)) * 0.5 + 0.2


def test_no_change_is_none() -> None:
    assert torch.equal(changed(crops()), crops())


def test_a_seed_repeats_itself_and_the_crops_given_stay() -> None:
    given, options = crops(), LookOptions(blur=0.5, cut_out=0.5)
    first = change_looks(given, options, Generator().manual_seed(5))
    assert torch.equal(given, crops())
    assert torch.equal(first, change_looks(given, options, Generator().manual_seed(5)))
    assert not torch.equal(first, change_looks(given, options, Generator().manual_seed(6)))
    assert first.min() >= 0
    assert first.max() <= 1


def test_brightness_is_a_gain_within_its_bounds() -> None:
    gains = changed(crops(), brightness=0.3) / crops()
    each = gains.flatten(1)
    assert (each.amax(1) - each.amin(1)).max() < 1e-5  # one for the whole crop
    assert 0.7 <= each.min() < 0.75
    assert 1.25 < each.max() <= 1.3


def test_a_tint_is_a_gain_of_each_colour() -> None:
    gains = (changed(crops(), tint=0.08) / crops()).flatten(2)
    assert (gains.amax(2) - gains.amin(2)).max() < 1e-5
    assert (gains[:, 0, 0] - gains[:, 2, 0]).abs().max() > 0.05
    assert gains.min() >= 0.92 - 1e-5


def test_contrast_keeps_the_mean() -> None:
    now, before = changed(crops(), contrast=0.3), crops()
    torch.testing.assert_close(now.mean((1, 2, 3)), before.mean((1, 2, 3)))
    shares = now.std((1, 2, 3)) / before.std((1, 2, 3))
    assert 0.7 - 1e-3 <= shares.min() < 0.8
    assert 1.2 < shares.max() <= 1.3 + 1e-3


def test_grey_is_the_luma_of_all_colours() -> None:
    now = changed(crops(), gray=1.0)
    luma = (crops() * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1)
    for color in range(3):
        torch.testing.assert_close(now[:, color], luma)


def test_a_blur_spreads_a_dot_and_keeps_its_light_and_leaves_what_is_even() -> None:
    dot = torch.zeros(8, 3, 21, 21)
    dot[:, :, 10, 10] = 1
    now = changed(dot, blur=1.0)
    torch.testing.assert_close(now.sum((2, 3)), torch.ones(8, 3))
    torch.testing.assert_close(now, now.flip(-1))
    torch.testing.assert_close(now, now.transpose(-1, -2))
    assert len({round(float(peak), 4) for peak in now[:, 0, 10, 10]}) == 8  # a sigma for each
    assert now[:, 0, 10, 10].max() < 0.99
    even = torch.full((8, 3, 21, 21), 0.3)
    torch.testing.assert_close(changed(even, blur=1.0), even)


def test_a_share_of_the_crops_loses_a_rectangle() -> None:
    before = torch.full((400, 3, 40, 40), 2.0)  # clamped to 1, which no grey that is put in reaches
    lost = changed(before, cut_out=0.5, cut_side=0.4)[:, 0] != 1
    touched = lost.flatten(1).any(1)
    assert touched.float().mean() == pytest.approx(0.5, abs=0.08)
    heights, widths = lost.any(2).sum(1), lost.any(1).sum(1)
    assert heights.max() <= 16 + 1  # of 40 rows 0.4, and one for the rounding
    assert widths.max() <= 16 + 1
    assert torch.equal(lost.sum((1, 2)), heights * widths)
