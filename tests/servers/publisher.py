"""A source of numbered frames that sends them in real time to any address, by a thread of its own.

with Publisher("rtmp://…", container="flv", rate=25, size=(180, 320)) as publisher:
    publisher.age_s(number, at_ns)            # how long ago, at a moment of the monotonic clock, a frame was sent
    publisher.time_s(number)                  # its own time in the stream; a busy machine leaves gaps
    publisher.pause(); publisher.resume()     # the connection stays, and nothing is sent
"""

from __future__ import annotations

import threading
import time
from fractions import Fraction
from types import TracebackType

import av
import numpy as np
from servers.numbered import write_number

LOW_DELAY = {"preset": "ultrafast", "tune": "zerolatency", "x264-params": "scenecut=0"}


class Publisher:
    """Sends H.264 without delay, a key frame every `key_every` frames, while the context is open."""

    def __init__(
        self, url: str, *, container: str, rate: int = 25, size: tuple[int, int] = (180, 320), key_every: int = 12,
        options: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        self._target = (url, container, options or {})
        self._rate, self._size, self._key_every = rate, size, key_every
        self._sent_ns: list[int] = []
        self._pts: list[int] = []
        self._stopped, self._going = threading.Event(), threading.Event()
        self._going.set()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"publisher {container}")

    def __enter__(self) -> Publisher:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._going.set()
        self._thread.join()
        if self._error is not None and kind is None:
            raise self._error

    def age_s(self, number: int, at_ns: int) -> float:
        """How long ago, at `at_ns` of the monotonic clock, frame `number` was sent."""
        return (at_ns - self._sent_ns[number]) / 1e9

    def time_s(self, number: int) -> float:
        """The time of frame `number` in the stream."""
        return self._pts[number] / self._rate

    def pause(self) -> None:
        """Send nothing; the connection stays."""
        self._going.clear()

    def resume(self) -> None:
        """Go on with the next frame."""
        self._going.set()

    def _run(self) -> None:
        url, form, options = self._target
        try:
            with av.open(url, "w", format=form, options=options) as container:
                stream = container.add_stream("libx264", rate=self._rate)
                stream.height, stream.width = self._size
                stream.pix_fmt = "yuv420p"
                stream.gop_size = self._key_every
                stream.codec_context.options = LOW_DELAY
                self._send(container, stream)
        except av.FFmpegError as error:
            self._error = error

    def _send(self, container: av.container.OutputContainer, stream: av.VideoStream) -> None:
        picture = np.full((*self._size, 3), 128, np.uint8)
        number = 0
        while not self._stopped.is_set():
            write_number(picture, len(self._sent_ns))
            frame = av.VideoFrame.from_ndarray(picture, "bgr24")
            frame.pts, frame.time_base = number, Fraction(1, self._rate)
            packets = stream.encode(frame)
            self._pts.append(number)
            self._sent_ns.append(time.monotonic_ns())
            container.mux(packets)
            if number == 0:
                started_s = time.monotonic()  # the header went out with it, which takes a while
            number = max(number + 1, round((time.monotonic() - started_s) * self._rate))
            self._stopped.wait(max(0.0, started_s + number / self._rate - time.monotonic()))
            self._going.wait()
