from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engines.results import Poses
from engines.skeletons import COCO17
from stream.frame import Frame
from stream.pipeline import Result
from stream.sinks.base import Picture
from stream.sinks.pictures import PictureSink
from stream.source import StreamError
from tracker.results import Tracks


def result_of(source_id: str, index: int = 0, *, still: bool = True) -> Result:
    frame = Frame(np.zeros((32, 48, 3), np.uint8), index, 0, Fraction(1, 25), source_id, 0, still)
    nobody = Tracks(np.zeros(0, np.int64), np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
    return Result(frame, nobody, Poses(np.zeros((0, 17, 2), np.float32), np.zeros((0, 17), np.float32), COCO17))


def picture_of(blue: int, green: int, red: int) -> Picture:
    image = np.full((32, 48, 3), (blue, green, red), np.uint8)
    return Picture(image, np.array([[0, 0, 48, 32]], np.int32))


def test_stills_keep_their_names_and_frames_are_numbered(tmp_path: Path) -> None:
    sink = PictureSink(tmp_path / "new" / "folder")
    sink.write(result_of("group.photo.png"), picture_of(10, 200, 90))
    sink.write(result_of("clip.mp4", 123, still=False), picture_of(10, 200, 90))
    sink.write(result_of("clip.mp4", 124, still=False), picture_of(10, 200, 90))
    sink.close()
    folder = tmp_path / "new" / "folder"
    assert sorted(p.name for p in folder.iterdir()) == ["clip-000123.jpg", "clip-000124.jpg", "group.photo.jpg"]
    read = cv2.imread(str(folder / "clip-000123.jpg"))
    assert np.abs(read.astype(int) - (10, 200, 90)).max() <= 2


def test_png_is_exact(tmp_path: Path) -> None:
    sink = PictureSink(tmp_path, ending="png")
    noise = np.random.default_rng(0).integers(0, 256, (31, 47, 3), dtype=np.uint8)
    sink.write(result_of("a.jpg"), Picture(noise, np.zeros((0, 4), np.int32)))
    assert np.array_equal(cv2.imread(str(tmp_path / "a.png")), noise)


@pytest.mark.parametrize("second", ["bus.png", "bus.jpg"])
def test_two_stills_of_one_name_are_refused_with_both_names(tmp_path: Path, second: str) -> None:
    sink = PictureSink(tmp_path, overwrite=True)
    sink.write(result_of("bus.jpg"), picture_of(1, 2, 3))
    with pytest.raises(FileExistsError, match=rf"bus\.jpg and {second} would both become bus\.jpg"):
        sink.write(result_of(second), picture_of(1, 2, 3))


def test_existing_picture_is_replaced_only_with_overwrite(tmp_path: Path) -> None:
    (tmp_path / "bus.jpg").write_bytes(b"precious")
    with pytest.raises(FileExistsError, match="--overwrite"):
        PictureSink(tmp_path).write(result_of("bus.jpg"), picture_of(1, 2, 3))
    assert (tmp_path / "bus.jpg").read_bytes() == b"precious"
    PictureSink(tmp_path, overwrite=True).write(result_of("bus.jpg"), picture_of(1, 2, 3))
    assert cv2.imread(str(tmp_path / "bus.jpg")).shape == (32, 48, 3)
    assert [p.name for p in tmp_path.iterdir()] == ["bus.jpg"]


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StreamError, match="choose another folder"):
        PictureSink(tmp_path / "file" / "folder")


@pytest.mark.parametrize(
    ("image", "error"),
    [
        (np.zeros((0, 8, 3), np.uint8), cv2.error),
        (np.zeros((1, 65_501, 3), np.uint8), StreamError),  # wider than jpg knows
    ],
)
def test_a_picture_that_cannot_be_encoded_leaves_no_file(
    tmp_path: Path, image: NDArray[np.uint8], error: type[Exception]
) -> None:
    sink = PictureSink(tmp_path)
    with pytest.raises(error):
        sink.write(result_of("a.png"), Picture(image, np.zeros((0, 4), np.int32)))
    sink.close()
    assert list(tmp_path.iterdir()) == []


def test_unknown_ending_and_missing_picture_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="jpg or png"):
        PictureSink(tmp_path, ending="gif")
    with pytest.raises(ValueError, match="got None"):
        PictureSink(tmp_path).write(result_of("a.jpg"), None)
