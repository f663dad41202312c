"""A media server on the network: what is published to it by RTSP, as H.264, it gives to all who look.

    /usr/bin/python3 rtsp_relay_program.py NAME ... [--port 0] [--login USER:PASSWORD]

Publish to rtsp://127.0.0.1:PORT/NAME, look at rtsp://127.0.0.1:PORT/NAME/play: GStreamer's server keeps what is
recorded and what is played apart, and this program carries the access units across, with the publisher's time. Whoever
looks sees nothing before a key frame comes. Once clients are welcome one line of standard output says the address
without a name; each access unit that came in is one more byte in the file COUNTS/NAME, where --counts names a folder.
Where the standard input ends, the program does too. Run by the system's Python, which has the bindings of GStreamer.
"""

from pathlib import Path

from rtsp_program import HOST, PIPELINE, SEQUENCE_HEADERS, Gst, GstRtspServer, Viewer, options, serve

CODEC = "h264"
RECORDING = (
    "( rtph264depay name=depay0 ! h264parse config-interval=-1 "
    "! video/x-h264,stream-format=byte-stream,alignment=au ! appsink name=units sync=false emit-signals=true )"
)


class Channel:
    """One name: at most one who publishes, and all who look."""

    def __init__(self, counts):
        self._counts = counts
        self._viewers = {}

    def record(self, _factory, media):
        """A publisher has come."""
        media.get_element().get_by_name_recurse_up("units").connect("new-sample", self._carry)

    def play(self, _factory, media):
        """Someone comes to look."""
        self._viewers[media] = Viewer(media.get_element().get_by_name_recurse_up("pictures"), SEQUENCE_HEADERS[CODEC])
        media.connect("unprepared", lambda gone: self._viewers.pop(gone, None))

    def _carry(self, sink):
        buffer = sink.emit("pull-sample").get_buffer()
        unit = buffer.extract_dup(0, buffer.get_size())
        for viewer in list(self._viewers.values()):
            viewer.show(unit, buffer.pts)
        if self._counts is not None:
            with self._counts.open("ab") as file:
                file.write(b".")
        return Gst.FlowReturn.OK


def main():
    parser = options(__doc__)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--counts", type=Path)
    args = parser.parse_args()
    Gst.init(None)
    factories = {}
    for name in args.names:
        channel = Channel(None if args.counts is None else args.counts / name)
        recorded, played = GstRtspServer.RTSPMediaFactory(), GstRtspServer.RTSPMediaFactory()
        recorded.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
        recorded.set_launch(RECORDING)
        recorded.set_latency(0)
        recorded.connect("media-configure", channel.record)
        played.set_launch(PIPELINE.format(codec=CODEC))
        played.connect("media-configure", channel.play)
        factories |= {f"/{name}": recorded, f"/{name}/play": played}
    serve(factories, args.port, args.login, lambda port: print(f"rtsp://{HOST}:{port}", flush=True))


if __name__ == "__main__":
    main()
