"""Pages on free ports."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("aiohttp", reason="needs the extra serve")
pytest.importorskip("prometheus_client", reason="needs the extra serve")

from servers.page import Serve, ServedPage


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Opens the page of sources of these names, with these options."""
    opened: list[ServedPage] = []

    def open_page(*names: str, **options: Any) -> ServedPage:
        opened.append(ServedPage(*(names or ("door",)), **options))
        return opened[-1]

    yield open_page
    for page in opened:
        page.sink.close()
