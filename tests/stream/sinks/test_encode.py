from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import pytest

from stream.frame import Color
from stream.sinks.encode import PictureEncoder, PictureFormat
from stream.sinks.encoding import VideoOptions, bits_per_second, encoder_settings, pixel_format

MS = Fraction(1, 1000)


def grey() -> av.VideoFrame:
    frame = av.VideoFrame(64, 48, "yuv420p")
    for plane in frame.planes:
        plane.update(bytes([128]) * plane.buffer_size)
    return frame


def encoded(
    path: Path, stamps: Sequence[int], *, live: bool, key_every_s: float | None
) -> list[list[tuple[int, bool]]]:
    """The (pts, is key frame) of the packets that come after each picture, and at the end."""
    picture = PictureFormat((48, 64), MS, Fraction(25), Color())
    with av.open(str(path), "w") as output:
        encoder = PictureEncoder(output, "libx264", picture, VideoOptions(), live=live, key_every_s=key_every_s)
        steps = [encoder.encode(grey(), pts) for pts in stamps] + [encoder.finish()]
        return [[(packet.pts, packet.is_keyframe) for packet in step] for step in steps]


def test_live_every_packet_comes_at_once(tmp_path: Path) -> None:
    stamps = [0, 40, 80, 120]
    steps = encoded(tmp_path / "out.ts", stamps, live=True, key_every_s=1)
    assert [[pts for pts, _ in step] for step in steps] == [[0], [40], [80], [120], []]


@pytest.mark.parametrize(
    ("name", "taken"),
    [("out.ts", [0, 40_000, 40_012, 40_024, 80_000]), ("out.mkv", [0, 40_000, 40_001, 40_002, 80_000])],
)
def test_pictures_within_one_tick_of_a_transport_stream_get_one_each(
    tmp_path: Path, name: str, taken: list[int]
) -> None:
    picture = PictureFormat((48, 64), Fraction(1, 1_000_000), Fraction(25), Color())
    stamps = []
    with av.open(str(tmp_path / name), "w") as output:
        encoder = PictureEncoder(output, "libx264", picture, VideoOptions(), live=True)
        for pts in (0, 40_000, 40_001, 40_002, 80_000):
            packets = encoder.encode(grey(), pts)
            stamps += [packet.pts for packet in packets]
            output.mux(packets)
        output.mux(encoder.finish())
    assert stamps == taken


def test_key_frames_come_by_time_whatever_the_frame_rate(tmp_path: Path) -> None:
    stamps = [0, 400, 900, 1000, 1100, 3500, 3600, 4499, 4500]
    steps = encoded(tmp_path / "out.ts", stamps, live=True, key_every_s=1)
    assert [pts for step in steps for pts, is_key in step if is_key] == [0, 1000, 3500, 4500]


def test_a_film_has_the_encoders_own_key_frames(tmp_path: Path) -> None:
    steps = encoded(tmp_path / "out.mp4", range(0, 4000, 40), live=False, key_every_s=None)
    assert [pts for step in steps for pts, is_key in step if is_key] == [0]


@pytest.mark.parametrize("encoder", ["libx264", "libx265", "h264_nvenc", "h264_qsv"])
def test_a_preset_and_a_quality_are_kept_when_live(encoder: str) -> None:
    options = VideoOptions(preset="medium", crf=30)
    settings = encoder_settings(encoder, options, live=True)
    assert encoder_settings(encoder, options).items() - settings.items() <= {
        ("x265-params", "log-level=error:rc-lookahead=10")
    }
    assert settings["preset"] == "medium"
    assert "30" in settings.values()


def test_encoders_without_a_quality_are_told_a_bit_rate() -> None:
    size, rate = (1080, 1920), Fraction(30)
    assert bits_per_second("h264_v4l2m2m", VideoOptions(), size, rate) == 6_220_800
    assert bits_per_second("h264_v4l2m2m", VideoOptions(bitrate="2M"), size, rate) == 2_000_000
    assert bits_per_second("libx264", VideoOptions(), size, rate) == 0


def test_intels_encoder_takes_interleaved_chroma() -> None:
    assert (pixel_format("h264_qsv"), pixel_format("libx264")) == ("nv12", "yuv420p")
