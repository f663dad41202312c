"""What a source is, and opening one by its address."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable
from urllib.parse import urlsplit

from stream.frame import Color, Frame
from stream.sound_track import SoundTrack

TEST_DEVICE = "lavfi:"
"""What follows is a graph of FFmpeg's filters that acts as a camera: `lavfi:testsrc2=size=320x240:rate=30,realtime`."""

NETWORK_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "udp", "rtp", "tcp", "http", "https")

_CAMERA_MODE = re.compile(r"(\d+)x(\d+)(?:@(\d+(?:\.\d+)?))?")
_SECRET = re.compile(
    r"(?i)([?&;/](?:user(?:name)?|pass(?:word|wd)?|pwd|token|secret|auth|key|api_?key|sig(?:nature)?)=)[^?&;/#\s]*"
)


class StreamError(Exception):
    """A source or a sink failed: what, and the remedy, in one line; passwords are cut from every address."""


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is known of a source before its first frame.

    `source_id` names it in records and publish paths; `url` is the address without credentials. `size` is
    (height, width) of the upright picture. `rate` is frames a second, `frame_count` the expected number of frames;
    both None where unknown. `start_pts`, in `time_base`, was taken off every frame's pts and is put back by a sink that
    keeps the source's time. `sound_url` is where a sink reads the sound that belongs to the pictures, credentials and
    all; None where there is none. `sound` is where that of a live source is found as it comes, if some was announced
    when it was first connected.
    """

    source_id: str
    url: str
    size: tuple[int, int]
    time_base: Fraction
    rate: Fraction | None = None
    frame_count: int | None = None
    live: bool = False
    still: bool = False
    start_pts: int = 0
    color: Color = Color()
    sample_aspect: Fraction = Fraction(1)
    sound_url: str | None = None
    sound: SoundTrack | None = None


class Source(Protocol):
    """Frames one after another; whoever opened it closes it.

    `frames` yields each frame once, in order, with rising pts, and raises StreamError where the source fails.
    `damage` says after the last frame what could not be read, in one line; None where all was.
    """

    @property
    def info(self) -> SourceInfo: ...

    @property
    def damage(self) -> str | None: ...

    def frames(self) -> Iterator[Frame]: ...

    def close(self) -> None: ...


@runtime_checkable
class Interruptible(Protocol):
    """A source that may wait: for a camera, or until a frame is due."""

    def interrupt(self) -> None:
        """End the frames soon, whatever is waited for; any thread may ask."""


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """How a source is read.

    Frames from `start_s` on and before `end_s` are read, in seconds of the source's time. `camera` is what is asked of
    a camera, `WIDTHxHEIGHT` or `WIDTHxHEIGHT@RATE`; `pixel_format` its format (mjpeg, yuyv422, ...), which the camera
    chooses where it is None. `mirror` swaps left and right. `threads` decode, 0 means one per core. A network or device
    that is silent for longer than the time-outs has failed; it is connected again, at most `retries` times one after
    the other, None means for ever. `rtsp_transport` is how the pictures of RTSP come: by tcp none is lost, by udp none
    waits for a lost one. `hwaccel` is what decodes in place of the CPU, as FFmpeg calls it (cuda is NVDEC); what it
    does not know is decoded by the CPU all the same. A film is played `loop` times one after the other, 0 means for
    ever; with `realtime` it is live, as if a camera saw it now.
    """

    start_s: float | None = None
    end_s: float | None = None
    camera: str | None = None
    pixel_format: str | None = None
    mirror: bool = False
    threads: int = 0
    open_timeout_s: float = 10.0
    read_timeout_s: float = 5.0
    retries: int | None = None
    rtsp_transport: Literal["tcp", "udp"] = "tcp"
    hwaccel: str | None = None
    loop: int = 1
    realtime: bool = False

    def __post_init__(self) -> None:
        start_s = 0.0 if self.start_s is None else self.start_s
        end_s = start_s + 1 if self.end_s is None else self.end_s
        if not (math.isfinite(start_s) and math.isfinite(end_s) and 0 <= start_s < end_s):
            raise ValueError(f"start_s must be 0 or more and end_s after it, got {self.start_s} and {self.end_s}")
        if self.camera is not None:
            parse_camera(self.camera)
        if self.threads < 0:
            raise ValueError(f"threads must be 0 (one per core) or more, got {self.threads}")
        if self.open_timeout_s <= 0 or self.read_timeout_s <= 0:
            raise ValueError(f"time-outs must be above 0, got {self.open_timeout_s} and {self.read_timeout_s}")
        if self.retries is not None and self.retries < 0:
            raise ValueError(f"retries must be 0 (none) or more, got {self.retries}; leave it out to try for ever")
        if self.loop < 0:
            raise ValueError(f"loop must be 1 or more, or 0 (for ever), got {self.loop}")


def parse_camera(mode: str) -> tuple[str, str | None]:
    """The size, as FFmpeg writes it, and the rate, if any, of a camera mode such as `1280x720@30`."""
    match = _CAMERA_MODE.fullmatch(mode)
    if match is None:
        raise ValueError(
            f"a camera mode is WIDTHxHEIGHT or WIDTHxHEIGHT@RATE, got {mode!r}; write for example 1280x720@30"
        )
    return f"{match[1]}x{match[2]}", match[3]


def open_source(url: str, options: SourceOptions | None = None) -> Source:
    """Open what `url` names: a camera, the test device, a network stream, still pictures or a video file.

    A camera is a number or /dev/video0, the test device lavfi:GRAPH, pictures a file, a folder or a glob. Raises
    OSError where nothing is there, StreamError where it cannot be read, ValueError for an address of no known kind.
    """
    # Here, not above: both build on what this file defines.
    from stream.images import find_pictures, open_pictures
    from stream.video_source import open_video

    options = options or SourceOptions()
    if not url:
        raise ValueError("a source has no address; give a file, a folder, a camera's number or a URL")
    if not is_device(url) and not is_network(url):
        pictures = find_pictures(url)
        if pictures is not None:
            return open_pictures(url, pictures, options)
    return open_video(url, options)


def is_device(url: str) -> bool:
    """Whether an address names a camera or the test device."""
    return url.isdecimal() or url.startswith(("/dev/video", TEST_DEVICE))


def is_network(url: str) -> bool:
    """Whether an address names a stream of the network."""
    return "://" in url and not url.startswith("file://")


def check_scheme(url: str) -> None:
    """Raise ValueError for an address of the network of no known kind."""
    if url.partition("://")[0].lower() not in NETWORK_SCHEMES:
        raise ValueError(f"{without_credentials(url)}: unknown kind of address; there are {', '.join(NETWORK_SCHEMES)}")


def network_name(url: str) -> str:
    """A name for records and publish paths: the host and the path, as far as a file name allows."""
    parts = urlsplit(without_credentials(url))
    words = [parts.hostname or "", *parts.path.split("/")]
    return "-".join(safe_name(word) for word in words if word)


def safe_name(text: str) -> str:
    """A text as a file's name allows it: letters, digits, dots, dashes; `_` stands for all else."""
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in text)


def local_path(url: str) -> Path:
    """The path that an address without a host names."""
    return Path(url.removeprefix("file://")).expanduser()


def without_credentials(url: str) -> str:
    """The address as it may be shown: without user, password and the secrets of its query; a path stays as it is."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    host, slash, path = rest.partition("/")
    # A password with a slash in it ends the host too early: what then follows the colon is no port.
    if "@" not in host and "@" in path and not host.rpartition(":")[2].isdecimal() and ":" in host:
        rest = rest.rpartition("@")[2]
    else:
        rest = host.rpartition("@")[2] + slash + path
    return scheme + separator + _SECRET.sub(r"\1***", rest)
