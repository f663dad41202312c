"""Learnt from or held back: nothing alike on both sides, and what is to be kept out on neither."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.training.labels import LabelledSet
from engines.training.split import clip_numbers, part, shares_of, usual_share


def scene(file: Path, seed: int, mirrored: bool = False, quality: int = 95) -> Path:
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    image = cv2.resize(small, (200, 150), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(file), image[:, ::-1] if mirrored else image, (cv2.IMWRITE_JPEG_QUALITY, quality))
    return file


def scenes(folder: Path, count: int) -> list[Path]:
    """Each twice: as it is, and mirrored in a lower quality."""
    return [
        scene(folder / f"{n}{end}.jpg", n, end == "m", 60 + 35 * (end == "a")) for n in range(count) for end in "am"
    ]


def test_pictures_that_are_alike_are_on_one_side(tmp_path: Path) -> None:
    parts = part(scenes(tmp_path, 20), share=0.2, seed=3)
    pairs = parts.held.reshape(20, 2)
    assert (pairs[:, 0] == pairs[:, 1]).all()
    assert (parts.held.sum(), parts.left.sum()) == (8, 0)
    again, other = part(scenes(tmp_path, 20), 0.2, seed=3), part(scenes(tmp_path, 20), 0.2, seed=4)
    np.testing.assert_array_equal(again.held, parts.held)
    assert not np.array_equal(other.held, parts.held)


def test_what_is_like_a_picture_to_be_kept_out_is_left_out(tmp_path: Path) -> None:
    paths = scenes(tmp_path, 20)
    held = np.flatnonzero(part(paths, 0.2, seed=3).held)
    learnt = np.flatnonzero(~part(paths, 0.2, seed=3).held)
    kept_out = [
        scene(tmp_path / "first.jpg", int(held[0]) // 2, quality=75),
        scene(tmp_path / "second.jpg", int(learnt[0]) // 2, mirrored=True, quality=75),
        scene(tmp_path / "of-nobody.jpg", 99),
    ]
    parts = part(paths, 0.2, 3, kept_out)
    assert np.flatnonzero(parts.left).tolist() == sorted([*held[:2], *learnt[:2]])
    assert not (parts.held & parts.left).any()
    pairs = parts.held.reshape(20, 2)
    assert (pairs[:, 0] == pairs[:, 1]).all()
    assert parts.held.sum() == 6, "of the 36 that are not left out"


def test_what_is_kept_out_is_not_what_is_held(tmp_path: Path) -> None:
    # Scenes of ten stills, each too many for the share and too many of all; the smallest, of eight, is kept out.
    counts = (10, 10, 8, 10)
    stills = [scene(tmp_path / f"{n}-{i}.jpg", n, quality=60 + 4 * i) for n in range(4) for i in range(counts[n])]
    parts = part(stills, 0.1, 3, stills[20:21])
    assert np.flatnonzero(parts.left).tolist() == list(range(20, 28))
    assert np.flatnonzero(parts.held).tolist() == [9, 19, 37]
    assert parts.is_cut


def test_pictures_that_are_all_to_be_kept_out_are_refused(tmp_path: Path) -> None:
    paths = scenes(tmp_path, 3)
    with pytest.raises(ValueError, match="all 6 pictures are like some to be kept out"):
        part(paths, 0.2, 3, paths[::2])


def frames(folder: Path, clip: str, count: int, first: int) -> list[Path]:
    """The frames of a clip as they are kept, of scenes that have nothing to do with each other."""
    place = folder / f"{clip}-0123abcd"
    place.mkdir()
    return [scene(place / f"{clip}-{number:06d}.jpg", first + number) for number in range(count)]


def test_frames_of_a_clip_are_told_by_their_folder() -> None:
    names = ("a-0123abcd/a-000007.jpg", "x/a.jpg", "b-c-89abcdef/b-c-1000000.jpg", "a-0123abcd/a-000008.jpg")
    assert clip_numbers([Path("clips") / name for name in names]).tolist() == [0, -1, 1, 0]
    others = ("a-0123abcd/b-000007.jpg", "a-0123abcd/a-07.jpg", "a/a-000007.jpg", "a-0123abcd/a-000007.png")
    assert clip_numbers([Path(name) for name in others]).tolist() == [-1] * 4


def test_frames_of_a_clip_are_on_one_side(tmp_path: Path) -> None:
    paths = [path for k in range(5) for path in frames(tmp_path, f"clip{k}", 4, 10 * k)]
    held = part(paths, share=0.2, seed=3).held.reshape(5, 4)
    assert sorted(held.sum(axis=1).tolist()) == [0, 0, 0, 0, 4]


def test_of_one_clip_the_last_frames_are_held(tmp_path: Path) -> None:
    paths = frames(tmp_path, "dance", 8, 0)
    assert part(paths, 0.25, seed=3).held.tolist() == [False] * 6 + [True] * 2
    assert part(paths[::-1], 0.25, seed=3).held.tolist() == [True] * 2 + [False] * 6


def test_a_share_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"between 0 and 1, got 1\.5"):
        part(scenes(tmp_path, 2), 1.5, 0)


def test_each_is_drawn_by_the_weight_of_its_set() -> None:
    sets = [LabelledSet(name, (), weight, True, ()) for name, weight in (("a", 1.0), ("b", 0.25), ("c", 3.0))]
    shares = shares_of(sets, np.array([2, 0, 1, 2]))
    assert (shares.tolist(), shares.dtype) == ([3.0, 1.0, 0.25, 3.0], np.float64)
    assert shares_of(sets, np.zeros(0, np.int64)).shape == (0,)


def test_of_few_pictures_more_are_held() -> None:
    assert [usual_share(count) for count in (0, 50, 200, 400, 8000)] == [0.2, 0.2, 0.2, 0.1, 0.035]
