"""A camera on the network: plays one H.264 or HEVC stream over RTSP, in real time and for ever.

    /usr/bin/python3 rtsp_program.py STREAM.h264 --rate 25 [--port 0] [--login USER:PASSWORD]

The stream is an Annex B file with access unit delimiters, no frame of it before another in the order of decoding than
in that of showing; servers/numbered.py makes such. Every client sees the same picture at the same moment, whenever it
came, beginning with a key frame. Once clients are welcome one line of standard output says the address and when frame 0
was shown, in nanoseconds of CLOCK_MONOTONIC, which all processes share. Where the standard input ends, the program does
too, so that none outlives a test that was killed. Run by the system's Python, which has the bindings of GStreamer.
"""

import argparse
import sys
import time
from pathlib import Path

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

HOST, PATH = "127.0.0.1", "/live"
DELIMITERS = {"h264": b"\0\0\0\1\x09", "h265": b"\0\0\0\1\x46"}
SEQUENCE_HEADERS = {"h264": b"\0\0\0\1\x67", "h265": b"\0\0\0\1\x40"}
"""What an access unit begins with, and what the encoder puts into those of key frames."""
PIPELINE = (
    "( appsrc name=pictures is-live=true format=time max-bytes=0 "
    "caps=video/x-{codec},stream-format=byte-stream,alignment=au ! rtp{codec}pay name=pay0 pt=96 )"
)
ROLE = "viewer"


class Viewer:
    """One client's end of the stream: nothing before its pipeline runs and a key frame comes, then every frame."""

    def __init__(self, appsrc, header):
        self._appsrc = appsrc
        self._header = header
        self._origin_ns = None  # running time of the stream's beginning

    def show(self, unit, time_ns):
        """Send one access unit, which belongs to a moment of the stream."""
        if self._origin_ns is None:
            running_ns = self._appsrc.get_current_running_time()
            if running_ns == Gst.CLOCK_TIME_NONE or self._header not in unit:
                return
            self._origin_ns = running_ns - time_ns
        buffer = Gst.Buffer.new_wrapped(unit)
        buffer.pts = buffer.dts = max(0, self._origin_ns + time_ns)
        self._appsrc.emit("push-buffer", buffer)


class Camera:
    """Shows one frame after another, on time, to all viewers there are."""

    def __init__(self, units, header, rate):
        self._units = units
        self._header = header
        self._interval_ns = Gst.SECOND // rate
        self.started_ns = time.monotonic_ns()
        self._number = 0
        self._viewers = {}

    def welcome(self, _factory, media):
        """A client has come."""
        self._viewers[media] = Viewer(media.get_element().get_by_name_recurse_up("pictures"), self._header)
        media.connect("unprepared", lambda gone: self._viewers.pop(gone, None))

    def tick(self):
        """Show what is due, and come back for the next; what a frozen process missed comes all at once."""
        now_ns = time.monotonic_ns() - self.started_ns
        while self._number * self._interval_ns <= now_ns:
            unit = self._units[self._number % len(self._units)]
            for viewer in list(self._viewers.values()):
                viewer.show(unit, self._number * self._interval_ns)
            self._number += 1
        wait_ns = self._number * self._interval_ns - now_ns
        GLib.timeout_add(max(1, round(wait_ns / 1e6)), self.tick)
        return GLib.SOURCE_REMOVE


def login(server, factory, user, password):
    """Let in only who knows the password, told as a digest or plainly."""
    access = GstRtspServer.RTSPPermissions()
    for right in (GstRtspServer.RTSP_PERM_MEDIA_FACTORY_ACCESS, GstRtspServer.RTSP_PERM_MEDIA_FACTORY_CONSTRUCT):
        access.add_permission_for_role(ROLE, right, True)
    factory.set_permissions(access)
    token = GstRtspServer.RTSPToken()
    token.set_string(GstRtspServer.RTSP_TOKEN_MEDIA_FACTORY_ROLE, ROLE)
    auth = GstRtspServer.RTSPAuth()
    auth.add_digest(user, password, token)
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)


def serve(factories, port, password, begin):
    """Let clients come to the `factories`, by their paths; `begin` when they may, with the port, and run for ever."""
    server = GstRtspServer.RTSPServer()
    server.set_address(HOST)
    server.set_service(str(port))
    server.get_thread_pool().set_max_threads(
        -1
    )  # one per client: who waits for pictures must not keep others from sending
    for path, factory in factories.items():
        server.get_mount_points().add_factory(path, factory)
        if password:
            login(server, factory, *password.split(":", 1))
    if not server.attach(None):
        sys.exit(f"port {port} is taken")
    loop = GLib.MainLoop()
    GLib.io_add_watch(sys.stdin.fileno(), GLib.PRIORITY_DEFAULT, GLib.IO_HUP, lambda *_: loop.quit())
    begin(server.get_bound_port())
    loop.run()


def options(description):
    """What every program that serves understands."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--login", metavar="USER:PASSWORD")
    return parser


def main():
    parser = options(__doc__)
    parser.add_argument("stream", type=Path)
    parser.add_argument("--rate", type=int, default=25)
    args = parser.parse_args()
    Gst.init(None)
    content = args.stream.read_bytes()
    codec = next((codec for codec, delimiter in DELIMITERS.items() if content.startswith(delimiter)), None)
    if codec is None:
        sys.exit(f"{args.stream}: no access units; encode it with delimiters")
    units = [DELIMITERS[codec] + rest for rest in content.split(DELIMITERS[codec])[1:]]
    camera = Camera(units, SEQUENCE_HEADERS[codec], args.rate)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(PIPELINE.format(codec=codec))
    factory.connect("media-configure", camera.welcome)

    def begin(port):
        camera.tick()
        print(f"rtsp://{HOST}:{port}{PATH} {camera.started_ns}", flush=True)

    serve({PATH: factory}, args.port, args.login, begin)


if __name__ == "__main__":
    main()
