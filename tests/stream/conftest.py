"""Small clips, encoded as the tests need them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.container import OutputContainer

MakeClip = Callable[..., Path]


@pytest.fixture
def make_clip(tmp_path: Path) -> MakeClip:
    """Encodes a clip and returns its path.

    `name` decides the container. Frame i is flat: luma 40 + 5 i, chroma 128, or what `draw(i)` gives as planes y
    (H, W), u and v of `pixel_format` yuv420p; any other format gets an array that `VideoFrame.from_ndarray` takes. With
    the default codec, lossless H.264, values come back as they were. `pts` are in ticks of `time_base` (default: one
    tick per frame of 1/rate). `rotation` is the tag in degrees counterclockwise, `color` (matrix, range, primaries,
    transfer) in FFmpeg's numbers, `aspect` that of a pixel. `sound_s` seconds of a tone begin at 0.
    """

    def make(
        name: str = "clip.mp4",
        *,
        frames: int = 10,
        size: tuple[int, int] = (48, 64),
        rate: int = 25,
        pts: Sequence[int] | None = None,
        time_base: Fraction | None = None,
        codec: str = "libx264",
        pixel_format: str = "yuv420p",
        draw: Callable[[int], object] | None = None,
        rotation: int = 0,
        color: tuple[int, int, int, int] | None = None,
        aspect: Fraction | None = None,
        sound_s: float = 0,
        key_every: int = 12,
        b_frames: int = 0,
        codec_options: dict[str, str] | None = None,
        mux_options: dict[str, str] | None = None,
    ) -> Path:
        tick = time_base or Fraction(1, rate)
        options = dict(mux_options or {})
        if Path(name).suffix in (".mp4", ".mov"):
            options.setdefault("video_track_timescale", str(tick.denominator))
        path = tmp_path / name
        with av.open(str(path), "w", options=options) as container:
            stream = container.add_stream(codec, rate=rate)
            stream.height, stream.width = size
            stream.pix_fmt = pixel_format
            stream.time_base = stream.codec_context.time_base = tick
            stream.gop_size = key_every
            if codec == "libx264":
                defaults = {"qp": "0", "preset": "ultrafast", "bf": str(b_frames), "sc_threshold": "0"}
                stream.codec_context.options = defaults | (codec_options or {})
            if aspect is not None:
                stream.codec_context.sample_aspect_ratio = aspect
            if rotation:
                stream.set_display_rotation(rotation)
            if color is not None:
                context = stream.codec_context
                context.colorspace, context.color_range, context.color_primaries, context.color_trc = color
            sound = container.add_stream("aac", rate=48_000, layout="mono") if sound_s else None
            container.start_encoding()
            for index in range(frames):
                frame = _frame(index, size, pixel_format, draw)
                frame.pts = index if pts is None else pts[index]
                frame.time_base = tick
                if color is not None:
                    frame.colorspace, frame.color_range = color[:2]
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
            if sound is not None:
                _add_tone(container, sound, sound_s)
        return path

    return make


def _frame(index: int, size: tuple[int, int], pixel_format: str, draw: Callable[[int], object] | None) -> av.VideoFrame:
    if pixel_format != "yuv420p":
        return av.VideoFrame.from_ndarray(draw(index), pixel_format)
    height, width = size
    half = ((height + 1) // 2, (width + 1) // 2)
    flat = (np.full(size, 40 + 5 * index, np.uint8), np.full(half, 128, np.uint8), np.full(half, 128, np.uint8))
    frame = av.VideoFrame(width, height, "yuv420p")
    for plane, values in zip(frame.planes, flat if draw is None else draw(index), strict=True):
        rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
        rows[:, : plane.width] = values
    return frame


def _add_tone(container: OutputContainer, stream: av.AudioStream, seconds: float) -> None:
    samples = np.sin(np.arange(round(48_000 * seconds)) * (2 * np.pi * 440 / 48_000)).astype(np.float32)
    for start in range(0, len(samples), 1024):
        frame = av.AudioFrame.from_ndarray(samples[None, start : start + 1024], "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, start, Fraction(1, 48_000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
