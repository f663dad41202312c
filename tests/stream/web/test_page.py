"""The page in a real browser."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
from servers.browser import open_tab, running_browser
from servers.page import Serve, ServedPage, make_state

from stream.feed import State

GREYS = {"door": 60, "yard": 120, "attic": 180}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with running_browser(tmp_path_factory.mktemp("profile")) as port:
        yield port


def grey_of(name: str) -> str:
    """JavaScript for the grey of a source's canvas, in its middle."""
    return (
        f"(cards => {{ const card = cards.find(card => card.querySelector('b').textContent === '{name}');"
        "const canvas = card?.querySelector('canvas');"
        "return canvas?.getContext('2d').getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data[0] })"
        "([...document.querySelectorAll('article')])"
    )


def shows(name: str, grey: int) -> str:
    return f"Math.abs({grey_of(name)} - {grey}) <= 3"


def fill(page: ServedPage) -> None:
    for name, grey in GREYS.items():
        page.show(name, people=0, grey=grey)


def test_every_stream_is_live_with_its_figures(serve: Serve, browser: int, tmp_path: Path) -> None:
    page = serve(*GREYS)
    page.states["attic"] = make_state("attic", State.LOST)
    fill(page)

    async def look() -> tuple[list[str], str, list[str]]:
        async with open_tab(browser, page.url) as tab:
            await tab.look(width=1280, height=720, scheme="dark")
            for name, grey in GREYS.items():
                await tab.until(shows(name, grey))
            page.show("yard", people=0, grey=30)
            await tab.until(shows("yard", 30))
            figures = await tab.ask("[...document.querySelectorAll('article.playing')[0].querySelectorAll('dd')]"
                                    ".map(cell => cell.textContent)")  # fmt: skip
            total = await tab.ask("document.getElementById('total').textContent")
            notices = await tab.ask("[...document.querySelectorAll('.notice')].map(notice => notice.textContent)")
            await tab.shoot(tmp_path / "page.png")
            return figures, total, notices

    figures, total, notices = asyncio.run(look())
    assert figures == ["25.0", "48 ms", "2", "8", "4"]
    assert total == "2 of 3 playing · 4 people"
    assert notices == ["", "", "Lost, connecting again…"]
    assert cv2.imread(str(tmp_path / "page.png")).shape == (720, 1280, 3)


def test_a_click_enlarges_a_stream_and_another_shows_all(serve: Serve, browser: int) -> None:
    page = serve(*GREYS)
    fill(page)
    visible = "[...document.querySelectorAll('article:not([hidden]) b')].map(name => name.textContent).join()"

    async def look() -> list[str]:
        async with open_tab(browser, page.url) as tab:
            await tab.look(width=1280, height=720, scheme="dark")
            await tab.until(shows("yard", 120))
            seen = []
            for step in ("document.querySelectorAll('.view')[1].click()", "document.getElementById('back').click()",
                         "dispatchEvent(new KeyboardEvent('keydown', {key: '3'}))",
                         "dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape'}))"):  # fmt: skip
                await tab.ask(step)
                seen.append(await tab.ask(visible))
            return seen

    everything = ",".join(GREYS)
    assert asyncio.run(look()) == ["yard", everything, "attic", everything]


@pytest.mark.parametrize(("scheme", "lightness"), [("dark", (0, 40)), ("light", (230, 255))])
def test_it_is_dark_or_light_as_its_reader_likes(
    serve: Serve, browser: int, tmp_path: Path, scheme: str, lightness: tuple[int, int]
) -> None:
    page = serve()
    page.show("door")

    async def look() -> None:
        async with open_tab(browser, page.url) as tab:
            await tab.look(width=800, height=600, scheme=scheme)
            await tab.until("document.querySelector('article.playing')")
            await tab.shoot(tmp_path / "page.png")

    asyncio.run(look())
    corner = cv2.imread(str(tmp_path / "page.png"))[-2, -2]
    assert lightness[0] <= int(corner.mean()) <= lightness[1]


def test_it_fits_a_phone(serve: Serve, browser: int) -> None:
    page = serve(*GREYS)
    fill(page)

    async def look() -> tuple[int, list[int]]:
        async with open_tab(browser, page.url) as tab:
            await tab.look(width=390, height=844, scheme="light", phone=True)
            await tab.until(shows("door", 60))
            width = await tab.ask("document.documentElement.scrollWidth")
            return width, await tab.ask("[...document.querySelectorAll('article')].map(card => card.offsetWidth)")

    width, cards = asyncio.run(look())
    assert width == 390
    assert cards == [374] * 3  # less the margins


def test_nothing_that_it_does_offends_its_own_policy(serve: Serve, browser: int) -> None:
    page = serve()
    page.show("door", people=0, grey=90)

    async def look() -> list[str]:
        async with open_tab(browser, "about:blank") as tab:
            await tab.tell("Page.enable")
            await tab.tell(
                "Page.addScriptToEvaluateOnNewDocument",
                source="window.faults = []; for (const kind of ['error', 'unhandledrejection', "
                "'securitypolicyviolation']) addEventListener(kind, event => faults.push(`${kind} "
                "${event.message ?? event.reason ?? event.violatedDirective}`), true)",
            )
            await tab.tell("Page.navigate", url=page.url)
            await tab.until(shows("door", 90))
            return list(await tab.ask("faults"))

    assert asyncio.run(look()) == []


def test_with_the_token_in_the_address_it_opens_and_forgets_the_address(serve: Serve, browser: int) -> None:
    page = serve(token="open sesame")
    page.show("door", people=0, grey=90)

    async def look() -> str:
        async with open_tab(browser, f"{page.url}/?token=open+sesame") as tab:
            await tab.until(shows("door", 90))
            return str(await tab.ask("location.href"))

    assert asyncio.run(look()) == f"{page.url}/"


def test_it_says_when_the_run_has_ended(serve: Serve, browser: int) -> None:
    page = serve()
    page.show("door", people=0, grey=90)

    async def look() -> str:
        async with open_tab(browser, page.url) as tab:
            await tab.until(shows("door", 90))
            assert await tab.ask("document.getElementById('trouble').hidden") is True
            await asyncio.to_thread(page.sink.close)
            await tab.until("!document.getElementById('trouble').hidden")
            return str(await tab.ask("document.getElementById('trouble').textContent"))

    assert asyncio.run(look()).startswith("No connection: the run has ended")
