"""Opening what FFmpeg reads: a file, a camera, the test device or a network stream."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from stream.source import (
    TEST_DEVICE,
    SourceOptions,
    StreamError,
    check_scheme,
    is_device,
    is_network,
    local_path,
    network_name,
    parse_camera,
    without_credentials,
)

_NO_PICTURES = ("tty",)
"""Formats by which FFmpeg takes a plain text file for a film of its letters."""
_CAMERA_FORMAT = {"darwin": "avfoundation", "win32": "dshow"}.get(sys.platform, "v4l2")
"""FFmpeg's name of the operating system's video interface."""
_QUICK_LOOK = {"fpsprobesize": "2"}
"""How many frames FFmpeg waits for to tell the rate of what is live: its 20 make a camera of 5 fps 5 s late."""
_HELD_BACK = {"rtsp": 1, "rtp": 1, "sdp": 1, "h264": 1, "hevc": 1, "mpegts": 2}
"""How many pictures FFmpeg keeps of a format, until the beginning of the next tells the end of one."""
_PARSED = ("h264", "hevc", "mpeg4", "mpeg2video", "libdav1d", "av1")
"""Decoders of what is told apart by FFmpeg's parsers; of all else each packet is a whole picture."""
SEGMENT_S = 10.0
"""Segments of HLS are at most so long, as RFC 8216 has it; nothing comes in between, which is no loss."""
_FILM_HEADER = b"ftyp"
"""Bytes 4 to 8 of an mp4 or mov file."""
_WANTED = "give a video, a picture, a folder of pictures, a camera's number or a URL"
_GRAPH_REMEDY = "write a graph of FFmpeg's filters, for example lavfi:testsrc2=size=320x240:rate=30"


@dataclass(frozen=True, slots=True, eq=False)
class VideoInput:
    """An opened container and the stream of pictures in it; whoever opened it closes the container.

    `shown` is the address as it may be printed, `sound_url` where its sound is read, if it has any that can be. Of a
    live stream of the network `opened_ns` is the monotonic clock when it was called, and `held_back` how many pictures
    FFmpeg keeps until later ones come, None of all other inputs. What is `in_bursts` comes a segment at a time.
    """

    container: InputContainer
    stream: VideoStream
    source_id: str
    shown: str
    live: bool
    sound_url: str | None = None
    opened_ns: int = 0
    held_back: int | None = None
    in_bursts: bool = False


def open_input(url: str, options: SourceOptions) -> VideoInput:
    """Open what `url` names and pick its stream of pictures."""
    if url.startswith(TEST_DEVICE):
        container = _open(url.removeprefix(TEST_DEVICE), url, _GRAPH_REMEDY, container_format="lavfi")
        return VideoInput(container, _pictures_of(container, url), "lavfi", url, live=True)
    if is_device(url):
        return _open_camera(url, options)
    return _open_network(url, options) if is_network(url) else _open_file(url, options)


def _open_file(url: str, options: SourceOptions) -> VideoInput:
    path = local_path(url)
    if not path.exists():
        raise FileNotFoundError(f"{url}: no such file or folder; check the path (the working folder is {Path.cwd()})")
    # The prefix keeps FFmpeg from taking a name with a colon for a protocol.
    address = f"file:{path}"
    container = _open(address, url, _file_remedy(path), hwaccel=options.hwaccel)
    stream = _pictures_of(container, url)
    sound_url = address if _has_sound(container) else None
    return VideoInput(container, stream, path.name, url, live=False, sound_url=sound_url)


def _file_remedy(path: Path) -> str:
    """What to do about a file that FFmpeg does not read."""
    header = b""
    if path.is_file():  # a pipe would lose what is read here
        with path.open("rb") as file:
            header = file.read(12)
        if not header:
            return "the file is empty; record it anew"
    if header[4:8] == _FILM_HEADER:
        return "an mp4 is read by its index, which this one lacks: it was cut short or is damaged; record it anew"
    return "it is no video; " + _WANTED


def _open_network(url: str, options: SourceOptions) -> VideoInput:
    shown = without_credentials(url)
    scheme = url.partition("://")[0].lower()
    check_scheme(url)
    opened_ns = time.monotonic_ns()
    container = _open(
        url,
        shown,
        "check the address, the network, and user and password",
        ffmpeg=_network_options(url, options),
        timeout=(options.open_timeout_s, options.read_timeout_s + (SEGMENT_S if is_playlist(url) else 0)),
        hwaccel=options.hwaccel,
    )
    stream = _pictures_of(container, shown)
    # A film behind a web address ends; all else happens now.
    live = not (scheme in ("http", "https") and container.duration)
    sound_url = url if not live and _has_sound(container) else None
    in_bursts = live and container.format.name == "hls"
    held_back = _held_back(container, stream) if live and not in_bursts else None
    return VideoInput(container, stream, network_name(shown), shown, live, sound_url, opened_ns, held_back, in_bursts)


def _held_back(container: InputContainer, stream: VideoStream) -> int:
    """How many pictures FFmpeg keeps: one's end is told by the beginning of the next, to the demuxer and the parser."""
    return _HELD_BACK.get(container.format.name, 0) if stream.codec_context.name in _PARSED else 0


def _network_options(url: str, options: SourceOptions) -> dict[str, str]:
    """FFmpeg's options of a protocol; its time-outs are in microseconds, and `timeout` means another thing to rtmp."""
    scheme = url.partition("://")[0].lower()
    silence_us = str(round(options.read_timeout_s * 1e6))
    if scheme in ("http", "https"):
        if is_playlist(url):
            # FFmpeg would begin three segments before the end, and look into five seconds of them.
            return _QUICK_LOOK | {"rw_timeout": silence_us, "live_start_index": "-1", "analyzeduration": "500000"}
        return {"rw_timeout": silence_us}
    if scheme in ("rtsp", "rtsps"):
        # FFmpeg would decode seven pictures to learn in which order they come, 1.4 s of a camera of 5 fps.
        looks = {"analyzeduration": "200000"}
        return _QUICK_LOOK | looks | {"rtsp_transport": options.rtsp_transport, "timeout": silence_us}
    if scheme in ("rtmp", "rtmps"):
        # Sound that is announced and never comes would be waited for, for 5 s.
        return _QUICK_LOOK | {"rw_timeout": silence_us, "analyzeduration": "500000"}
    if scheme == "udp":
        # A full queue must not end the stream: the decoder mends what is lost.
        # As with rtmp; but a key frame, without which nothing is known of the pictures, may be a second away.
        looks = {"analyzeduration": "1000000"}
        return _QUICK_LOOK | looks | {"timeout": silence_us, "overrun_nonfatal": "1", "fifo_size": "50000"}
    return _QUICK_LOOK | {"rw_timeout": silence_us}


def is_playlist(url: str) -> bool:
    """Whether an address is that of an HLS stream."""
    return urlsplit(url).path.lower().endswith((".m3u8", ".m3u"))


def _open_camera(url: str, options: SourceOptions) -> VideoInput:
    device = camera_device(url)
    if _CAMERA_FORMAT == "v4l2" and not Path(device).exists():
        raise FileNotFoundError(f"no camera {url}; {_there(list_cameras())}")
    attempts = _camera_options(options)
    for attempt in attempts:
        try:
            container = _open(
                device,
                f"camera {url}",
                f"another program may hold it, it may not know the mode asked for, or you may not read {device}",
                container_format=_CAMERA_FORMAT,
                ffmpeg=attempt,
                timeout=(options.open_timeout_s, options.read_timeout_s),
                hwaccel=options.hwaccel,
            )
        except StreamError:
            if attempt is attempts[-1]:
                raise
            continue
        break
    stream = _pictures_of(container, f"camera {url}")
    return VideoInput(container, stream, f"camera{_digits(url)}", f"camera {url}", live=True)


def camera_device(url: str) -> str:
    """What the camera `url` is called by the operating system's video interface."""
    if not url.isdecimal():
        return url
    if _CAMERA_FORMAT == "avfoundation":
        return f"{url}:none"  # no microphone
    if _CAMERA_FORMAT == "dshow":
        cameras = list_cameras()
        if int(url) >= len(cameras):
            raise FileNotFoundError(f"no camera {url}; {_there(cameras)}")
        return f"video={cameras[int(url)]}"
    return f"/dev/video{url}"


def list_cameras() -> list[str]:
    """The cameras of this machine, as --source takes them; on Windows their names, in the order of their numbers."""
    if _CAMERA_FORMAT == "v4l2":
        return sorted(str(path) for path in Path("/dev").glob("video*"))
    from av.device import enumerate_input_devices

    return [device.name for device in enumerate_input_devices(_CAMERA_FORMAT) if "video" in device.media_types]


def _there(cameras: list[str]) -> str:
    return f"there are {', '.join(cameras)}" if cameras else "this machine has none; connect one"


def _camera_options(options: SourceOptions) -> list[dict[str, str]]:
    """What to ask of a camera, best first."""
    mode: dict[str, str] = {}
    if options.camera is not None:
        mode["video_size"], rate = parse_camera(options.camera)
        if rate is not None:
            mode["framerate"] = rate
    key = "input_format" if _CAMERA_FORMAT == "v4l2" else "pixel_format"
    if options.pixel_format is not None:
        return [mode | {key: options.pixel_format}]
    if mode and _CAMERA_FORMAT == "v4l2":
        # Over USB 2 only compressed pictures reach the full rate at more than 640x480.
        return [mode | {key: "mjpeg"}, mode]
    return [mode]


def _digits(url: str) -> str:
    return "".join(c for c in url if c.isdecimal())


def _open(
    address: str,
    shown: str,
    remedy: str,
    *,
    container_format: str | None = None,
    ffmpeg: dict[str, str] | None = None,
    timeout: tuple[float, float] | None = None,
    hwaccel: str | None = None,
) -> InputContainer:
    """Open a container; what FFmpeg says becomes one StreamError with the remedy.

    Frames that `hwaccel` decodes stay where they are until they are converted: only there have they their colours' tags
    and their rotation.
    """
    if hwaccel is not None:
        remedy = f"{hwaccel} may not decode here, leave --hwaccel out; else {remedy}"
    try:
        accelerator = None if hwaccel is None else HWAccel(hwaccel, is_hw_owned=True)
        return av.open(address, "r", format=container_format, options=ffmpeg, timeout=timeout, hwaccel=accelerator)
    except av.error.EOFError as error:
        forget_address(error)
        raise StreamError(f"{shown}: it has no frames; record it anew") from error
    except av.error.ExitError as error:
        forget_address(error)
        waited = "" if timeout is None else f" in {timeout[0]:g} s"
        raise StreamError(f"{shown}: no answer{waited}; {remedy}") from error
    except av.FFmpegError as error:
        raise StreamError(f"{shown}: cannot be opened ({reason_of(error)}); {remedy}") from error


def reason_of(error: av.FFmpegError) -> str:
    """What FFmpeg says, without the address."""
    forget_address(error)
    return error.strerror or type(error).__name__


def forget_address(error: av.FFmpegError) -> None:
    """Take the address, which may hold a password, off an error of FFmpeg: a traceback would show it."""
    error.args = error.args[:2]


def _pictures_of(container: InputContainer, shown: str) -> VideoStream:
    """The first stream of moving pictures; closes the container where there is none."""
    moving = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    complaint = None
    if container.format.name in _NO_PICTURES:
        complaint = "it is text, no video; " + _WANTED
    elif not moving:
        kinds = ", ".join(sorted({s.type for s in container.streams}))
        complaint = f"it holds no moving pictures{kinds and f', only {kinds}'}; give a video"
    elif not moving[0].codec_context:  # PyAV types it as always there
        complaint = "this FFmpeg has no decoder for its pictures; convert it to H.264"
    if complaint is None:
        return moving[0]
    container.close()
    raise StreamError(f"{shown}: {complaint}")


def _has_sound(container: InputContainer) -> bool:
    return bool(container.streams.audio)
