"""The machine in words."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engines.training.training_card import machine_words


def test_the_cpu_s_model_and_the_cores_to_be_used_are_named(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nvendor_id\t: X\nmodel name\t: Some  CPU @ 2.60GHz\nmodel name\t: Some CPU\n")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert machine_words(file) == f"Some CPU @ 2.60GHz, {cores} core{'s' if cores != 1 else ''}"


@pytest.mark.parametrize("text", [None, "processor : 0\nCPU part : 0xd0c\n"])
def test_a_machine_that_does_not_tell_is_named_by_its_kind(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text)
    model, cores = machine_words(tmp_path / "cpuinfo").rsplit(", ", 1)
    assert model != ""
    assert cores.split()[1] in ("core", "cores")
