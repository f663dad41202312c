"""Results as a video file: the drawn pictures with the source's own times, colours and sound."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path

import av
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from stream.pipeline import Result
from stream.sinks.base import Picture
from stream.sinks.encodable import encodable, picture_format
from stream.sinks.encode import Packets, PictureEncoder
from stream.sinks.encoding import FILMS, VideoOptions, container_of, find_encoder, muxer_options
from stream.sinks.live_sound import LiveSound
from stream.sinks.partfile import PartFile
from stream.sinks.sound import Sound
from stream.source import SourceInfo, StreamError

__all__ = ["VideoOptions", "VideoSink"]

LIVE_KEY_EVERY_S = 10.0
"""Seconds between key frames of what is recorded live, to which players jump: as x264 has it at 25 frames a second."""


class VideoSink:
    """Encodes every picture into mp4, mov, mkv, webm or ts.

    Time stamps are the source's own, its start offset included; in mp4 and mov they and the time base are exact. With
    `origin_s`, the moment of the source's time line at which reading began, the output begins there, at 0. Pictures of
    an odd height or width get their last row or column twice. Sound that outlasts the pictures is written to its end,
    unless the film `ends_early` or the run was `stopped`: then it ends with them, as that of a live source does.
    `warnings` says what of the sound is missing. Of a killed run all but the last second can be played: for that the
    encoder holds back no picture of a live source, and at most ten of a file.

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
        self._origin_s = Fraction(origin_s).limit_denominator(1_000_000)
        self._shift = -round(self._origin_s / info.time_base) if origin_s else info.start_pts
        self._ends_early = ends_early
        self._stopped = stopped or threading.Event()
        self._failed = False
        self._exact = path.suffix.lower() in FILMS
        self._held: Packet[VideoStream] | None = None
        self._early: Packets = []  # while it is open whether there will be sound
        self.frames_written = 0
        codec = find_encoder(path, self._options)
        self._file = PartFile(path, overwrite=overwrite)
        with ExitStack() as undo:
            undo.callback(self._file.discard)
            try:
                self._output = self._open_output()
                undo.callback(self._output.close)
                # What an encoder holds back of a slow camera's pictures would be lost with the program.
                self._encoder = PictureEncoder(
                    self._output,
                    codec.name,
                    picture_format(info, self._options),
                    self._options,
                    live=info.live,
                    key_every_s=LIVE_KEY_EVERY_S if info.live else None,
                )
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
            frame = encodable(result.frame, picture, self._info, self._options)
            pts = result.frame.pts + self._shift
            if self._sound is not None:
                self._sound.advance(pts * self._info.time_base)
            self._mux(self._encoder.encode(frame, pts))
        self.frames_written += 1

    def cut(self) -> None:
        """Finish the file where another one goes on: the sound ends with the pictures."""
        self._ends_early = True
        self.close()

    def close(self, *, failed: bool = False) -> None:
        """Finish the file and give it its name; after a failed write it stays NAME.part.EXT."""
        if self._failed or not self.frames_written:
            self._abandon()
            return
        with self._writing():
            if isinstance(self._sound, LiveSound):
                self._sound.settle()
            self._mux(self._encoder.finish())
            self._release()
            if self._sound is not None:
                self._sound.advance(self._encoder.end * self._info.time_base)
                if self._info.live or not (self._ends_early or failed):
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

    def _open_sound(self) -> Sound | LiveSound | None:
        info = self._info
        if self._options.sound and info.sound is not None:
            return LiveSound(info.sound, self._output, container_of(self._file.path), shift_s=-self._origin_s)
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

    def _mux(self, packets: Packets) -> None:
        self._early += packets
        if isinstance(self._sound, LiveSound) and self._sound.is_awaited:
            return
        packets, self._early = self._early, []
        for packet in packets:
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
        held, self._held = self._held, None  # before it is written: one that failed is empty, and crashes FFmpeg
        if held is not None:
            self._output.mux(held)

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


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
