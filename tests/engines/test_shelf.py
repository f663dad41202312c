"""Where what is built lies: by content and card; and verdicts: by machine too."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from fake_engines import POSE_CARD

from engines.cards import InputSpec
from engines.shelf import Engines, Shelf, kept_verdicts, machine
from engines.verdict import BARS, Verdict

VERDICT = Verdict("bf16", "A", "B", "5 drawn pictures", BARS["bf16"], relative=0.01)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"weights")
    return path


def shelf_of(model: Path, **changes: object) -> Shelf:
    return Shelf.of(model.parent / "cache", model, replace(POSE_CARD, **changes), Engines())


def test_another_content_or_card_is_another_place(model: Path, tmp_path: Path) -> None:
    first = shelf_of(model)
    assert first.built("int8").parent == tmp_path / "cache" / "built"
    assert first.built("int8").name.startswith("net-int8-")
    assert first.built("int8").suffix == ".onnx"
    assert shelf_of(model) == first
    assert shelf_of(model, input=InputSpec((64, 64), "bgr")).built("int8") != first.built("int8")
    model.write_bytes(b"other weights")
    assert shelf_of(model).built("int8") != first.built("int8")


def test_what_is_said_of_a_model_without_being_it_changes_nothing(model: Path) -> None:
    renamed = shelf_of(model, name="mine", license="MIT")
    assert renamed.built("int8") == shelf_of(model).built("int8")
    assert renamed.verdict_file("int8") == shelf_of(model).verdict_file("int8")


def test_a_verdict_is_kept_beside_what_was_built_and_comes_back(model: Path) -> None:
    shelf = shelf_of(model)
    assert shelf.verdict("bf16") is None
    file = shelf.keep(VERDICT)
    assert file == shelf.verdict_file("bf16")
    assert file.parent == shelf.built("bf16").parent
    assert shelf.verdict("bf16") == VERDICT
    assert shelf.verdict("int8") is None
    assert shelf.keep(replace(VERDICT, relative=0.5)) == file
    assert shelf.verdict("bf16") == replace(VERDICT, relative=0.5)
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_another_library_or_device_has_a_verdict_of_its_own(model: Path) -> None:
    shelf = shelf_of(model)
    shelf.keep(VERDICT)
    for engines in (Engines("onnxruntime"), Engines(device="cuda:0")):
        assert replace(shelf, engines=engines).verdict("bf16") is None


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"machine": "MACHINE", "model": "net", "verdict": {}}'])
def test_what_cannot_be_read_is_no_verdict(model: Path, text: str) -> None:
    shelf = shelf_of(model)
    shelf.keep(VERDICT).write_text(text.replace("MACHINE", machine()))
    assert shelf.verdict("bf16") is None
    assert kept_verdicts(shelf.cache) == []


def test_all_verdicts_of_this_machine_are_listed_the_last_of_each_model(model: Path) -> None:
    shelf = shelf_of(model)
    assert kept_verdicts(shelf.cache) == []
    old = shelf.keep(VERDICT)
    os.utime(old, (1, 1))
    newer = replace(shelf, digest="of other weights")
    newer.keep(replace(VERDICT, oks=0.999))
    newer.keep(replace(VERDICT, precision="int8"))
    elsewhere = replace(shelf, card=replace(POSE_CARD, name="other", pad=0))
    file = elsewhere.keep(VERDICT)
    file.write_text(json.dumps({**json.loads(file.read_text()), "machine": "another"}))
    assert kept_verdicts(shelf.cache) == [
        ("net", replace(VERDICT, oks=0.999)),
        ("net", replace(VERDICT, precision="int8")),
    ]


def test_a_cache_that_cannot_be_written_is_an_os_error(model: Path) -> None:
    shelf = replace(shelf_of(model), cache=model)
    with pytest.raises(OSError, match="Not a directory"):
        shelf.keep(VERDICT)


def test_a_verdict_that_cannot_be_written_whole_leaves_the_old_one(model: Path) -> None:
    shelf = shelf_of(model)
    file = shelf.keep(VERDICT)
    with pytest.raises(TypeError):
        shelf.keep(replace(VERDICT, on=b"not words"))
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert shelf.verdict("bf16") == VERDICT
