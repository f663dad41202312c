"""Engines that are kept: another key is another engine, none is seen half, none is built twice at a time."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from engines.backends.base import EngineError
from engines.engine_cache import (
    ANY,
    FOLDER,
    Engine,
    EngineKey,
    cached_engine,
    engine_beside,
    read_engine,
    write_engine,
)

ROOT = Path(__file__).parents[2]
WAIT_S = 20.0
KEY = EngineKey(
    name="net",
    model="3f" * 32,
    library="TensorRT 10.13.2",
    gpu="NVIDIA L4",
    capability="8.9",
    driver="580.65",
    precision="fp16",
    size="256x192",
    profile="batches of 1 to 32",
    recipe=1,
)
OTHERS = {
    "name": "other",
    "model": "9b" * 32,
    "library": "TensorRT 10.14.0",
    "gpu": "NVIDIA T4",
    "capability": "7.5",
    "driver": "590.12",
    "precision": "int8",
    "size": "384x288",
    "profile": "batches of 1 to 8",
    "recipe": 2,
}
ENGINE = Engine(b"plan" * 99, ("boxes", "labels"))
TWICE = """
import sys, time
from pathlib import Path
from engines.engine_cache import Engine, EngineKey, cached_engine
cache, key = Path(sys.argv[1]), EngineKey(*sys.argv[2:11], int(sys.argv[11]))
def build():
    with (cache / "builds").open("a") as file:
        file.write("x")
    print("building", flush=True)
    sys.stdin.readline()
    return Engine(b"plan", ("out",))
print(cached_engine(cache, key, build, lambda line: print(line, flush=True)).engine.plan, flush=True)
"""


class Builds:
    """Builds ENGINE, and counts how often."""

    def __init__(self, engine: Engine = ENGINE) -> None:
        self.count = 0
        self._engine = engine

    def __call__(self) -> Engine:
        self.count += 1
        return self._engine


def files(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / FOLDER).glob("*.engine"))


def refuse() -> Engine:
    pytest.fail("built again")


@pytest.mark.parametrize("field", OTHERS)
def test_each_part_of_the_key_makes_another_engine(tmp_path: Path, field: str) -> None:
    other = dataclasses.replace(KEY, **{field: OTHERS[field]})
    assert other.digest != KEY.digest
    cached_engine(tmp_path, KEY, Builds(), lambda _: None)
    builds = Builds(Engine(b"another", ("out",)))
    assert cached_engine(tmp_path, other, builds, lambda _: None).engine.plan == b"another"
    assert builds.count == 1


def test_the_parts_are_all_there_are() -> None:
    assert [field.name for field in dataclasses.fields(EngineKey)] == list(OTHERS)


def test_an_engine_is_built_once_and_then_found_as_it_was(tmp_path: Path) -> None:
    lines: list[str] = []
    first = cached_engine(tmp_path, KEY, Builds(), lines.append)
    assert lines == [
        "net in fp16 for NVIDIA L4 by TensorRT 10.13.2: building the engine, once, which takes up to some minutes"
    ]
    again = cached_engine(tmp_path, KEY, refuse, pytest.fail)
    assert first == again
    assert (again.engine, again.key) == (ENGINE, KEY)
    assert files(tmp_path) == [f"net-fp16-{KEY.digest}.engine"]


@pytest.mark.parametrize(
    ("field", "line"),
    [
        ("library", "its library was TensorRT 10.13.2, is TensorRT 10.14.0; building the engine"),
        ("driver", "its driver was 580.65, is 590.12; building the engine"),
        ("recipe", "its recipe was 1, is 2; building the engine"),
    ],
)
def test_a_stale_engine_is_replaced_and_the_line_says_what_changed(tmp_path: Path, field: str, line: str) -> None:
    cached_engine(tmp_path, KEY, Builds(), lambda _: None)
    lines: list[str] = []
    now = dataclasses.replace(KEY, **{field: OTHERS[field]})
    cached_engine(tmp_path, now, Builds(), lines.append)
    (said,) = lines
    assert line in said
    assert files(tmp_path) == [f"net-fp16-{now.digest}.engine"]


@pytest.mark.parametrize(
    ("field", "line"),
    [
        ("model", "its model was 3f3f3f3f3f3f, is 9b9b9b9b9b9b; building"),
        ("gpu", "its gpu was NVIDIA L4, is NVIDIA T4; building"),
        ("size", "its size was 256x192, is 384x288; building"),
    ],
)
def test_an_engine_for_something_else_is_told_and_stays(tmp_path: Path, field: str, line: str) -> None:
    cached_engine(tmp_path, KEY, Builds(), lambda _: None)
    lines: list[str] = []
    cached_engine(tmp_path, dataclasses.replace(KEY, **{field: OTHERS[field]}), Builds(), lines.append)
    assert line in lines[0]
    assert len(files(tmp_path)) == 2
    assert cached_engine(tmp_path, KEY, refuse, pytest.fail).engine == ENGINE


def test_of_several_the_nearest_says_what_changed(tmp_path: Path) -> None:
    far = dataclasses.replace(KEY, gpu="NVIDIA T4", capability="7.5", driver="1")
    for key in (far, KEY):
        cached_engine(tmp_path, key, Builds(), lambda _: None)
    lines: list[str] = []
    cached_engine(tmp_path, dataclasses.replace(KEY, driver="590.12"), Builds(), lines.append)
    assert "its driver was 580.65, is 590.12; building" in lines[0]
    assert "gpu" not in lines[0]


@pytest.mark.parametrize("cut", [0, 10, 300, -1])
def test_a_damaged_engine_is_never_loaded_but_built_again(tmp_path: Path, cut: int) -> None:
    path = cached_engine(tmp_path, KEY, Builds(), lambda _: None).path
    path.write_bytes(path.read_bytes()[:cut])
    lines: list[str] = []
    builds = Builds()
    assert cached_engine(tmp_path, KEY, builds, lines.append).engine == ENGINE
    assert builds.count == 1
    assert "the engine that is there is damaged; building" in lines[0]
    assert read_engine(path).engine == ENGINE


def test_a_bit_that_fell_over_is_damage(tmp_path: Path) -> None:
    write_engine(tmp_path / "a.engine", KEY, ENGINE)
    whole = bytearray((tmp_path / "a.engine").read_bytes())
    whole[-5] ^= 1
    (tmp_path / "a.engine").write_bytes(whole)
    with pytest.raises(EngineError, match=r"a\.engine: the engine is damaged; remove it"):
        read_engine(tmp_path / "a.engine")


@pytest.mark.parametrize("content", [b"", b"ftrt\x00\x01\xff", b'{"key": {}}\nplan', b"[1]\n", b"null"])
def test_what_is_no_engine_of_ours_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.engine").write_bytes(content)
    with pytest.raises(EngineError, match=r"a\.engine: no engine of ours; remove it"):
        read_engine(tmp_path / "a.engine")


def test_a_file_under_the_name_of_another_key_is_not_loaded(tmp_path: Path) -> None:
    path = cached_engine(tmp_path, KEY, Builds(), lambda _: None).path
    now = dataclasses.replace(KEY, driver="590.12")
    path.rename(path.with_name(f"net-fp16-{now.digest}.engine"))
    builds = Builds(Engine(b"new", ("out",)))
    assert cached_engine(tmp_path, now, builds, lambda _: None).engine.plan == b"new"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows lets nobody replace a file that is being read")
def test_who_reads_an_engine_while_another_takes_its_place_reads_the_old_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.engine"
    write_engine(path, KEY, ENGINE)
    before = path.stat().st_ino
    with path.open("rb") as reader:
        write_engine(path, KEY, Engine(b"new", ("out",)))
        assert reader.read().endswith(ENGINE.plan)
    assert path.stat().st_ino != before
    assert read_engine(path).engine.plan == b"new"


def test_nothing_is_seen_while_it_is_built_and_nothing_is_left_where_that_fails(tmp_path: Path) -> None:
    def fail() -> Engine:
        assert files(tmp_path) == []
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached_engine(tmp_path, KEY, fail, lambda _: None)
    assert files(tmp_path) == []
    assert cached_engine(tmp_path, KEY, Builds(), lambda _: None).engine == ENGINE


def test_an_engine_that_cannot_be_written_whole_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.engine").mkdir()
    with pytest.raises(OSError, match=r"a\.engine"):
        write_engine(tmp_path / "a.engine", KEY, ENGINE)
    assert [path.name for path in tmp_path.iterdir()] == ["a.engine"]


def test_of_two_processes_one_builds_and_the_other_waits_for_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TWICE, str(tmp_path), *map(str, dataclasses.astuple(KEY))]

    def start() -> subprocess.Popen[str]:
        environ = os.environ | {"PYTHONPATH": str(ROOT)}
        return subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    with start() as first, start() as second:
        assert first.stdout is not None
        assert second.stdout is not None
        heard = {first: first.stdout.readline(), second: second.stdout.readline()}
        builder = first if "building the engine" in heard[first] else second
        other = second if builder is first else first
        assert "another process builds this engine; waiting for that" in heard[other]
        assert builder.stdout is not None
        assert builder.stdout.readline() == "building\n"
        assert files(tmp_path) == []
        for process in (builder, other):
            out, _ = process.communicate("go\n", WAIT_S)
            assert out == "b'plan'\n"
    assert (tmp_path / "builds").read_text() == "x"


def test_two_threads_that_want_two_engines_do_not_wait_for_each_other(tmp_path: Path) -> None:
    met = threading.Barrier(2, timeout=WAIT_S)

    def build() -> Engine:
        met.wait()  # only both together get past this
        return ENGINE

    other = dataclasses.replace(KEY, name="other")
    thread = threading.Thread(target=cached_engine, args=(tmp_path, other, build, lambda _: None), name="other")
    thread.start()
    cached_engine(tmp_path, KEY, build, lambda _: None)
    thread.join(WAIT_S)
    assert len(files(tmp_path)) == 2


def test_names_with_brackets_find_their_own(tmp_path: Path) -> None:
    odd = dataclasses.replace(KEY, name="net[1]*")
    cached_engine(tmp_path, odd, Builds(), lambda _: None)
    lines: list[str] = []
    cached_engine(tmp_path, dataclasses.replace(odd, driver="590.12"), Builds(), lines.append)
    assert "its driver was 580.65" in lines[0]


ELSEWHERE = dataclasses.replace(KEY, gpu=ANY, driver=ANY, capability="7.5 8.9", profile="batches of 1 to 8")


def test_an_engine_for_other_machines_serves_beside_its_model(tmp_path: Path) -> None:
    write_engine(tmp_path / "net-fp16-sm75-sm89.engine", ELSEWHERE, ENGINE)
    found = engine_beside(tmp_path / "net.onnx", KEY, pytest.fail)
    assert found is not None
    assert found.engine == ENGINE
    assert ELSEWHERE.words == "net in fp16 for compute capability 7.5 8.9 by TensorRT 10.13.2"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"library": "TensorRT 10.14.0"}, "not used, as its library was TensorRT 10.13.2, is TensorRT 10.14.0"),
        ({"capability": "8.6"}, "not used, as its capability was 7.5 8.9, is 8.6"),
        ({"model": "9b" * 32}, "not used, as its model was 3f3f3f3f3f3f, is 9b9b9b9b9b9b"),
        ({"size": "64x48", "recipe": 2}, "not used, as its size was 256x192, is 64x48; its recipe was 1, is 2"),
    ],
)
def test_one_that_does_not_serve_is_told_and_not_used(tmp_path: Path, changes: dict[str, object], line: str) -> None:
    write_engine(tmp_path / "net-fp16-sm75.engine", ELSEWHERE, ENGINE)
    lines: list[str] = []
    assert engine_beside(tmp_path / "net.onnx", dataclasses.replace(KEY, **changes), lines.append) is None
    assert lines == [f"net-fp16-sm75.engine: {line}"]


def test_one_of_another_precision_is_passed_by_and_a_damaged_one_told(tmp_path: Path) -> None:
    write_engine(tmp_path / "net-int8-sm75.engine", dataclasses.replace(ELSEWHERE, precision="int8"), ENGINE)
    (tmp_path / "net-fp16-sm75.engine").write_bytes(b"half")
    lines: list[str] = []
    assert engine_beside(tmp_path / "net.onnx", KEY, lines.append) is None
    (said,) = lines
    assert "net-fp16-sm75.engine: no engine of ours" in said
