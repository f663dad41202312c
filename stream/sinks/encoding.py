"""How video is written: which containers there are, what they hold, and what encoders are told."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.codec.codec import UnknownCodecError

FRAGMENT_S = 0.4
"""Seconds of film that a file written up to now may lack at its end when the program is killed."""
_MAX_LOOKAHEAD = 10
"""Frames an encoder may hold back to plan ahead, for the same reason; x264's veryfast has as many."""

AUTOMATIC = "auto"
"""The same as no encoder named."""
_CONSTANT_RATE = ("_v4l2m2m", "_videotoolbox", "_amf")
"""Encoders that are told a bit rate and no quality."""
_BITS_PER_PIXEL = 0.1
"""What they are told where the user says nothing: 6 Mbit/s for 1920x1080 at 30 a second, good for H.264."""

_SCALE_SIZE = re.compile(r"(\d+)x(\d+)")
_BITRATE = re.compile(r"(\d+(?:\.\d+)?)([kM]?)")
_MULTIPLES = {"": 1, "k": 1_000, "M": 1_000_000}


@dataclass(frozen=True, slots=True)
class VideoOptions:
    """How a video, a file or a stream, is encoded.

    `encoder` is FFmpeg's name of one; None means libx264 for files, in webm libvpx-vp9, and for streams the hardware's
    where there is one that works. `preset` None means a fast one: superfast for libx264. `crf` is the quality, lower is
    better, unless `bitrate` says how many bits a second: 4000000, 4000k or 4M. `scale` is a factor or WIDTHxHEIGHT.
    `sound` takes over the source's sound.
    """

    encoder: str | None = None
    preset: str | None = None
    crf: int = 23
    bitrate: str | int | None = None
    scale: float | str | None = None
    sound: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.crf <= 63:
            raise ValueError(f"crf must be 0 to 63, got {self.crf}; 18 is very good, 28 is small")
        _ = self.bits_per_second
        self.output_size((2, 2))

    @property
    def bits_per_second(self) -> int | None:
        """`bitrate` as a number."""
        if self.bitrate is None:
            return None
        match = _BITRATE.fullmatch(str(self.bitrate))
        bits = round(float(match[1]) * _MULTIPLES[match[2]]) if match else 0
        if not 1_000 <= bits <= 2_000_000_000:
            raise ValueError(f"bitrate must be 1k to 2000M bits a second, got {self.bitrate!r}; write for example 4M")
        return bits

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The (height, width) in which pictures of `size` are written, before they are padded to even numbers."""
        if self.scale is None:
            return size
        match = _SCALE_SIZE.fullmatch(str(self.scale))
        if match and int(match[1]) and int(match[2]):
            return int(match[2]), int(match[1])
        try:
            factor = float(self.scale)
        except ValueError:
            factor = 0.0
        if not 0 < factor <= 16:
            raise ValueError(f"scale must be a factor above 0 up to 16 or WIDTHxHEIGHT, got {self.scale!r}")
        return _even(size[0] * factor), _even(size[1] * factor)


@dataclass(frozen=True, slots=True)
class Container:
    """A kind of file: FFmpeg's name of its muxer, the sound codecs it takes as they are and what others become.

    With an `edit_list` sound may lie before 0, which players then leave out.
    """

    muxer: str
    sound_copied: frozenset[str]
    sound_encoder: str
    encoder: str = "libx264"
    edit_list: bool = False


_PCM = frozenset({"pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_u8", "pcm_s16be"})
_MP4_SOUND = frozenset({"aac", "mp3", "ac3", "eac3", "alac"})
_MKV_SOUND = _MP4_SOUND | _PCM | {"opus", "vorbis", "flac", "dts", "truehd", "mp2"}
CONTAINERS = {
    ".mp4": Container("mp4", _MP4_SOUND, "aac", edit_list=True),
    ".mov": Container("mov", _MP4_SOUND | _PCM, "aac", edit_list=True),
    ".mkv": Container("matroska", _MKV_SOUND, "aac"),
    ".webm": Container("webm", frozenset({"opus", "vorbis"}), "libopus", "libvpx-vp9"),
    ".ts": Container("mpegts", frozenset({"aac", "mp3", "mp2", "ac3", "eac3"}), "aac"),
}
FILMS = frozenset({".mp4", ".mov"})
"""The containers that keep time stamps and time base exactly."""

_UNSUITABLE = {".gif": "gif has 256 colours, no sound and times of 1/100 s", ".avi": "avi has no time stamps"}


def container_of(path: Path) -> Container:
    """The container that a file's name asks for; ValueError for one that is not written."""
    ending = path.suffix.lower()
    if ending not in CONTAINERS:
        reason = _UNSUITABLE.get(ending, f"{ending or 'a name without ending'} is no video file written here")
        known = " ".join(e.removeprefix(".") for e in CONTAINERS)
        raise ValueError(f"{path}: {reason}; choose one of {known}")
    return CONTAINERS[ending]


def muxer_options(path: Path, time_base: Fraction) -> dict[str, str]:
    """What the muxer is told, so that times stay and a killed run leaves a file that plays.

    Everything is handed to the system at once. A film is written in fragments, to which an index over all is added at
    the end (hybrid); its `moov` waits for the first packets, as it holds the start time, in ticks of `movie_timescale`.
    """
    options = {
        "flush_packets": "1",
        # Else a stream that pauses, or has ended, holds back the other one for 10 s.
        "max_interleave_delta": _microseconds(FRAGMENT_S),
    }
    ending = path.suffix.lower()
    if ending in FILMS:
        ticks = str(time_base.denominator)
        options |= {
            "movflags": "hybrid_fragmented+delay_moov",
            "frag_duration": _microseconds(FRAGMENT_S),
            "video_track_timescale": ticks,
            "movie_timescale": ticks,
        }
    elif ending in (".mkv", ".webm"):
        options["cluster_time_limit"] = str(round(FRAGMENT_S * 1_000))
    return options


def find_encoder(path: Path, options: VideoOptions) -> av.Codec:
    """The encoder asked for, or the container's own; ValueError where FFmpeg has none of that name."""
    return known_encoder(asked_encoder(options) or container_of(path).encoder)


def asked_encoder(options: VideoOptions) -> str | None:
    """The encoder's name that the user gave, None where the choice is ours."""
    return None if options.encoder == AUTOMATIC else options.encoder


def known_encoder(name: str) -> av.Codec:
    """FFmpeg's encoder of this name; ValueError where it has none."""
    try:
        codec = av.Codec(name, "w")
    except UnknownCodecError as error:
        raise ValueError(
            f"encoder {name}: not in this FFmpeg; try libx264, libx265, libsvtav1, libvpx-vp9 or, on NVIDIA, h264_nvenc"
        ) from error
    if codec.type != "video":
        raise ValueError(f"encoder {name}: encodes {codec.type}, not video; libx264 does")
    return codec


def encoder_settings(encoder: str, options: VideoOptions, *, live: bool = False) -> dict[str, str]:
    """The private options of an encoder, FFmpeg's name, for a preset and a quality.

    With `live` it holds no picture back, and makes key frames where it is told to and nowhere else.
    """
    settings = _settings(encoder, options)
    return settings | _live_settings(encoder) if live else settings


def _settings(encoder: str, options: VideoOptions) -> dict[str, str]:
    quality = {} if options.bitrate else {"crf": str(options.crf)}
    if encoder in ("libx264", "libx265"):
        # The fast presets look ahead less than this by themselves.
        slow = options.preset not in (None, "ultrafast", "superfast", "veryfast")
        lookahead = {"rc-lookahead": str(_MAX_LOOKAHEAD)} if slow else {}
        if encoder == "libx265":
            parameters = {"log-level": "error", **lookahead}
            lookahead = {"x265-params": ":".join(f"{key}={value}" for key, value in parameters.items())}
        return {"preset": options.preset or "superfast", **quality, **lookahead}
    if encoder.startswith("libvpx"):
        speed = options.preset or "8"
        return {"deadline": "realtime", "cpu-used": speed, "row-mt": "1", "lag-in-frames": "0", **quality}
    if encoder == "libsvtav1":
        # It has no other way to be told that a screen full of its settings is not wanted.
        os.environ.setdefault("SVT_LOG", "1")
        return {"preset": options.preset or "10", "svtav1-params": "rtc=1:pred-struct=1", **quality}
    if encoder.endswith("_nvenc"):
        constant = {} if options.bitrate else {"rc": "vbr", "cq": str(options.crf)}
        return {"preset": options.preset or "p4", **constant}
    if encoder.endswith("_qsv"):
        constant = {} if options.bitrate else {"global_quality": str(options.crf)}
        return {"preset": options.preset or "veryfast", **constant}
    return {"preset": options.preset} if options.preset else {}


def _live_settings(encoder: str) -> dict[str, str]:
    """What makes an encoder give each picture's packet at once, with all that who joins later needs in key frames.

    x264 makes one slice of a picture, on one thread: GStreamer's servers repeat the headers before each slice of a key
    frame, which FFmpeg then takes for several pictures.
    """
    if encoder == "libx264":
        parameters = "repeat-headers=1:scenecut=0:sliced-threads=0:threads=1"
        return {"tune": "zerolatency", "forced-idr": "1", "x264-params": parameters}
    if encoder == "libx265":
        parameters = "log-level=error:repeat-headers=1:scenecut=0"
        return {"tune": "zerolatency", "forced-idr": "1", "x265-params": parameters}
    if encoder.endswith("_nvenc"):
        return {"tune": "ull", "zerolatency": "1", "delay": "0", "bf": "0", "forced-idr": "1", "no-scenecut": "1"}
    if encoder.endswith("_qsv"):
        return {"async_depth": "1", "bf": "0", "forced_idr": "1"}
    if encoder.endswith("_videotoolbox"):
        return {"realtime": "1", "bf": "0"}
    return {"usage": "ultralowlatency"} if encoder.endswith("_amf") else {}


def bits_per_second(encoder: str, options: VideoOptions, size: tuple[int, int], rate: Fraction) -> int:
    """What an encoder is told of the bit rate; 0 where the quality says all."""
    if options.bits_per_second is None and encoder.endswith(_CONSTANT_RATE):
        return round(size[0] * size[1] * rate * _BITS_PER_PIXEL)
    return options.bits_per_second or 0


def pixel_format(encoder: str) -> str:
    """FFmpeg's name of the 4:2:0 that an encoder takes."""
    return "nv12" if encoder.endswith("_qsv") else "yuv420p"


def _even(side: float) -> int:
    return max(2, 2 * round(side / 2))


def _microseconds(seconds: float) -> str:
    return str(round(seconds * 1_000_000))
