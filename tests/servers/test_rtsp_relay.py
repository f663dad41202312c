from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
from servers.numbered import read_number
from servers.publisher import Publisher
from servers.rtsp import RtspRelay, require_rtsp_server

from stream.reconnect import open_lasting
from stream.source import SourceOptions


@pytest.mark.parametrize("login", [None, "me:Sesame7"])
def test_what_is_published_can_be_looked_at(tmp_path: Path, login: str | None) -> None:
    require_rtsp_server()
    with RtspRelay(tmp_path, "cam", "other", login=login) as server:
        publish, play = server.publish_url("cam"), server.play_url("cam")
        if login is not None:
            publish, play = server.url_for(login, publish), server.url_for(login, play)
        with Publisher(publish, container="rtsp", options={"rtsp_transport": "tcp"}):
            source = open_lasting(play, SourceOptions(read_timeout_s=2.0, retries=20))
            numbers = [read_number(frame.image) for frame in islice(source.frames(), 30)]
            source.close()
            received = server.received("cam")
        assert server.received("other") == 0
    first = numbers[0]
    assert first is not None
    assert first % 12 == 0, "who looks begins with a key frame"
    assert numbers == list(range(first, first + 30))
    assert received > numbers[-1]
