"""Real RTSP servers, GStreamer's, each a process of its own for as long as a test lasts: a camera and a media server.

require_rtsp_server()                         # once per module, in a fixture: skips, or fails if REQUIRE_SERVERS=1
with RtspServer(stream, rate=25) as camera:   # `stream` is made by servers.numbered.encode_numbered
    camera.url                                # rtsp://127.0.0.1:PORT/live
    camera.age_s(number, at_ns, frames)       # how long ago a frame that shows `number` was shown
with RtspRelay(tmp_path, "cam") as server:    # names of streams that may be published, one or more
    server.publish_url("cam")                 # rtsp://127.0.0.1:PORT/cam: H.264, TCP or UDP, no sound
    server.play_url("cam")                    # rtsp://127.0.0.1:PORT/cam/play: the same pictures with their times
    server.received("cam")                    # pictures that arrived so far, over all connections
# both: login="USER:PASSWORD", url_for(login, url), kill(), start(), freeze(), thaw()
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from urllib.parse import urlsplit

from servers.process import ServerProcess, skip_for_want_of

SYSTEM_PYTHON = "/usr/bin/python3"
CAMERA_PROGRAM = Path(__file__).with_name("rtsp_program.py")
RELAY_PROGRAM = Path(__file__).with_name("rtsp_relay_program.py")
PACKAGES = "python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good gstreamer1.0-plugins-bad"
"""What Debian and its kin must have installed."""
_PROBE = """
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst, GstRtspServer
Gst.init(None)
assert Gst.ElementFactory.find("rtph264pay") and Gst.ElementFactory.find("h264parse")
"""


def require_rtsp_server() -> None:
    """Skip the test where there is no GStreamer RTSP server, or fail it where REQUIRE_SERVERS=1."""
    if Path(SYSTEM_PYTHON).exists():
        probe = subprocess.run([SYSTEM_PYTHON, "-c", _PROBE], capture_output=True, check=False)
        if probe.returncode == 0:
            return
    skip_for_want_of("GStreamer RTSP server", PACKAGES)


class _RtspProcess(ServerProcess):
    """A program of this folder on a free port of 127.0.0.1; it comes back at its address.

    `url` is its address, without credentials. `login` is USER:PASSWORD; without it everyone may come.
    """

    def __init__(self, login: str | None) -> None:
        super().__init__()
        self._login = login
        self.url = ""

    def url_for(self, login: str, url: str | None = None) -> str:
        """The address, or `url` of this server, for whoever logs in as USER:PASSWORD."""
        return (url or self.url).replace("rtsp://", f"rtsp://{login}@")

    def _run(self, program: Path, *arguments: str) -> list[str]:
        """Start a program, and return the words of its first line."""
        command = [SYSTEM_PYTHON, str(program), *arguments, "--port", str(urlsplit(self.url).port or 0)]
        if self._login is not None:
            command += ["--login", self._login]
        words: list[str] = []

        def is_ready(process: subprocess.Popen[str]) -> bool:
            assert process.stdout is not None
            words[:] = process.stdout.readline().split()
            return bool(words)

        self._launch(command, is_ready)
        self.url = words[0]
        return words


class RtspServer(_RtspProcess):
    """A camera: plays a stream made by `encode_numbered` while the context is open."""

    def __init__(self, stream: Path, *, rate: int = 25, login: str | None = None) -> None:
        super().__init__(login)
        self._stream = stream
        self._rate = rate
        self._started_ns = 0

    def start(self, stream: Path | None = None) -> None:
        """Start, with another stream where one is given, and return once clients are welcome."""
        self._stream = stream or self._stream
        words = self._run(CAMERA_PROGRAM, str(self._stream), "--rate", str(self._rate))
        self._started_ns = int(words[1])

    def age_s(self, number: int, at_ns: int, frames: int) -> float:
        """How long ago, at `at_ns` of the monotonic clock, frame `number` of a stream of `frames` was last shown."""
        return ((at_ns - self._started_ns) / 1e9 - number / self._rate) % (frames / self._rate)


class RtspRelay(_RtspProcess):
    """A media server: what is published under one of `names` can be looked at; `folder` is for what it counts."""

    def __init__(self, folder: Path, *names: str, login: str | None = None) -> None:
        super().__init__(login)
        self._folder = folder
        self._names = names

    def start(self) -> None:
        """Start, and return once clients are welcome."""
        self._run(RELAY_PROGRAM, *self._names, "--counts", str(self._folder))

    def publish_url(self, name: str) -> str:
        """Where a stream is published to."""
        return f"{self.url}/{name}"

    def play_url(self, name: str) -> str:
        """Where a stream that is published is looked at."""
        return f"{self.url}/{name}/play"

    def received(self, name: str) -> int:
        """How many pictures of a stream have arrived so far, over all connections."""
        counts = self._folder / name
        return counts.stat().st_size if counts.exists() else 0
