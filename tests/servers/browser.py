"""A headless browser, spoken to by its debugging protocol."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from servers.process import HOST, skip_for_want_of

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
PACKAGES = "chromium"
WAIT_S = 20.0


@contextmanager
def running_browser(profile: Path) -> Iterator[int]:
    """The debugging port of a browser that keeps its things in `profile`."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        skip_for_want_of("headless browser", PACKAGES)
    process = subprocess.Popen(
        [str(program), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
         "--hide-scrollbars", "--no-first-run", f"--user-data-dir={profile}", "--remote-debugging-port=0"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stderr is not None
    told = next((line for line in process.stderr if "DevTools listening" in line), None)
    # What it complains of later must not fill the pipe.
    reading = threading.Thread(target=process.stderr.read, name="complaints of the browser")
    reading.start()
    try:
        if told is None:
            raise RuntimeError(f"{program} did not start")
        yield int(told.split(f"ws://{HOST}:")[1].partition("/")[0])
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # it has children
        process.wait()
        reading.join()
        process.stderr.close()


@asynccontextmanager
async def open_tab(port: int, url: str) -> AsyncIterator[Tab]:
    """A tab of a running browser that shows `url`."""
    async with aiohttp.ClientSession() as session:
        async with session.put(f"http://{HOST}:{port}/json/new?about:blank") as answer:
            address = (await answer.json())["webSocketDebuggerUrl"]
        async with session.ws_connect(address, max_msg_size=0) as socket:
            tab = Tab(socket)
            await tab.tell("Page.navigate", url=url)
            yield tab
            await tab.tell("Page.close")


class Tab:
    """One tab: JavaScript is asked in it, and its picture taken."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0

    async def tell(self, method: str, **params: Any) -> dict[str, Any]:
        """What the browser answers to a command of its protocol."""
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": params})
        while True:
            answer = await self._socket.receive_json(timeout=WAIT_S)
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer}"
                return dict(answer["result"])

    async def look(self, *, width: int, height: int, scheme: str, phone: bool = False) -> None:
        """Be a screen of that size, of somebody who likes it light or dark."""
        size = {"width": width, "height": height}
        await self.tell("Emulation.setDeviceMetricsOverride", **size, deviceScaleFactor=1, mobile=phone)
        await self.tell("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    async def ask(self, expression: str) -> Any:
        """The value of an expression, or what it promises."""
        told = await self.tell("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    async def until(self, condition: str) -> None:
        """Wait until JavaScript says that it is so."""
        deadline_s = asyncio.get_running_loop().time() + WAIT_S
        while not await self.ask(f"Boolean({condition})"):
            if asyncio.get_running_loop().time() > deadline_s:
                pytest.fail(f"never true in the browser: {condition}")
            await self.ask("new Promise(done => setTimeout(done, 20))")

    async def shoot(self, path: Path) -> None:
        """Write what is seen as a PNG."""
        path.write_bytes(base64.b64decode((await self.tell("Page.captureScreenshot", format="png"))["data"]))
