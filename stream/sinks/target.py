"""Where a stream goes and how: RTSP, RTMP, MPEG-TS over UDP, or a folder of HLS."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from stream.source import SourceInfo, StreamError, is_network, without_credentials

PLAYLIST = ".m3u8"
KEY_EVERY_S = 1.0
"""Seconds between key frames at most: whoever joins sees a picture within that time."""
SEGMENT_S = 2.0
"""Seconds of one HLS segment, each of which begins with a key frame."""
LISTED = 6
"""Segments of a live playlist; older ones are deleted."""
_UDP_PACKET = 7 * 188
"""Bytes of one datagram: as many packets of a transport stream as fit into an Ethernet frame."""
_RTSP_SILENCE_US = 5_000_000
"""Microseconds after which an RTSP server that says nothing has failed."""


@dataclass(frozen=True, slots=True)
class Target:
    """A stream's address for FFmpeg, and what its muxer is told.

    `address` may hold a password; `shown` is what may be printed. A `playlist` is the file of an HLS folder.
    """

    address: str = field(repr=False)
    shown: str
    muxer: str
    options: dict[str, str]
    key_every_s: float = KEY_EVERY_S
    playlist: Path | None = None


def is_stream(output: str) -> bool:
    """Whether an output means a stream: an address, or a playlist of HLS."""
    return is_network(output) or output.lower().endswith(PLAYLIST)


def target_of(output: str) -> Target:
    """The target that an output's name means; ValueError where nothing is sent to such an address."""
    if not is_network(output):
        return _playlist(Path(output))
    shown = without_credentials(output)
    scheme = output.partition("://")[0].lower()
    if scheme not in _SCHEMES:
        raise ValueError(
            f"{shown}: nothing is sent to {scheme}://; there are {', '.join(_SCHEMES)} and folders of HLS (NAME.m3u8)"
        )
    if not urlsplit(output).hostname:
        raise ValueError(f"{shown}: the address names no host; write for example {scheme}://127.0.0.1:8554/live")
    return _SCHEMES[scheme](output, shown)


def check_free(target: Target, *, overwrite: bool) -> None:
    """Make the folder of a playlist; for other targets do nothing.

    Raises FileExistsError where the playlist or a segment of its name exists and no `overwrite`, StreamError where
    nothing can be written.
    """
    if (playlist := target.playlist) is None:
        return
    taken = [path for path in (playlist, *segments_of(playlist)) if path.exists()]
    if taken and not overwrite:
        raise FileExistsError(f"{taken[0]}: exists already; name another output or give --overwrite")
    with _writing(playlist):
        playlist.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(playlist.parent, os.W_OK):
            raise PermissionError(errno.EACCES, "you may not write there")


def clear(target: Target) -> None:
    """Delete an older playlist with its segments; for other targets do nothing."""
    if (playlist := target.playlist) is None:
        return
    with _writing(playlist):
        for path in (playlist, *segments_of(playlist)):
            path.unlink(missing_ok=True)


def segments_of(playlist: Path) -> list[Path]:
    """What is there of a playlist's segments, by their names: exactly six digits, as no recording of ours has."""
    name = re.compile(re.escape(playlist.stem) + r"-\d{6}\.ts")
    folder = playlist.parent
    return sorted(path for path in folder.iterdir() if name.fullmatch(path.name)) if folder.is_dir() else []


@contextmanager
def _writing(playlist: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StreamError(f"{playlist}: cannot be written ({error.strerror}); choose another folder") from error


def muxer_options(target: Target, info: SourceInfo) -> dict[str, str]:
    """What the muxer is told of a stream of this source; of a file's HLS all segments stay, from the first one on."""
    if target.playlist is None:
        return target.options
    flags = "independent_segments+temp_file"
    if target.playlist.exists():  # a new beginning in the middle of a run, as after a change of size
        flags += "+append_list+discont_start"
    if info.live:
        flags += "+delete_segments+program_date_time"
        return target.options | {"hls_list_size": str(LISTED), "hls_flags": flags}
    return target.options | {"hls_list_size": "0", "hls_flags": flags, "hls_playlist_type": "event"}


def _rtsp(output: str, shown: str) -> Target:
    return Target(output, shown, "rtsp", {"rtsp_transport": "tcp", "timeout": str(_RTSP_SILENCE_US)})


def _rtmp(output: str, shown: str) -> Target:
    if not urlsplit(output).path.strip("/"):
        raise ValueError(f"{shown}: the address names no stream; write for example rtmp://127.0.0.1/live/cam")
    return Target(output, shown, "flv", {"flvflags": "no_duration_filesize", "flush_packets": "1"})


def _udp(output: str, shown: str) -> Target:
    if urlsplit(output).port is None:
        raise ValueError(f"{shown}: the address names no port; write for example udp://127.0.0.1:1234")
    if "pkt_size=" not in output:
        output += f"{'&' if '?' in output else '?'}pkt_size={_UDP_PACKET}"
    # Lengths in the headers let a reader show a picture without waiting for the next one.
    return Target(output, shown, "mpegts", {"omit_video_pes_length": "0", "flush_packets": "1"})


def _playlist(path: Path) -> Target:
    if "%" in str(path) or ":" in path.name:
        raise ValueError(f"{path}: players would misread a % in the path, or a : in the name; name it otherwise")
    # In full, so that FFmpeg takes no folder with a colon for a protocol.
    segments = path.absolute().with_name(f"{path.stem}-%06d.ts")
    options = {
        "hls_time": f"{SEGMENT_S:g}",
        "hls_segment_filename": str(segments),
    }
    return Target(f"file:{path}", str(path), "hls", options, SEGMENT_S, path)


_SCHEMES: dict[str, Callable[[str, str], Target]] = {
    "rtsp": _rtsp, "rtsps": _rtsp, "rtmp": _rtmp, "rtmps": _rtmp, "udp": _udp,
}  # fmt: skip
