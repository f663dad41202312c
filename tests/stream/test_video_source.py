from __future__ import annotations

import gc
import socket
import struct
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from engines.backends.base import has_gpu
from stream.color import to_bgr
from stream.frame import Color, Frame
from stream.source import Source, SourceInfo, SourceOptions, StreamError, open_source

MakeClip = Callable[..., Path]
CLIPS = {
    "fiyud_dance.mp4": (267, (1280, 720)),
    "mmaction2_demo_skeleton.mp4": (72, (1080, 1920)),
    "nandinib1999_pedestrians.mp4": (188, (360, 640)),
    "intel_one-by-one-person-detection.mp4": (1394, (432, 768)),
    "pose2sim_multi_cam01.mp4": (100, (1920, 1088)),
    "mmaction2_test_video_structuralize.mp4": (300, (240, 426)),
}


@pytest.fixture(autouse=True)
def no_proxy_to_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg too takes the proxy of the environment."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def read(path: Path | str, **options: Any) -> tuple[list[Frame], Source]:
    source = open_source(str(path), SourceOptions(**options))
    frames = list(source.frames())
    source.close()
    return frames, source


def lumas(frames: list[Frame]) -> list[int]:
    """What make_clip wrote into each frame: 40 + 5 i."""
    assert all(f.planes is not None for f in frames)
    return [int(f.planes.y[0, 0]) for f in frames if f.planes is not None]


def stamps(path: Path) -> list[int | None]:
    """The time stamps of a plain PyAV decode."""
    with av.open(str(path)) as container:
        return [frame.pts for frame in container.decode(video=0)]


@pytest.mark.parametrize("threads", [0, 1, 2])
def test_frames_come_once_in_order_with_their_index(make_clip: MakeClip, threads: int) -> None:
    frames, source = read(make_clip(frames=30, b_frames=2), threads=threads)
    assert lumas(frames) == [40 + 5 * i for i in range(30)]
    assert [f.index for f in frames] == list(range(30))
    assert [f.pts for f in frames] == list(range(30))
    assert {f.time_base for f in frames} == {Fraction(1, 25)}
    assert source.damage is None


def test_what_hardware_does_not_know_is_decoded_by_the_cpu(make_clip: MakeClip) -> None:
    """PyAV's own FFmpeg has no decoder by VA-API."""
    clip = str(make_clip())
    with closing(open_source(clip)) as plain, closing(open_source(clip, SourceOptions(hwaccel="vaapi"))) as other:
        for ours, theirs in zip(plain.frames(), other.frames(), strict=True):
            np.testing.assert_array_equal(ours.image, theirs.image)


@pytest.mark.skipif(has_gpu(), reason="there is a GPU")
def test_hardware_that_is_not_there_is_told_with_the_way_out(make_clip: MakeClip) -> None:
    with pytest.raises(StreamError, match=r"clip\.mp4: cannot be opened .*; cuda may not decode here, leave --hw"):
        open_source(str(make_clip()), SourceOptions(hwaccel="cuda"))


def test_info_says_what_the_clip_is(make_clip: MakeClip) -> None:
    path = make_clip(color=(1, 1, 1, 1), aspect=Fraction(4, 3))
    source = open_source(str(path))
    assert source.info == SourceInfo(
        source_id="clip.mp4",
        url=str(path),
        size=(48, 64),
        time_base=Fraction(1, 25),
        rate=Fraction(25),
        frame_count=10,
        color=Color(1, 1, 1, 1),
        sample_aspect=Fraction(4, 3),
    )
    source.close()


def test_one_frame_is_a_clip(make_clip: MakeClip) -> None:
    frames, source = read(make_clip(frames=1))
    assert lumas(frames) == [40]
    assert source.damage is None


def test_planes_are_the_decoder_s_and_sealed(make_clip: MakeClip) -> None:
    frames, _ = read(make_clip())
    for frame in frames:
        assert frame.planes is not None
        assert not frame.planes.y.flags.owndata
        assert not frame.planes.u.flags.writeable
        assert not frame.image.flags.writeable
        np.testing.assert_array_equal(frame.image, to_bgr(frame.planes))


def test_variable_frame_rate_keeps_every_pts(make_clip: MakeClip) -> None:
    pts = [0, 10, 30, 70, 150, 151, 152, 400, 401, 900]
    frames, source = read(make_clip(pts=pts, time_base=Fraction(1, 1000), b_frames=2))
    assert [f.pts for f in frames] == pts
    assert source.damage is None


def test_pictures_that_start_after_the_sound_keep_their_lag(make_clip: MakeClip) -> None:
    path = make_clip(pts=[5 + i for i in range(10)], sound_s=0.6)
    frames, source = read(path)
    assert source.info.start_pts == 0
    assert [f.pts for f in frames] == [5 + i for i in range(10)]
    assert source.info.sound_url == f"file:{path}"
    assert source.info.frame_count == 10


def test_offset_of_the_input_is_taken_off_and_told(make_clip: MakeClip) -> None:
    path = make_clip("late.ts", pts=[50 + i for i in range(10)])
    frames, source = read(path)
    assert source.info.start_pts == 2 * 90_000
    assert [f.pts for f in frames] == [3600 * i for i in range(10)]
    assert [f.pts + source.info.start_pts for f in frames] == stamps(path)


def test_a_name_with_a_colon_keeps_its_sound(
    make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_clip(sound_s=0.4).rename(tmp_path / "a:b.mp4")
    monkeypatch.chdir(tmp_path)
    source = open_source("a:b.mp4")
    source.close()
    assert source.info.sound_url == "file:a:b.mp4"
    with av.open(source.info.sound_url) as film:
        assert len(film.streams.audio) == 1


def test_clip_without_sound_has_no_sound_url(make_clip: MakeClip) -> None:
    source = open_source(str(make_clip()))
    assert source.info.sound_url is None
    source.close()


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mkv", "libx264"), ("a.mov", "libx264"), ("a.ts", "libx264"), ("a.avi", "mpeg4"), ("a.h264", "libx264")],
)
def test_time_is_whole_in_every_container(make_clip: MakeClip, name: str, codec: str) -> None:
    frames, source = read(make_clip(name, codec=codec, frames=20, b_frames=2))
    assert len(frames) == 20
    np.testing.assert_allclose([f.time for f in frames], np.arange(20) / 25, atol=1e-9)
    assert source.damage is None


@pytest.mark.parametrize(
    ("rotation", "size", "bright", "aspect"),
    [
        (0, (48, 64), (0, 0), Fraction(2)),
        (90, (64, 48), (1, 0), Fraction(1, 2)),
        (180, (48, 64), (1, 1), Fraction(2)),
        (-90, (64, 48), (0, 1), Fraction(1, 2)),
    ],
)
def test_rotation_tag_is_obeyed(
    make_clip: MakeClip, rotation: int, size: tuple[int, int], bright: tuple[int, int], aspect: Fraction
) -> None:
    frames, source = read(make_clip(draw=top_left_is_red, rotation=rotation, aspect=Fraction(2), frames=2))
    assert source.info.size == size
    assert source.info.sample_aspect == aspect
    assert frames[0].image.shape == (*size, 3)
    assert quarter_of_red(frames[0]) == bright
    assert frames[0].planes is not None
    assert frames[0].planes.y.shape == size
    np.testing.assert_array_equal(frames[0].image, to_bgr(frames[0].planes))


def test_mirror_swaps_left_and_right_after_turning(make_clip: MakeClip) -> None:
    clip = make_clip(draw=top_left_is_red, rotation=90, frames=2)
    assert quarter_of_red(read(clip, mirror=True)[0][0]) == (1, 1)
    assert quarter_of_red(read(clip)[0][0]) == (1, 0)


@pytest.mark.parametrize(
    ("matrix", "size", "bright"),
    [
        ((-1, 0, 0, 1), (48, 64), (0, 1)),  # a selfie camera's: left and right swapped
        ((1, 0, 0, -1), (48, 64), (1, 0)),  # top and bottom swapped
        ((0, 1, 1, 0), (64, 48), (0, 0)),  # rows and columns swapped
        ((0, -1, -1, 0), (64, 48), (1, 1)),  # the same, turned by half
    ],
)
def test_a_mirroring_display_matrix_is_obeyed(
    make_clip: MakeClip, matrix: tuple[int, int, int, int], size: tuple[int, int], bright: tuple[int, int]
) -> None:
    clip = make_clip(draw=top_left_is_red, frames=2)
    content = bytearray(clip.read_bytes())
    # ISO 14496-12, 8.3.2: version 0 of the track header has the matrix 44 bytes behind its name, in 16.16 fixed point.
    at = content.index(b"tkhd") + 44
    a, b, c, d = matrix
    content[at : at + 36] = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    clip.write_bytes(content)
    frames, source = read(clip)
    assert source.info.size == frames[0].image.shape[:2] == size
    assert quarter_of_red(frames[0]) == bright


def top_left_is_red(_: int) -> tuple[np.ndarray, ...]:
    y, u, v = np.full((48, 64), 50, np.uint8), np.full((24, 32), 128, np.uint8), np.full((24, 32), 128, np.uint8)
    y[:24, :32], v[:12, :16] = 120, 200
    return y, u, v


def quarter_of_red(frame: Frame) -> tuple[int, int]:
    """(row, column) of the quarter that is redder than the others."""
    red = frame.image[..., 2].astype(int) - frame.image[..., 0]
    half_height, half_width = red.shape[0] // 2, red.shape[1] // 2
    quarters = red.reshape(2, half_height, 2, half_width).mean(axis=(1, 3))
    row, column = np.unravel_index(quarters.argmax(), (2, 2))
    return int(row), int(column)


@pytest.mark.parametrize(("rotation", "size"), [(0, (47, 63)), (90, (63, 47)), (180, (47, 63))])
def test_odd_sizes_keep_all_their_pixels(make_clip: MakeClip, rotation: int, size: tuple[int, int]) -> None:
    frames, source = read(make_clip("odd.mkv", codec="ffv1", size=(47, 63), rotation=rotation, frames=2))
    assert source.info.size == size
    for frame in frames:
        assert frame.planes is not None
        assert frame.planes.y.shape == size
        assert frame.planes.u.shape == frame.planes.v.shape == ((size[0] + 1) // 2, (size[1] + 1) // 2)
        assert frame.image.shape == (*size, 3)
        assert (frame.image == frame.image[0, 0]).all()


@pytest.mark.parametrize(
    ("pixel_format", "codec", "pixel", "bgr", "color"),
    [
        ("bgra", "ffv1", (60, 30, 200, 255), (60, 30, 200), Color(5, 1)),
        ("bgr24", "rawvideo", (60, 30, 200), (60, 30, 200), Color(5, 1)),
        ("gray", "ffv1", 255, (255, 255, 255), Color()),
        ("gray", "ffv1", 0, (0, 0, 0), Color()),
    ],
)
def test_other_pixel_formats_become_420(
    make_clip: MakeClip, pixel_format: str, codec: str, pixel: object, bgr: tuple[int, int, int], color: Color
) -> None:
    shape = (48, 64) if pixel_format == "gray" else (48, 64, len(pixel))  # type: ignore[arg-type]
    clip = make_clip(
        "other.mkv" if codec == "ffv1" else "other.avi",
        codec=codec,
        pixel_format=pixel_format,
        draw=lambda _: np.full(shape, pixel, np.uint8),
        frames=2,
    )
    frames, source = read(clip)
    assert source.info.color == color
    assert frames[0].planes is not None
    assert frames[0].planes.u.shape == (24, 32)
    assert np.abs(frames[0].image.astype(int) - bgr).max() <= 3


def test_raw_video_that_lies_upside_down_in_memory_is_turned(make_clip: MakeClip) -> None:
    bright_top = np.zeros((48, 64, 3), np.uint8)
    bright_top[:24] = (60, 30, 200)
    clip = make_clip("raw.avi", codec="rawvideo", pixel_format="bgr24", draw=lambda _: bright_top, frames=2)
    header, bottom_up = struct.pack("<ii", 64, -48), struct.pack("<ii", 64, 48)
    data = clip.read_bytes()
    assert data.count(header) == 1
    clip.write_bytes(data.replace(header, bottom_up))
    frames, _ = read(clip)
    np.testing.assert_array_equal(frames[0].image, bright_top[::-1])


def test_full_range_stays_full_range(make_clip: MakeClip) -> None:
    white = np.full((48 * 3 // 2, 64), 128, np.uint8)
    white[:48] = 255
    frames, source = read(make_clip("full.avi", codec="mjpeg", pixel_format="yuvj420p", draw=lambda _: white, frames=2))
    assert source.info.color.range == 2
    assert lumas(frames) == [255, 255]
    assert (frames[0].image >= 254).all()


@pytest.mark.parametrize("name", ["clip.mp4", "clip.ts", "clip.mkv", "clip.h264"])
@pytest.mark.parametrize(
    ("start_s", "end_s", "wanted"), [(1.0, 1.2, range(25, 30)), (0.1, None, range(3, 40)), (None, 0.2, range(5))]
)
def test_start_and_end_cut_to_the_frame(
    make_clip: MakeClip, name: str, start_s: float | None, end_s: float | None, wanted: range
) -> None:
    clip = make_clip(name, frames=40, b_frames=2, key_every=20)
    frames, source = read(clip, start_s=start_s, end_s=end_s)
    assert lumas(frames) == [40 + 5 * i for i in wanted]
    np.testing.assert_allclose([f.time for f in frames], np.array(wanted) / 25, atol=1e-9)
    assert [f.index for f in frames] == list(range(len(wanted)))
    assert source.damage is None
    if name == "clip.mp4":
        assert source.info.frame_count is not None
        assert abs(source.info.frame_count - len(wanted)) <= 1


@pytest.mark.parametrize("span", [{"start_s": 9.0}, {"start_s": 0.041, "end_s": 0.042}])
def test_span_without_a_frame_is_an_error(make_clip: MakeClip, span: dict[str, float]) -> None:
    with pytest.raises(StreamError, match=r"no frame between the start and the end asked for, it lasts 0\.40 s"):
        open_source(str(make_clip()), SourceOptions(**span))  # type: ignore[arg-type]


def test_frames_are_stamped_when_their_packet_arrived(make_clip: MakeClip) -> None:
    before = time.monotonic_ns()
    frames, _ = read(make_clip(frames=20, b_frames=2))
    arrivals = [f.captured_ns for f in frames]
    assert before < min(arrivals)
    assert max(arrivals) < time.monotonic_ns()
    assert len(set(arrivals)) == 20


def test_closed_source_gives_no_more_frames(make_clip: MakeClip) -> None:
    source = open_source(str(make_clip()))
    frames = source.frames()
    assert next(frames).index == 0
    source.close()
    assert list(frames) == []


def test_file_of_sound_has_no_pictures(make_clip: MakeClip, tmp_path: Path) -> None:
    with (
        av.open(str(make_clip(sound_s=0.2))) as given,
        av.open(str(tmp_path / "sound.m4a"), "w", format="mp4") as sound,
    ):
        stream = sound.add_stream_from_template(given.streams.audio[0])
        for packet in given.demux(given.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = stream
                sound.mux(packet)
    with pytest.raises(StreamError, match="it holds no moving pictures, only audio; give a video"):
        open_source(str(tmp_path / "sound.m4a"))


def test_video_without_frames_is_an_error(make_clip: MakeClip) -> None:
    with pytest.raises(StreamError, match="it has no frames; record it anew"):
        open_source(str(make_clip("none.mkv", frames=0)))
    with pytest.raises(StreamError, match="it holds no moving pictures; give a video"):
        open_source(str(make_clip("none.mp4", frames=0)))


def test_file_cut_short_is_read_as_far_as_it_goes(make_clip: MakeClip) -> None:
    clip = make_clip(frames=40, size=(96, 128), draw=noise, mux_options={"movflags": "faststart"})
    cut(clip, 2 / 3)
    frames, source = read(clip)
    assert 20 <= len(frames) < 30
    assert source.damage is not None
    assert source.damage.startswith(f"{clip}: {len(frames)} of 40 frames read, the file ends early, at ")


def test_cut_stream_without_an_index_says_so_where_it_can(make_clip: MakeClip) -> None:
    clip = make_clip("cut.mkv", frames=40, size=(96, 128), draw=noise)
    cut(clip, 2 / 3)
    frames, source = read(clip)
    assert 20 <= len(frames) < 30
    assert source.damage is not None
    assert f"{len(frames)} of 40 frames read, the file ends early" in source.damage


def test_faults_in_the_middle_are_counted_and_passed_by(make_clip: MakeClip) -> None:
    clip = make_clip(frames=40, size=(96, 128), draw=noise, key_every=5)
    data = bytearray(clip.read_bytes())
    middle = data.index(b"mdat") + len(data) // 3
    data[middle : middle + 30_000] = bytes(30_000)
    clip.write_bytes(data)
    frames, source = read(clip)
    assert 25 < len(frames) < 40
    assert [f.pts for f in frames] == sorted({f.pts for f in frames})
    assert frames[-1].pts == 39
    assert source.damage is not None
    assert f"{len(frames)} of 40 frames read" in source.damage
    assert "could not be decoded" in source.damage


def test_faults_before_the_start_are_no_damage(make_clip: MakeClip) -> None:
    clip = make_clip(frames=40, size=(96, 128), draw=noise, key_every=5)
    data = bytearray(clip.read_bytes())
    head = data.index(b"mdat") + len(data) // 10
    data[head : head + 10_000] = bytes(10_000)
    clip.write_bytes(data)
    assert read(clip)[1].damage is not None
    frames, source = read(clip, start_s=1.0)
    assert [f.pts for f in frames] == list(range(25, 40))
    assert source.damage is None


def test_clip_of_nothing_but_faults_is_an_error(make_clip: MakeClip) -> None:
    clip = make_clip(frames=5, draw=lambda i: noise(i, (48, 64)), mux_options={"movflags": "faststart"})
    data = bytearray(clip.read_bytes())
    body = data.index(b"mdat") + 4
    data[body:] = bytes(len(data) - body)
    clip.write_bytes(data)
    with pytest.raises(StreamError, match="not one frame can be read"):
        open_source(str(clip))


def noise(index: int, size: tuple[int, int] = (96, 128)) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(index)
    half = (size[0] // 2, size[1] // 2)
    return tuple(rng.integers(16, 236, shape, np.uint8) for shape in (size, half, half))


def cut(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def test_change_of_size_is_an_error_that_says_where(make_clip: MakeClip, tmp_path: Path) -> None:
    joined = tmp_path / "joined.h264"
    parts = [make_clip("a.h264", size=(48, 64)), make_clip("b.h264", size=(96, 128))]
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    source = open_source(str(joined))
    frames: list[Frame] = []
    with pytest.raises(StreamError, match=r"changes from 64x48 to 128x96 at 0\.40 s; split it there"):
        frames.extend(iter(source.frames()))
    source.close()
    assert lumas(frames) == [40 + 5 * i for i in range(10)]


def test_device_is_live_and_starts_at_zero() -> None:
    frames, source = read("lavfi:testsrc2=size=320x240:rate=30:duration=0.2,setpts=PTS+900/TB")
    assert source.info.live
    assert source.info.size == (240, 320)
    assert source.info.rate == 30
    assert source.info.frame_count is None
    assert source.info.start_pts == 0
    assert [f.time for f in frames] == [i / 30 for i in range(6)]
    assert len({f.image.tobytes() for f in frames}) == 6
    assert source.damage is None


def test_device_can_be_mirrored() -> None:
    device = "lavfi:testsrc2=size=64x48:rate=30:duration=0.1,format=bgr0"
    straight, mirrored = (read(device, mirror=mirror)[0][0] for mirror in (False, True))
    assert np.abs(mirrored.image.astype(int) - straight.image[:, ::-1]).mean() < 1
    assert not np.array_equal(mirrored.image, straight.image)


def test_wrong_device_is_an_error_with_an_example() -> None:
    with pytest.raises(StreamError, match=r"lavfi:nosuchfilter: cannot be opened .*; write a graph"):
        open_source("lavfi:nosuchfilter")


def test_stream_of_jpegs_over_http_is_live() -> None:
    frames: list[Frame] = []
    with jpeg_server(frames=12) as url:
        source = open_source(url.replace("http://", "http://me:secret@"))
        with pytest.raises(StreamError, match=r"127\.0\.0\.1.*: the stream broke off") as caught:
            frames.extend(iter(source.frames()))
        source.close()
    assert "secret" not in "".join(traceback.format_exception(caught.value))
    assert len(frames) == 12
    assert source.info.live
    assert source.info.url == url
    assert source.info.source_id == "127.0.0.1-cam.mjpg"
    assert [int(f.image[0, 0, 0]) for f in frames] == pytest.approx([10 * i for i in range(12)], abs=2)
    assert all(a.pts < b.pts for a, b in pairwise(frames))


def test_stream_that_falls_silent_ends_by_its_time_out() -> None:
    with jpeg_server(frames=12, hang=True) as url:
        source = open_source(url, SourceOptions(read_timeout_s=0.3))
        frames: list[Frame] = []
        with pytest.raises(StreamError, match=r"127\.0\.0\.1.*(nothing came for 0\.3 s|broke off)"):
            frames.extend(iter(source.frames()))
        source.close()
    assert frames


@pytest.mark.parametrize("scheme", ["rtsp", "http", "rtmp", "tcp"])
def test_server_that_never_answers_ends_by_the_time_out(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"{scheme}://me:secret@127.0.0.1:{server.getsockname()[1]}/live"
        started = time.monotonic()
        with pytest.raises(StreamError) as caught:
            open_source(url, SourceOptions(open_timeout_s=0.4, read_timeout_s=0.2))
    assert time.monotonic() - started < 3
    assert "secret" not in "".join(traceback.format_exception(caught.value))
    assert "check the address" in str(caught.value)


def test_film_over_http_is_no_live_stream(make_clip: MakeClip) -> None:
    film = make_clip(sound_s=0.4, mux_options={"movflags": "faststart"}).read_bytes()

    class Library(QuietHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(film)))
            self.end_headers()
            with suppress(ConnectionError):
                self.wfile.write(film)

    with server(Library) as address:
        frames, source = read(f"{address}/clip.mp4")
        assert source.info.sound_url == f"{address}/clip.mp4"
    assert not source.info.live
    assert source.info.frame_count == 10
    assert lumas(frames) == [40 + 5 * i for i in range(10)]
    assert source.damage is None


class QuietHandler(BaseHTTPRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


@contextmanager
def server(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        thread = threading.Thread(target=served.serve_forever, name="server", kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{served.server_port}"
        finally:
            served.shutdown()
            thread.join()


@contextmanager
def jpeg_server(frames: int, *, hang: bool = False) -> Iterator[str]:
    """A camera that sends JPEGs of rising brightness, then closes or, to `hang`, says nothing more."""
    over = threading.Event()

    class Camera(QuietHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
            self.end_headers()
            for index in range(frames):
                jpeg = cv2.imencode(".jpg", np.full((48, 64, 3), 10 * index, np.uint8))[1].tobytes()
                head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg + b"\r\n")
            if hang:
                over.wait(10)

    with server(Camera) as address:
        try:
            yield f"{address}/cam.mjpg"
        finally:
            over.set()


@pytest.mark.assets
@pytest.mark.parametrize("name", CLIPS)
def test_real_clips_give_every_frame_at_its_time(assets: Path, name: str) -> None:
    count, size = CLIPS[name]
    path = assets / "video" / name
    source = open_source(str(path))
    pts = [frame.pts + source.info.start_pts for frame in source.frames()]
    source.close()
    assert source.info.size == size
    assert source.info.frame_count == len(pts) == count
    assert pts == stamps(path)
    assert source.damage is None


def test_decoded_frames_are_freed_at_once_and_wait_for_no_collector(make_clip: MakeClip) -> None:
    source = open_source(str(make_clip(frames=12)), SourceOptions())
    frames = source.frames()
    next(frames)
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        assert sum(1 for _ in frames) == 11
        gc.collect()
        # A camera's thread that an earlier test left behind may let go of its JPEG only now.
        kept = [item for item in gc.garbage if isinstance(item, av.VideoFrame) and item.format.name != "yuvj420p"]
        assert kept == []
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
        source.close()
