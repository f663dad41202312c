"""A real RTSP server as a process of its own, for as long as a test lasts."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

import pytest

SYSTEM_PYTHON = "/usr/bin/python3"
PROGRAM = Path(__file__).with_name("rtsp_program.py")
PACKAGES = "python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good"
"""What Debian and its kin must have installed."""
_PROBE = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"


def require_rtsp_server() -> None:
    """Skip the test where there is no GStreamer RTSP server, or fail it where REQUIRE_SERVERS=1."""
    if Path(SYSTEM_PYTHON).exists():
        probe = subprocess.run([SYSTEM_PYTHON, "-c", _PROBE], capture_output=True, check=False)
        if probe.returncode == 0:
            return
    reason = f"no GStreamer RTSP server; apt-get install {PACKAGES}"
    if os.environ.get("REQUIRE_SERVERS") == "1":
        pytest.fail(f"REQUIRE_SERVERS=1 but {reason}")
    pytest.skip(reason)


class RtspServer:
    """Plays a stream made by `encode_numbered` on a free port of 127.0.0.1 while the context is open.

    `url` is its address, without credentials. `login` is USER:PASSWORD; without it everyone may look. A server that was
    killed starts again at its address, with another `stream` where one is given.
    """

    def __init__(self, stream: Path, *, rate: int = 25, login: str | None = None) -> None:
        self._stream = stream
        self._rate = rate
        self._login = login
        self.url = ""
        self._started_ns = 0
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> RtspServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def url_for(self, login: str) -> str:
        """The address for whoever logs in as USER:PASSWORD."""
        return self.url.replace("rtsp://", f"rtsp://{login}@")

    def start(self, stream: Path | None = None) -> None:
        """Start, and return once clients are welcome."""
        self._stream = stream or self._stream
        port = str(urlsplit(self.url).port or 0)
        command = [SYSTEM_PYTHON, str(PROGRAM), str(self._stream), "--rate", str(self._rate), "--port", port]
        if self._login is not None:
            command += ["--login", self._login]
        with tempfile.TemporaryFile("w+") as complaints:
            # Not a pipe: nobody reads what GStreamer says later, and a full pipe would stop the server.
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, text=True
            )
            assert self._process.stdout is not None
            ready = self._process.stdout.readline().split()
            if not ready:
                self.kill()
                complaints.seek(0)
                raise RuntimeError(f"the RTSP server did not start: {complaints.read()}")
        self.url, self._started_ns = ready[0], int(ready[1])

    def age_s(self, number: int, at_ns: int, frames: int) -> float:
        """How long ago, at `at_ns` of the monotonic clock, frame `number` of a stream of `frames` was last shown."""
        return ((at_ns - self._started_ns) / 1e9 - number / self._rate) % (frames / self._rate)

    def kill(self) -> None:
        """Kill the server, as a cut of the power would; its connections break off."""
        if self._process is not None:
            self._process.kill()  # whether it is frozen or not
            self._process.communicate()
            self._process = None

    def freeze(self) -> None:
        """Let the server accept connections and keep them, and send nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "the server does not run"
        self._process.send_signal(number)
