"""The page as programs see it, over real sockets."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from servers.page import Serve, make_state, result_of

from stream.feed import State
from stream.web.board import CLIENT_QUEUE

TIMEOUT = aiohttp.ClientTimeout(total=20)


def asked(url: str, path: str, **options: Any) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of one answer; a redirect is not followed."""

    async def ask(session: aiohttp.ClientSession) -> tuple[int, dict[str, str], bytes]:
        async with session.get(url + path, allow_redirects=False, **options) as answer:
            return answer.status, {**answer.headers}, await answer.read()

    return with_session(ask)


def with_session(use: Callable[[aiohttp.ClientSession], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
            return await use(session)

    return asyncio.run(run())


def decoded(jpeg: bytes) -> NDArray[np.uint8]:
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)


async def next_part(content: aiohttp.StreamReader) -> bytes:
    """The next picture of an MJPEG stream."""
    assert await content.readline() == b"--posestream-picture\r\n"
    assert await content.readline() == b"Content-Type: image/jpeg\r\n"
    length = int((await content.readline()).removeprefix(b"Content-Length: "))
    assert await content.readline() == b"\r\n"
    jpeg = await content.readexactly(length)
    assert await content.readline() == b"\r\n"
    return jpeg


async def next_event(content: aiohttp.StreamReader) -> tuple[str, Any]:
    """Kind and data of the next server-sent event; comments are passed over."""
    kind = ""
    while True:
        line = (await content.readline()).decode().rstrip("\n")
        if line.startswith("event: "):
            kind = line.removeprefix("event: ")
        elif line.startswith("data: "):
            return kind, json.loads(line.removeprefix("data: "))


def test_the_page_and_its_parts_are_there_and_closed_to_other_sites(serve: Serve) -> None:
    page = serve()
    for path, kind in (("/", "text/html"), ("/page.js", "text/javascript"), ("/page.css", "text/css"),
                       ("/icon.svg", "image/svg+xml")):  # fmt: skip
        status, headers, body = asked(page.url, path)
        assert status == 200
        assert headers["Content-Type"] == f"{kind}; charset=utf-8"
        assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["Server"] == "posestream"
        assert body
    assert page.said == [f"web page: {page.url}/"]


@pytest.mark.parametrize("path", ["/static/index.html", "/../server.py", "/page", "/stream/door", "/snapshot/yard.jpg"])
def test_nothing_else_is_there(serve: Serve, path: str) -> None:
    status, headers, _ = asked(serve().url, path)
    assert status == 404
    assert "Content-Security-Policy" in headers


def test_the_state_is_told_as_json(serve: Serve) -> None:
    page = serve("door", "Hof/Süd 1")
    status, headers, body = asked(page.url, "/api/state")
    assert (status, headers["Content-Type"]) == (200, "application/json; charset=utf-8")
    assert [source["name"] for source in json.loads(body)["sources"]] == ["door", "Hof/Süd 1"]


def test_a_snapshot_is_the_newest_picture(serve: Serve) -> None:
    page = serve()
    for grey in (10, 200):
        page.show("door", people=0, grey=grey)
    status, headers, body = asked(page.url, "/snapshot/door.jpg")
    assert (status, headers["Content-Type"]) == (200, "image/jpeg")
    assert decoded(body).shape == (48, 64, 3)
    assert np.abs(decoded(body).astype(int) - 200).max() <= 2


def test_any_name_of_a_source_can_be_asked_for(serve: Serve) -> None:
    page = serve("Hof/Süd 1")
    page.show("Hof/Süd 1")
    assert asked(page.url, "/snapshot/Hof%2FS%C3%BCd%201.jpg")[0] == 200


def test_a_side_that_is_no_number_is_refused(serve: Serve) -> None:
    page = serve()
    page.show("door")
    assert asked(page.url, "/snapshot/door.jpg?side=-1")[0] == 400
    assert asked(page.url, "/stream/door.mjpeg?side=x")[0] == 400


def test_mjpeg_brings_every_picture_to_a_client_that_keeps_up(serve: Serve) -> None:
    page = serve()

    async def watch(session: aiohttp.ClientSession) -> list[int]:
        page.show("door", people=0, grey=20)
        async with session.get(f"{page.url}/stream/door.mjpeg") as answer:
            assert answer.content_type == "multipart/x-mixed-replace"
            seen = [await next_part(answer.content)]
            for grey in (60, 100, 140):
                page.show("door", people=0, grey=grey)
                seen.append(await next_part(answer.content))
        return [round(float(decoded(jpeg).mean())) for jpeg in seen]

    assert with_session(watch) == pytest.approx([20, 60, 100, 140], abs=2)


def test_events_tell_the_state_first_and_then_every_result(serve: Serve) -> None:
    page = serve()

    async def listen(session: aiohttp.ClientSession) -> list[tuple[str, Any]]:
        async with session.get(f"{page.url}/api/events") as answer:
            assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
            first = await next_event(answer.content)
            for index in range(3):
                page.show("door", index)
            events = [first]
            while len(events) < 4:
                event = await next_event(answer.content)
                events += [event] if event[0] == "result" else []
            return events

    (kind, state), *results = with_session(listen)
    assert (kind, state["sources"][0]["name"]) == ("state", "door")
    assert [data["frame"] for _, data in results] == [0, 1, 2]
    assert results[0][1]["people"] == [
        {"id": 1, "box": [4.0, 4.0, 20.0, 40.0], "score": 1.0, "keypoints": [[12.0, 6.0, 1.0], [12.0, 38.0, 1.0]]}
    ]


def test_events_can_be_of_one_source_and_one_kind(serve: Serve) -> None:
    page = serve("door", "yard")

    async def listen(session: aiohttp.ClientSession) -> tuple[str, Any]:
        async with session.get(f"{page.url}/api/events?kinds=result&source=yard") as answer:
            assert await answer.content.readline() == b":\n"  # the listener is there
            page.show("door", 1)
            page.show("yard", 2)
            return await next_event(answer.content)

    kind, data = with_session(listen)
    assert (kind, data["source"], data["frame"]) == ("result", "yard", 2)


@pytest.mark.parametrize(("query", "status"), [("kinds=poses", 400), ("source=attic", 404)])
def test_events_that_there_are_not_are_refused(serve: Serve, query: str, status: int) -> None:
    assert asked(serve().url, f"/api/events?{query}")[0] == status


def test_health_is_bad_when_every_live_source_is_silent(serve: Serve) -> None:
    page = serve("door", silent_s=1e-6)
    page.states["door"] = make_state("door", State.LOST)
    assert asked(page.url, "/healthz")[0::2] == (503, b'{"status": "silent"}')
    page.states["door"] = make_state("door", State.ENDED)
    assert asked(page.url, "/healthz")[0::2] == (200, b'{"status": "ok"}')


def test_metrics_are_prometheus_text(serve: Serve) -> None:
    status, headers, body = asked(serve().url, "/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=")
    assert b'posestream_frames_total{source="door"} 7.0\n' in body


def test_a_name_that_is_not_of_the_loopback_is_refused(serve: Serve) -> None:
    page = serve()
    assert asked(page.url, "/api/state", headers={"Host": "evil.example"})[0] == 403
    port = urlsplit(page.url).port
    for host in (f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}"):
        assert asked(page.url, "/api/state", headers={"Host": host})[0] == 200


def test_a_page_of_another_site_is_refused(serve: Serve) -> None:
    page = serve()
    assert asked(page.url, "/api/state", headers={"Origin": "https://evil.example"})[0] == 403
    assert asked(page.url, "/api/state", headers={"Origin": "null"})[0] == 403
    assert asked(page.url, "/api/state", headers={"Origin": page.url})[0] == 200


PATHS = ("/", "/page.js", "/api/state", "/api/events", "/api/live", "/stream/door.mjpeg", "/snapshot/door.jpg",
         "/healthz", "/metrics", "/nowhere")  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_every_path_wants_the_token(serve: Serve, path: str) -> None:
    page = serve(token="open sesame")
    for headers in ({}, {"Authorization": "Bearer open sesam"}, {"Authorization": "Basic open sesame"},
                    {"Cookie": f"posestream-{urlsplit(page.url).port}=open sesame"}):  # fmt: skip
        status, answered, body = asked(page.url, path, headers=headers)
        assert (status, answered["WWW-Authenticate"]) == (401, "Bearer")
        assert b"sesame" not in body
    assert asked(page.url, f"{path}?token=wrong")[0] == 401


def test_a_program_shows_the_token_in_a_header_or_in_the_address(serve: Serve) -> None:
    page = serve(token="open sesame")
    page.show("door")
    assert asked(page.url, "/api/state", headers={"Authorization": "Bearer open sesame"})[0] == 200
    assert asked(page.url, "/snapshot/door.jpg?token=open%20sesame")[0] == 200
    assert page.said == [f"web page: {page.url}/, for those who know the token"]


def test_a_browser_that_brings_the_token_is_sent_on_without_it_and_remembered(serve: Serve) -> None:
    page = serve(token="open sesame")
    status, headers, _ = asked(page.url, "/?token=open+sesame&a=1", headers={"Accept": "text/html,*/*"})
    assert (status, headers["Location"]) == (302, "/?a=1")
    cookie = headers["Set-Cookie"]
    assert "sesame" not in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert asked(page.url, "/api/state", headers={"Cookie": cookie.partition(";")[0]})[0] == 200


def test_nobody_is_sent_on_to_another_site(serve: Serve) -> None:
    page = serve(token="open sesame")
    status, headers, _ = asked(page.url, "//evil.example/?token=open+sesame", headers={"Accept": "text/html"})
    assert status in (302, 404)
    assert not headers.get("Location", "/").startswith("//")


def test_beyond_the_loopback_a_token_is_made_and_told_once(serve: Serve) -> None:
    page = serve(address="0.0.0.0:0")
    told, warned = page.said
    token = told.partition("?token=")[2]
    assert len(token) == 22
    assert "not encrypted" in warned
    near = f"http://127.0.0.1:{urlsplit(page.url).port}"
    assert asked(near, "/api/state")[0] == 401
    assert asked(near, "/api/state", headers={"Authorization": f"Bearer {token}"})[0] == 200


def test_no_more_may_watch_than_there_are_seats(serve: Serve) -> None:
    page = serve(max_clients=1)
    page.show("door")

    async def crowd(session: aiohttp.ClientSession) -> tuple[int, int, int]:
        async with session.get(f"{page.url}/stream/door.mjpeg") as first:
            await next_part(first.content)
            async with session.get(f"{page.url}/api/events") as second, session.get(f"{page.url}/healthz") as health:
                return first.status, second.status, health.status

    assert with_session(crowd) == (200, 503, 200)


def test_who_leaves_frees_the_seat(serve: Serve) -> None:
    page = serve(max_clients=1)
    page.show("door")

    async def come_and_go(session: aiohttp.ClientSession) -> int:
        async with session.get(f"{page.url}/stream/door.mjpeg") as answer:
            await next_part(answer.content)
        while True:  # until the server has noticed
            async with session.get(f"{page.url}/snapshot/door.jpg") as answer:
                if answer.status != 503:
                    return answer.status

    assert with_session(come_and_go) == 200


def test_a_header_beyond_measure_is_refused(serve: Serve) -> None:
    assert asked(serve().url, "/api/state", headers={"X-Long": "x" * 10000})[0] == 400


def test_a_client_that_never_reads_holds_up_nobody(serve: Serve) -> None:
    page = serve()
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)  # 300 KB as JPEG
    with socket.create_connection(("127.0.0.1", urlsplit(page.url).port)) as stuck:
        stuck.sendall(b"GET /stream/door.mjpeg HTTP/1.1\r\nHost: localhost\r\n\r\n")
        page.sink.write(result_of("door", 0, image=noise), None)
        assert stuck.recv(12) == b"HTTP/1.1 200"  # it is served, and reads no further
        for index in range(1000):
            page.sink.write(result_of("door", index, image=noise), None)
        page.show("door", people=0, grey=77)
        status, _, body = asked(page.url, "/snapshot/door.jpg")
    assert status == 200
    assert np.abs(decoded(body).astype(int) - 77).max() <= 2


def test_a_listener_that_never_reads_is_told_what_it_missed(serve: Serve) -> None:
    page = serve()

    async def oversleep(session: aiohttp.ClientSession) -> tuple[list[int], int]:
        async with session.get(f"{page.url}/api/events?kinds=result", read_bufsize=1024) as answer:
            await answer.content.readline()
            for batch in range(60):
                for index in range(100):
                    page.show("door", 100 * batch + index, people=20)
                async with session.get(f"{page.url}/healthz"):
                    pass  # The server's loop has come round.
            frames, dropped = [], 0
            while not frames or frames[-1] != 5999:
                kind, data = await next_event(answer.content)
                if kind == "result":
                    frames.append(data["frame"])
                else:
                    dropped = data["count"]
            return frames, dropped

    frames, dropped = with_session(oversleep)
    assert frames == sorted(set(frames))
    assert dropped == 6000 - len(frames) > 0
    assert frames[-CLIENT_QUEUE:] == list(range(6000 - CLIENT_QUEUE, 6000))


def test_closing_ends_those_who_watch(serve: Serve) -> None:
    page = serve()
    page.show("door")

    async def watch(session: aiohttp.ClientSession) -> str:
        async with session.get(f"{page.url}/stream/door.mjpeg") as answer:
            await next_part(answer.content)
            await asyncio.to_thread(page.sink.close)
            try:
                return str(await answer.content.read())
            except aiohttp.ClientPayloadError:
                return "broken off"

    assert with_session(watch) == "broken off"
