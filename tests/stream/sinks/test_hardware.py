from __future__ import annotations

from fractions import Fraction

import av
import pytest
from av import logging

from stream.frame import Color
from stream.sinks.encode import PictureFormat
from stream.sinks.hardware import HARDWARE, choose_encoder
from stream.sinks.video import VideoOptions

PICTURE = PictureFormat((48, 64), Fraction(1, 1000), Fraction(25), Color())


def test_the_encoder_asked_for_is_taken_untried() -> None:
    assert choose_encoder(PICTURE, VideoOptions(encoder="h264_nvenc")) == ("h264_nvenc", "encoder: h264_nvenc")


@pytest.mark.parametrize("named", [None, "auto"])
def test_the_first_that_really_encodes_is_taken(named: str | None) -> None:
    candidates = ("h264_of_nobody", "mpeg4", "libx265")
    assert choose_encoder(PICTURE, VideoOptions(encoder=named), candidates) == ("mpeg4", "encoder: mpeg4")


def test_one_that_does_not_work_is_passed_by_with_the_reason() -> None:
    huge = PictureFormat((48, 70_000), Fraction(1, 1000), None, Color())  # libx264's longest side is 16,384
    name, note = choose_encoder(huge, VideoOptions(), ("libx264",))
    assert name == "libx264"
    assert note.startswith("encoder: libx264 (libx264: ")
    assert len(note) > len("encoder: libx264 (libx264: )")


def test_without_candidates_it_is_x264_and_without_a_reason() -> None:
    assert choose_encoder(PICTURE, VideoOptions(), ()) == ("libx264", "encoder: libx264")


def test_one_that_has_no_such_preset_is_passed_by() -> None:
    candidates = ("libsvtav1", "mpeg4")  # whose presets are numbers, and which has none
    name, note = choose_encoder(PICTURE, VideoOptions(preset="superfast"), candidates[:1])
    assert name == "libx264"
    assert note.startswith("encoder: libx264 (libsvtav1: ")
    assert choose_encoder(PICTURE, VideoOptions(preset="9"), candidates)[0] == "libsvtav1"


def test_on_this_machine_one_works_and_where_it_is_x264_the_others_say_why_they_do_not() -> None:
    before = logging.get_level()
    name, note = choose_encoder(PICTURE, VideoOptions())
    known = [each for each in HARDWARE if each in av.codecs_available]
    failed = [] if name in known else known
    assert name in (*known, "libx264")
    assert [each for each in known if f"{each}: " in note] == failed
    assert logging.get_level() == before
