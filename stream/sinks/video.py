"""Results as a video file: the drawn pictures with the source's own times, colours and sound."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from stream.color import av_frame, is_full_range, matrix_of, patch, plane_views, reformatter, to_planes
from stream.frame import Color, Frame, Planes
from stream.pipeline import Result
from stream.sinks.base import Picture
from stream.sinks.clock import USUAL_RATE, FrameClock
from stream.sinks.encoding import FILMS, VideoOptions, container_of, encoder_settings, find_encoder, muxer_options
from stream.sinks.partfile import PartFile
from stream.sinks.sound import Sound
from stream.source import SourceInfo, StreamError

__all__ = ["VideoOptions", "VideoSink"]


class VideoSink:
    """Encodes every picture into mp4, mov, mkv, webm or ts.

    Time stamps are the source's own, its start offset included; in mp4 and mov they and the time base are exact. With
    `origin_s`, the moment of the source's time line at which reading began, the output begins there, at 0. Pictures of
    an odd height or width get their last row or column twice. Sound that outlasts the pictures is written to its end,
    unless the film `ends_early` or the run was `stopped`: then it ends with them. `warnings` says what of the sound is
    missing.

    Raises ValueError for a container or an encoder that there is not, FileExistsError where `path` is taken,
    StreamError where it cannot be written; what was written then stays as NAME.part.EXT.
    """

    needs_picture = True

    def __init__(
        self,
        path: Path,
        info: SourceInfo,
        options: VideoOptions | None = None,
        *,
        origin_s: float = 0.0,
        ends_early: bool = False,
        stopped: threading.Event | None = None,
        overwrite: bool = False,
    ) -> None:
        self._options = options or VideoOptions()
        self._info = info
        self._size = self._options.output_size(info.size)
        self._origin_s = Fraction(origin_s).limit_denominator(1_000_000)
        self._shift = -round(self._origin_s / info.time_base) if origin_s else info.start_pts
        self._clock = FrameClock(info)
        self._ends_early = ends_early
        self._stopped = stopped or threading.Event()
        self._failed = False
        self._exact = path.suffix.lower() in FILMS
        self._held: Packet[VideoStream] | None = None
        self.frames_written = 0
        codec = find_encoder(path, self._options)
        self._file = PartFile(path, overwrite=overwrite)
        with ExitStack() as undo:
            undo.callback(self._file.discard)
            try:
                self._output = self._open_output()
                undo.callback(self._output.close)
                self._stream = self._add_pictures(codec)
            except (av.FFmpegError, ValueError) as error:
                raise ValueError(
                    f"{path}: encoder {codec.name} does not open ({_reason(error)}); check --encoder and its settings"
                ) from error
            self._sound = self._open_sound()
            undo.pop_all()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What of the sound is missing, a line each."""
        return tuple(self._sound.warnings) if self._sound else ()

    @property
    def bytes_written(self) -> int:
        """The size of the file so far."""
        place = self._file.part if self._file.part.exists() else self._file.path
        return place.stat().st_size if place.exists() else 0

    def write(self, result: Result, picture: Picture | None) -> None:
        """Encode one picture, after the sound that is heard before it."""
        with self._writing():
            if picture is None:
                raise ValueError("a video is made of pictures, got None")
            frame = self._encodable(result.frame, picture)
            frame.pts = result.frame.pts + self._shift
            frame.time_base = self._info.time_base
            self._clock.saw(frame.pts)
            if self._sound is not None:
                self._sound.advance(frame.pts * frame.time_base)
            self._mux(self._stream.encode(frame))
        self.frames_written += 1

    def close(self, *, failed: bool = False) -> None:
        """Finish the file and give it its name; after a failed write it stays NAME.part.EXT."""
        if self._failed or not self.frames_written:
            self._abandon()
            return
        with self._writing():
            self._mux(self._outlast(self._stream.encode(None)))
            self._release()
            if self._sound is not None:
                self._sound.advance(self._clock.end * self._info.time_base)
                if not (self._ends_early or failed):
                    self._sound.finish(self._stopped.is_set)
                self._sound.close()
            self._output.close()
        self._file.finish(keep_existing=failed)

    def _abandon(self) -> None:
        """Let go of everything; a file without a picture is removed."""
        if self._sound is not None:
            self._sound.close()
        # The error that was raised when the write failed comes again.
        with suppress(av.FFmpegError):
            self._release()
            self._output.close()
        if not self.frames_written:
            self._file.discard()

    def _open_output(self) -> OutputContainer:
        path = self._file.path
        return av.open(
            f"file:{self._file.part}",
            "w",
            format=container_of(path).muxer,
            options=muxer_options(path, self._info.time_base),
        )

    def _add_pictures(self, codec: av.Codec) -> VideoStream:
        """The video stream, its encoder open."""
        info, options = self._info, self._options
        stream = self._output.add_stream(codec.name, rate=info.rate or USUAL_RATE)
        if not isinstance(stream, VideoStream):
            raise ValueError(f"{codec.name} encodes no video")
        height, width = (_even(side) for side in self._size)
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.time_base = stream.time_base = info.time_base
        context.sample_aspect_ratio = info.sample_aspect
        # An untagged picture means another matrix where scaling brings it across the border between SD and HD.
        matrix = matrix_of(info.color, info.size[0])
        color = info.color if matrix_of(info.color, height) == matrix else replace(info.color, matrix=matrix)
        context.colorspace, context.color_range = color.matrix, color.range
        context.color_primaries, context.color_trc = color.primaries, color.transfer
        context.options = encoder_settings(codec.name, options)
        context.bit_rate = options.bits_per_second or 0
        context.thread_count = 0  # as many as the encoder thinks good
        context.open()
        return stream

    def _open_sound(self) -> Sound | None:
        info = self._info
        if not self._options.sound or info.sound_url is None:
            return None
        # All of a source's times, of sound and pictures, are moved by the same.
        start_s, from_start = info.start_pts * info.time_base, bool(self._origin_s)
        return Sound(
            info.sound_url,
            self._output,
            container_of(self._file.path),
            shift_s=-self._origin_s - start_s if from_start else Fraction(0),
            begin_s=Fraction(0) if from_start else start_s,
            cut_start=from_start,
        )

    def _encodable(self, frame: Frame, picture: Picture) -> av.VideoFrame:
        """The drawn picture in 4:2:0, of the output's size; undrawn pixels are the bytes that were decoded."""
        if frame.planes is None:
            encodable = av_frame(to_planes(picture.image, self._info.color))
        else:
            encodable = av_frame(frame.planes)
            patch(Planes(*plane_views(encodable), frame.planes.color), frame.image, picture.image, picture.changed)
        if (encodable.height, encodable.width) != self._size:
            encodable = _scaled(encodable, self._size, self._info.color)
        return _padded(encodable) if encodable.height % 2 or encodable.width % 2 else encodable

    def _mux(self, packets: list[Packet[VideoStream]]) -> None:
        for packet in packets:
            packet.duration = self._clock.duration(packet.pts)
            if not self._exact:
                self._output.mux(packet)
                continue
            # FFmpeg's mp4 writer takes a fragment's last duration for the step of decoding times to the next fragment,
            # and moves all that follows where it is another, as with an uneven frame rate and B-frames.
            held = self._held
            if held is not None and held.dts is not None and packet.dts is not None:
                held.duration = packet.dts - held.dts
            self._release()
            self._held = packet

    def _release(self) -> None:
        """Write the packet that waited for the next one, if one does."""
        if self._held is not None:
            self._output.mux(self._held)
            self._held = None

    def _outlast(self, packets: list[Packet[VideoStream]]) -> list[Packet[VideoStream]]:
        """The encoder's last packets, of which the very last stands until the end of the film.

        FFmpeg's mp4 writer takes the end of its last fragment for that of the film. Where it holds but frames that are
        shown before one of the fragment before it, players would leave out that one.
        """
        if packets and packets[-1].pts is not None:
            self._clock.stretch(packets[-1].pts)
        return packets

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """End the film where anything goes wrong; what FFmpeg or the disk say becomes a StreamError with a remedy."""
        try:
            yield
        except (av.FFmpegError, OSError) as error:
            self._failed = True
            self._abandon()
            raise StreamError(
                f"{self._file.path}: cannot be written any further ({_reason(error)}); make room or choose another "
                f"folder; {self.frames_written} frames are in {self._file.part.name}"
            ) from error
        except BaseException:
            self._failed = True
            self._abandon()
            raise


def _scaled(frame: av.VideoFrame, size: tuple[int, int], color: Color) -> av.VideoFrame:
    height, width = size
    value_range = 2 if is_full_range(color) else 1
    matrix = matrix_of(color, frame.height)
    return reformatter().reformat(
        frame,
        width,
        height,
        "yuv420p",
        src_colorspace=matrix,
        dst_colorspace=matrix,
        src_color_range=value_range,
        dst_color_range=value_range,
        interpolation="BICUBIC" if height >= frame.height else "AREA",
        threads=1,
    )


def _padded(frame: av.VideoFrame) -> av.VideoFrame:
    """The frame with its last row and column doubled as needed to make both sides even, as 4:2:0 encoders ask."""
    even = av.VideoFrame(_even(frame.width), _even(frame.height), "yuv420p")
    for target, view in zip(plane_views(even), plane_views(frame), strict=True):
        missing = [(0, t - s) for t, s in zip(target.shape, view.shape, strict=True)]
        target[:] = np.pad(view, missing, mode="edge")
    return even


def _even(side: int) -> int:
    return side + side % 2


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
