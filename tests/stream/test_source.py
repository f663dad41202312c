from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from stream.source import SourceOptions, StreamError, open_source, parse_camera, without_credentials


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://cam/live", "rtsp://cam/live"),
        ("rtsp://admin:secret@cam:554/live", "rtsp://cam:554/live"),
        ("rtsp://admin@cam/live", "rtsp://cam/live"),
        ("rtsp://admin:p@ss@cam/live", "rtsp://cam/live"),
        ("rtsp://admin:pa/ss@cam:554/live", "rtsp://cam:554/live"),
        ("rtsp://cam:554/a@b", "rtsp://cam:554/a@b"),
        ("rtsp://cam/user=admin&password=x1&channel=1", "rtsp://cam/user=***&password=***&channel=1"),
        ("http://cam/v.mjpg?token=abc&size=2", "http://cam/v.mjpg?token=***&size=2"),
        ("clips/me@home.mp4", "clips/me@home.mp4"),
        ("0", "0"),
    ],
)
def test_credentials_are_cut_from_addresses(url: str, shown: str) -> None:
    assert without_credentials(url) == shown


@pytest.mark.parametrize(
    ("mode", "parsed"),
    [("1280x720@30", ("1280x720", "30")), ("640x480", ("640x480", None)), ("640x480@7.5", ("640x480", "7.5"))],
)
def test_camera_mode_is_size_and_rate(mode: str, parsed: tuple[str, str | None]) -> None:
    assert parse_camera(mode) == parsed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"camera": "720p"}, "WIDTHxHEIGHT"),
        ({"start_s": -1.0}, "start_s"),
        ({"start_s": 2.0, "end_s": 2.0}, "end_s"),
        ({"end_s": 0.0}, "end_s"),
        ({"threads": -1}, "threads"),
        ({"read_timeout_s": 0.0}, "time-outs"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SourceOptions(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["gone.mp4", "gone.jpg", "gone/", "file:///nowhere/gone.mp4"])
def test_missing_file_is_an_os_error(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such file or folder; check the path"):
        open_source(name)


def test_empty_address_is_refused() -> None:
    with pytest.raises(ValueError, match="no address"):
        open_source("")


def test_missing_camera_says_what_there_is() -> None:
    with pytest.raises(OSError, match=r"no camera 987; (there are /dev|this machine has none)"):
        open_source("987")


def test_unknown_scheme_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="ftp://host/a: unknown kind of address; there are rtsp"):
        open_source("ftp://me:pw@host/a")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.mp4", b"", "the file is empty"),
        ("notes.mp4", b"just a few words\n" * 50, "it is no video"),
        ("notes.txt", b"just a few words\n" * 50, "it is text, no video"),
        ("killed.mp4", b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41" + bytes(4000), "index, which this one lacks"),
    ],
)
def test_what_is_no_video_is_named_with_a_remedy(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(StreamError, match=message) as caught:
        open_source(str(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_picture_folder_and_glob_give_stills_and_a_clip_gives_video(
    tmp_path: Path, make_clip: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((4, 6, 3), np.uint8))
    clip = make_clip("b.mp4")  # type: ignore[operator]
    monkeypatch.chdir(tmp_path)
    for url, still in (
        ("a.png", True),
        (str(tmp_path), True),
        ("*.png", True),
        ("b.mp4", False),
        (f"file://{clip}", False),
    ):
        source = open_source(url)
        assert source.info.still == still, url
        source.close()
