"""Alike pictures found, kept on one side of a split, and those of an evaluation kept out."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.training.likeness import (
    ALIKE,
    Fingerprints,
    closest,
    digest,
    distances,
    ending,
    fingerprints,
    groups,
    look_hashes,
    split,
)


def prints(*hashes: int) -> Fingerprints:
    """Pictures of which only the hashes count; their mirror images are like nothing (all bits turned over)."""
    numbers = np.array(hashes, np.uint64)
    paths = tuple(Path(f"{number}.jpg") for number in range(len(hashes)))
    return Fingerprints(paths, numbers, ~numbers)


def scene(seed: int, height: int = 300, width: int = 400) -> np.ndarray:
    """A picture of soft blobs."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC))


def save(file: Path, image: np.ndarray, quality: int = 95) -> Path:
    cv2.imwrite(str(file), image, (cv2.IMWRITE_JPEG_QUALITY, quality))
    return file


def test_a_bit_says_that_a_cell_is_brighter_than_its_right_neighbour() -> None:
    look = np.zeros((1, 8, 9), np.uint8)
    look[0, 0, 1] = 9  # brighter than cell 2: bit 1
    look[0, 1, 8] = 9  # the last cell has no neighbour; cell 7 is darker
    look[0, 7, 7] = 9  # bit 63
    assert look_hashes(look).tolist() == [2 + 2**63]
    assert look_hashes(look[:, :, ::-1]).tolist() == [2**7 + 2**8 + 2**57]


def test_distances_count_the_bits_that_differ_mirrored_or_not() -> None:
    one = Fingerprints((Path("a"),), np.array([0b1011], np.uint64), np.array([7], np.uint64))
    other = Fingerprints(
        (Path("b"), Path("c")), np.array([0, 2**64 - 1], np.uint64), np.array([2**63, 0b1010], np.uint64)
    )
    assert distances(one, other).tolist() == [[3, 1]]


def test_a_copy_in_another_size_quality_or_mirrored_is_near_and_others_are_far(tmp_path: Path) -> None:
    image = scene(1)
    copies = [
        save(tmp_path / "a.jpg", image),
        save(tmp_path / "smaller.jpg", cv2.resize(image, (160, 120), interpolation=cv2.INTER_AREA), 60),
        save(tmp_path / "mirrored.jpg", np.ascontiguousarray(image[:, ::-1])),
    ]
    others = [save(tmp_path / f"other{seed}.jpg", scene(seed)) for seed in range(2, 12)]
    apart, paths = closest(fingerprints(copies[1:]), fingerprints([copies[0], *others]))
    assert apart.max() <= 2
    assert paths == (copies[0], copies[0])
    apart, _ = closest(fingerprints(copies[:1]), fingerprints(others))
    assert apart.min() > ALIKE


def test_the_digest_is_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert digest(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_ending_is_of_the_length_and_the_last_4096_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert ending(tmp_path / "a") == (3, digest(tmp_path / "a"))
    for name, data in (("b", b"1" + b"0" * 4096), ("c", b"2" + b"0" * 4096), ("d", b"1" + b"0" * 4095 + b"1")):
        (tmp_path / name).write_bytes(data)
    assert ending(tmp_path / "b") == ending(tmp_path / "c")
    assert ending(tmp_path / "b")[0] == ending(tmp_path / "d")[0] == 4097
    assert ending(tmp_path / "b")[1] != ending(tmp_path / "d")[1]


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"words")
    with pytest.raises(OSError, match=r"a\.jpg: cannot be read as a picture"):
        fingerprints([tmp_path / "a.jpg"])


def test_a_group_is_what_is_alike_to_one_of_it() -> None:
    numbers = groups(prints(0, 2**40 - 1, 0b11, 0b1111, 2**40 - 2), bound=2)
    assert numbers.tolist() == [0, 1, 0, 0, 1]
    assert groups(prints(0, 0b11), bound=1).tolist() == [0, 1]
    assert groups(prints()).tolist() == []
    assert groups(prints(), together=np.zeros(0, np.int64)).tolist() == []


def test_a_group_is_what_has_one_number_too() -> None:
    together = np.array([-1, 4, -1, 4, 0])
    assert groups(prints(0, 2**40 - 1, 2**40 - 2, 2**60 - 2**20, 2**20), 2, together).tolist() == [0, 1, 1, 1, 0]
    assert groups(prints(*[1 << 64 - 2**k for k in range(5)]), 0, together).tolist() == [0, 1, 2, 1, 3]


def test_many_pictures_are_compared_piece_by_piece() -> None:
    # 3,000 rows of 3,000 do not go into the memory at once: 279 do.
    hashes = np.random.default_rng(3).integers(0, 2**64, 3000, np.uint64, endpoint=False).tolist()
    hashes[2999] = hashes[0]
    numbers = groups(prints(*hashes))
    assert numbers[2999] == numbers[0]
    assert len(set(numbers.tolist())) == 2999
    apart, paths = closest(prints(*hashes), prints(*hashes[:2999]))
    assert apart.tolist() == [0] * 3000
    assert paths[2999] == Path("0.jpg")


def test_more_pairs_than_are_kept_make_the_same_groups() -> None:
    # 1,100 x 1,100 pairs are more than 2**18 + 1,102.
    assert groups(prints(*[0] * 1100, 2**40 - 1, 1)).tolist() == [0] * 1100 + [1, 0]


def test_many_that_are_alike_take_no_more_memory() -> None:
    pictures = prints(*[0] * 3000)  # 9,000,000 pairs, 144 MB as numbers alone
    tracemalloc.start()
    try:
        assert not groups(pictures).any()
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()


def test_a_split_tears_no_group_apart_and_is_repeatable() -> None:
    hashes = np.random.default_rng(3).integers(0, 2**64, 50, np.uint64, endpoint=False).repeat(4)
    pictures = prints(*hashes.tolist())
    held = split(pictures, 0.1, seed=1).held
    assert held.sum() == 20
    assert set(held.reshape(50, 4).sum(axis=1).tolist()) == {0, 4}
    np.testing.assert_array_equal(split(pictures, 0.1, seed=1).held, held)
    assert not np.array_equal(split(pictures, 0.1, seed=2).held, held)


def scattered(count: int) -> list[int]:
    """Hashes of which none is like another."""
    return np.random.default_rng(3).integers(0, 2**64, count, np.uint64, endpoint=False).tolist()


def test_a_split_tears_no_clip_apart() -> None:
    clips = np.arange(10).repeat(5)
    held = split(prints(*scattered(50)), 0.2, seed=1, together=clips).held
    assert sorted(held.reshape(10, 5).sum(axis=1).tolist()) == [0] * 8 + [5] * 2


def test_a_clip_larger_than_the_share_is_held_where_it_is_a_fifth_of_all() -> None:
    clips = np.array([0] * 4 + [1] * 3 + [2] * 4 + [3] * 4)
    held = split(prints(*scattered(15)), 0.1, seed=0, together=clips).held
    assert np.flatnonzero(held).tolist() == [4, 5, 6]


def test_large_clips_are_cut_in_time() -> None:
    alone = split(prints(*[0] * 10), 0.2, seed=0, together=np.zeros(10, np.int64)).held
    assert np.flatnonzero(alone).tolist() == [8, 9]
    two = split(prints(*scattered(12)), 0.1, seed=0, together=np.array([0, 1] * 6)).held
    assert np.flatnonzero(two).tolist() == [10, 11]
    with pytest.raises(ValueError, match="1 pictures are too few to hold some of them back"):
        split(prints(0), 0.2, seed=0, together=np.zeros(1, np.int64))


def test_a_lone_picture_beside_a_large_clip_is_not_all_to_validate_on() -> None:
    held = split(prints(*scattered(41)), 0.1, seed=0, together=np.array([0] * 40 + [-1])).held
    assert np.flatnonzero(held).tolist() == [36, 37, 38, 39, 40]


def test_a_group_larger_than_the_share_is_for_training() -> None:
    held = split(prints(*[0] * 8, 2**30 - 1, 2**60 - 2**30), 0.2, seed=0).held
    assert held.tolist() == [False] * 8 + [True] * 2


def test_stills_of_few_scenes_are_split_too() -> None:
    five = split(prints(*np.repeat(scattered(5), 60).tolist()), 0.035, seed=0)
    assert sorted(five.held.reshape(5, 60).sum(axis=1).tolist()) == [0, 0, 0, 0, 60]
    assert not five.is_cut
    two = split(prints(*np.repeat(scattered(2), 50).tolist()), 0.04, seed=0)
    assert np.flatnonzero(two.held).tolist() == [48, 49, 98, 99]
    assert two.is_cut


@pytest.mark.parametrize(
    ("share", "hashes", "words"),
    [(0.0, (1, 2**40 - 1), "between 0 and 1, got 0.0"), (0.5, (1,), "1 pictures are too few")],
)
def test_what_cannot_be_split_is_refused(share: float, hashes: tuple[int, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        split(prints(*hashes), share, seed=0)


def test_there_must_be_something_to_compare_with() -> None:
    with pytest.raises(ValueError, match="no picture to compare with"):
        closest(prints(1), prints())


@pytest.mark.assets
def test_no_evaluation_picture_is_alike_to_a_labelled_training_picture(assets: Path) -> None:
    evaluated = sorted((assets / "gt" / "coco_val" / "images").glob("*.jpg"))
    trained = sorted((assets / "train" / "images").glob("coco*.jpg"))
    apart, _ = closest(fingerprints(evaluated), fingerprints(trained))
    assert len(apart) == 94
    assert apart.min() > ALIKE
    assert not set(map(digest, evaluated)) & set(map(digest, trained))
