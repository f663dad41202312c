"""What passes between the page and the server, by WebSocket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import cv2
import numpy as np
import pytest
from servers.page import Serve, ServedPage, result_of

Use = Callable[[aiohttp.ClientWebSocketResponse], Awaitable[Any]]


def connected(page: ServedPage, use: Use, **options: Any) -> Any:
    async def run() -> Any:
        url = f"{page.url}/api/live"
        async with aiohttp.ClientSession() as session, session.ws_connect(url, **options) as connection:
            return await asyncio.wait_for(use(connection), 20)

    return asyncio.run(run())


async def picture(connection: aiohttp.ClientWebSocketResponse) -> tuple[dict[str, Any], tuple[int, ...]]:
    """What is told of the next picture, and its shape."""
    data = await connection.receive_bytes()
    length = int.from_bytes(data[:2], "big")
    image = cv2.imdecode(np.frombuffer(data[2 + length :], np.uint8), cv2.IMREAD_COLOR)
    return json.loads(data[2 : 2 + length]), image.shape


def test_the_next_picture_comes_when_the_last_one_is_drawn(serve: Serve) -> None:
    page = serve()

    async def watch(connection: aiohttp.ClientWebSocketResponse) -> list[int]:
        page.show("door", 0)
        await connection.send_json({"show": {"door": 360}})
        first, _ = await picture(connection)
        for index in range(1, 10):
            page.show("door", index)
        await connection.send_json({"drew": "door"})
        second, _ = await picture(connection)
        return [first["frame"], second["frame"]]

    assert connected(page, watch) == [0, 9]


def test_only_what_is_shown_is_sent_in_the_size_it_is_shown(serve: Serve) -> None:
    page = serve("door", "yard")
    large = np.zeros((720, 1280, 3), np.uint8)

    async def watch(connection: aiohttp.ClientWebSocketResponse) -> list[tuple[str, tuple[int, ...]]]:
        for name in ("door", "yard"):
            page.sink.write(result_of(name, image=large), None)
        seen = []
        for show in ({"yard": 350}, {"door": 170, "attic": 300}):
            await connection.send_json({"show": show})
            told, shape = await picture(connection)
            assert (told["height"], told["width"]) == shape[:2]
            seen.append((told["source"], shape))
        return seen

    assert connected(page, watch) == [("yard", (360, 640, 3)), ("door", (180, 320, 3))]


def test_a_picture_is_told_with_its_people_and_age(serve: Serve) -> None:
    page = serve()

    async def watch(connection: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
        page.show("door", 5, people=3)
        await connection.send_json({"show": {"door": 360}})
        return (await picture(connection))[0]

    told = connected(page, watch)
    assert (told["source"], told["frame"], told["people"]) == ("door", 5, 3)
    assert 0 <= told["age_ms"] < 20e3


@pytest.mark.parametrize("said", ["hello", "[1]", '{"show": {"door": "large"}}', '{"drew": 1}', "[" * 10000])
def test_what_is_not_understood_ends_the_connection(serve: Serve, said: str) -> None:
    async def talk(connection: aiohttp.ClientWebSocketResponse) -> int | None:
        await connection.send_str(said)
        await connection.receive()
        return connection.close_code

    assert connected(serve(), talk) == aiohttp.WSCloseCode.UNSUPPORTED_DATA


def test_too_long_a_message_ends_the_connection(serve: Serve) -> None:
    async def talk(connection: aiohttp.ClientWebSocketResponse) -> int | None:
        await connection.send_str(" " * 20000)
        await connection.receive()
        return connection.close_code

    assert connected(serve(), talk) == aiohttp.WSCloseCode.MESSAGE_TOO_BIG


def test_the_page_of_another_site_gets_no_connection(serve: Serve) -> None:
    async def talk(connection: aiohttp.ClientWebSocketResponse) -> None:
        pytest.fail("it was let in")

    with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
        connected(serve(), talk, origin="https://evil.example")
