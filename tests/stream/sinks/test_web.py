"""The web page as an output of a run."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream.build import open_session
from stream.cli.main import main
from stream.config import Config, build_options

pytest.importorskip("aiohttp", reason="needs the extra serve")
pytest.importorskip("prometheus_client", reason="needs the extra serve")

import cv2
from astronaut import SIZE
from servers.page import ServedPage, make_state, result_of

ROOT = Path(__file__).parents[3]


def _state_at(url: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{url}api/state", timeout=20) as answer:
        return list(json.load(answer)["sources"])


def test_a_still_picture_is_shown_by_the_source_of_pictures() -> None:
    page = ServedPage("door", "shots")
    try:
        page.states["shots"] = make_state("shots", live=False)
        page.sink.write(result_of("shots/tennis-00.jpg", people=0, image=np.full((20, 30, 3), 99, np.uint8)), None)
        with urllib.request.urlopen(f"{page.url}/snapshot/shots.jpg", timeout=20) as answer:
            image = cv2.imdecode(np.frombuffer(answer.read(), np.uint8), cv2.IMREAD_COLOR)
    finally:
        page.sink.close()
    assert image.shape == (20, 30, 3)
    assert np.abs(image.astype(int) - 99).max() <= 2


def test_it_asks_for_no_drawn_picture() -> None:
    page = ServedPage("door")
    page.sink.close()
    assert page.sink.needs_picture is False


def test_without_its_libraries_the_extra_is_named() -> None:
    program = (
        "import sys\n"
        "from stream.render import Style\n"
        "from stream.sinks.web import open_web\n"
        "from stream.web.options import ServeOptions\n"
        "assert not {'aiohttp', 'prometheus_client'} & set(sys.modules), 'imported before they are needed'\n"
        "sys.modules['aiohttp'] = None  # as if it were not installed\n"
        "try: open_web(['door'], tuple, ServeOptions(address='127.0.0.1:0'), Style())\n"
        "except Exception as error: print(error)\n"
    )
    told = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout == "--serve needs aiohttp; pip install 'posestream[serve]'\n"


def test_a_run_is_served_while_it_goes_on(astronaut_clip: Path, tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "two.streams").write_text(
        f"space = {astronaut_clip}\ntest = lavfi:testsrc2=size=320x240:rate=25,realtime\n"
    )
    keys = {"source": str(tmp_path / "two.streams"), "serve": {"address": "127.0.0.1:0"}}
    config = build_options(Config, keys)
    with open_session(config, say=said.append) as session:
        (url,) = (line.removeprefix("web page: ") for line in said if line.startswith("web page: "))
        seen = {result.frame.source_id: result for result in islice(session, 12)}
        space, test = _state_at(url)
        with urllib.request.urlopen(f"{url}snapshot/space.jpg", timeout=20) as answer:
            image = cv2.imdecode(np.frombuffer(answer.read(), np.uint8), cv2.IMREAD_COLOR)
    assert set(seen) == {"space", "test"}
    assert (space["name"], space["live"], space["people"]) == ("space", False, 1)
    assert (test["name"], test["live"], test["people"]) == ("test", True, 0)
    assert space["frames"] + test["frames"] == 12
    assert image.shape == (*SIZE, 3)
    assert str(astronaut_clip) not in json.dumps([space, test])


def test_a_port_in_use_is_an_error_before_anything_runs(
    astronaut_clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = ServedPage("door")
    place = page.url.removeprefix("http://")
    try:
        code = main(["--source", str(astronaut_clip), "--serve", place])
    finally:
        page.sink.close()
    assert code == 1
    assert f"--serve {place}: cannot listen there" in capsys.readouterr().err


def test_the_configuration_is_printed_without_the_token(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--source", "0", "--serve", "--serve-token", "open sesame", "--print-config"]) == 0
    printed = capsys.readouterr().out
    assert "address: 127.0.0.1:8080" in printed
    assert "sesame" not in printed
