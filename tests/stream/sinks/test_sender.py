"""The process that sends, asked in this one."""

from __future__ import annotations

import io
import pickle
from fractions import Fraction
from pathlib import Path

import av
import pytest

from stream.frame import Color
from stream.sinks.encode import PictureFormat
from stream.sinks.encoding import VideoOptions
from stream.sinks.sender import Close, Open, Request, Send, Sender, serve
from stream.sinks.target import muxer_options, target_of
from stream.source import SourceInfo

PICTURE = PictureFormat((48, 64), Fraction(1, 1000), Fraction(25), Color())
INFO = SourceInfo("cam", "cam", PICTURE.size, PICTURE.time_base, PICTURE.rate, live=True)
PLANES = (bytes(48 * 64), bytes(24 * 32), bytes(24 * 32))
NOWHERE = "udp://127.0.0.1:9"


def opening(output: str, options: VideoOptions) -> Open:
    target = target_of(output)
    return Open(target, muxer_options(target, INFO), PICTURE, options)


class Choosing:
    """Chooses x264, and notes how often."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, picture: PictureFormat, options: VideoOptions) -> tuple[str, str]:
        self.times += 1
        return "libx264", f"choice {self.times}"


def test_an_encoder_is_chosen_once_for_all_connections() -> None:
    choosing = Choosing()
    sender, request = Sender(choosing), opening(NOWHERE, VideoOptions())
    notes = [sender.answer(each).note for each in (request, Close(), request)]
    sender.close()
    assert notes == ["choice 1", "", "choice 1"]


def test_a_choice_that_does_not_open_any_more_is_made_anew() -> None:
    choosing, options = Choosing(), VideoOptions(preset="nonsense")
    sender, request = Sender(choosing), opening(NOWHERE, options)
    sender._choices[PICTURE, options] = "libx264", "that opened before"
    replies = [sender.answer(request) for _ in range(2)]
    assert all(reply.failure for reply in replies)
    assert [reply.is_final for reply in replies] == [False, True]
    assert choosing.times == 1


@pytest.mark.parametrize("missing", [0, 100])
def test_a_request_that_breaks_off_ends_it_in_good_order(missing: int) -> None:
    whole = pickle.dumps(Close())
    torn = pickle.dumps(Send(0, PLANES), pickle.HIGHEST_PROTOCOL)[:-missing] if missing else b""
    asked: list[Request | None] = []
    serve(io.BytesIO(whole + torn), replies := io.BytesIO(), asked.append)
    assert asked == [Close(), None, Close()]
    assert pickle.loads(replies.getvalue()).failure is None


def test_a_folder_with_a_colon_takes_a_playlist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a:b").mkdir()
    sender = Sender()
    requests = [opening("a:b/x.m3u8", VideoOptions(encoder="libx264")), *(Send(i * 40, PLANES) for i in range(60))]
    assert {sender.answer(request).failure for request in (*requests, Close())} == {None}
    assert sorted(path.name for path in Path("a:b").iterdir()) == ["x-000000.ts", "x-000001.ts", "x.m3u8"]
    with av.open("file:a:b/x.m3u8") as film:
        assert sum(1 for _ in film.decode(video=0)) == 60
