"""Pictures as they are sent, and how large."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import cv2
import numpy as np
import pytest
from servers.page import result_of

from stream.pipeline import Result
from stream.render import Style
from stream.web.board import Board, Pinned
from stream.web.pictures import RUNGS, Gallery, Jpeg, Ladder, Rung, encode, rung_for, scaled


def _result(height: int, width: int, colour: tuple[int, int, int] = (30, 60, 200), people: int = 0) -> Result:
    result = result_of("door", people=people)
    image = np.full((height, width, 3), colour, np.uint8)
    return replace(result, frame=replace(result.frame, image=image))


@pytest.mark.parametrize(("side", "rung"), [(4000, 0), (1080, 0), (721, 0), (720, 1), (361, 2), (180, 5), (1, 5)])
def test_a_rung_shows_what_is_asked_for_or_the_most_there_is(side: int, rung: int) -> None:
    assert rung_for(side) == rung


@pytest.mark.parametrize(
    ("size", "side", "wanted"),
    [((1080, 1920), 360, (360, 640)), ((1920, 1080), 360, (640, 360)), ((48, 64), 360, (48, 64)), ((1, 1), 180, (1, 1)),
     ((361, 641), 180, (180, 320))],
)  # fmt: skip
def test_a_picture_is_made_smaller_by_its_shorter_side_and_never_larger(
    size: tuple[int, int], side: int, wanted: tuple[int, int]
) -> None:
    jpeg = encode(Pinned("door", 4, _result(*size)), Rung(side, 90), Style())
    image = cv2.imdecode(np.frombuffer(jpeg.data, np.uint8), cv2.IMREAD_COLOR)
    assert jpeg.number == 4
    assert jpeg.size == image.shape[:2] == wanted
    assert np.abs(image.astype(int) - (30, 60, 200)).max() <= 3


def test_the_frame_itself_is_not_drawn_on() -> None:
    result = _result(48, 64, people=1)
    encode(Pinned("door", 1, result), RUNGS[0], Style())
    assert (result.frame.image == (30, 60, 200)).all()


def test_people_are_drawn_where_they_are_in_the_smaller_picture() -> None:
    result = _result(480, 640, colour=(0, 0, 0))
    person = result_of("door")  # a stick from (12, 6) to (12, 38)
    keypoints = (person.poses.keypoints * 10).astype(np.float32)
    result = replace(person, frame=result.frame, poses=replace(person.poses, keypoints=keypoints))
    jpeg = encode(Pinned("door", 1, result), Rung(240, 95), Style(ids=False))
    lit = np.argwhere(cv2.imdecode(np.frombuffer(jpeg.data, np.uint8), cv2.IMREAD_GRAYSCALE) > 100)  # row, column
    assert lit[:, 1].mean() == pytest.approx(60, abs=1.5)
    assert lit[:, 0].min() == pytest.approx(30, abs=4)
    assert lit[:, 0].max() == pytest.approx(190, abs=4)


def test_a_black_background_shows_nothing_of_the_frame() -> None:
    jpeg = encode(Pinned("door", 1, _result(48, 64)), RUNGS[0], Style(background="black"))
    assert cv2.imdecode(np.frombuffer(jpeg.data, np.uint8), cv2.IMREAD_COLOR).max() == 0


def test_points_are_scaled_about_the_centres_of_pixels() -> None:
    result = scaled(result_of("door"), (24, 32))  # from (48, 64)
    # x: (12 + 0.5) / 2 - 0.5; y: (6 + 0.5) / 2 - 0.5 and (38 + 0.5) / 2 - 0.5
    assert result.poses.keypoints.tolist() == [[[5.75, 2.75], [5.75, 18.75]]]
    assert result.tracks.boxes.tolist() == [[1.75, 1.75, 9.75, 19.75]]


def test_nobody_is_scaled_to_nobody() -> None:
    result = scaled(result_of("door", people=0), (24, 32))
    assert result.tracks.boxes.shape == (0, 4)
    assert result.poses.keypoints.shape == (0, 2, 2)


def test_a_slow_client_gets_smaller_pictures_down_to_the_last_rung() -> None:
    ladder = Ladder(best=3)
    assert [ladder.sent(0.3, at) for at in (1.0, 2.0, 3.0, 4.0)] == [4, 5, 5, 5]


def test_a_client_that_is_fast_for_four_seconds_gets_larger_ones_but_none_better_than_it_asked_for() -> None:
    ladder = Ladder(best=2)
    assert ladder.sent(0.3, 0.0) == 3
    assert ladder.sent(0.3, 0.5) == 4
    assert [ladder.sent(0.01, at) for at in (1.0, 4.9, 5.0, 8.9, 9.0, 20.0)] == [4, 4, 3, 3, 2, 2]


def test_a_client_neither_fast_nor_slow_stays_where_it_is() -> None:
    ladder = Ladder(best=0)
    ladder.sent(0.3, 0.0)
    assert [ladder.sent(took, at) for took, at in ((0.01, 1.0), (0.1, 4.0), (0.01, 5.1), (0.01, 9.0))] == [1, 1, 1, 1]


def test_a_larger_picture_that_was_too_much_is_tried_again_after_twice_the_time() -> None:
    ladder = Ladder(best=0)
    ladder.sent(0.3, 0.0)
    assert [ladder.sent(0.01, at) for at in (0.0, 4.0)] == [1, 0]
    assert ladder.sent(0.3, 4.5) == 1
    assert [ladder.sent(0.01, at) for at in (5.0, 9.0, 12.9, 13.0)] == [1, 1, 1, 0]


def test_a_page_that_shows_less_gets_less_and_more_when_it_shows_more() -> None:
    ladder = Ladder(best=3)
    ladder.want(0)
    assert ladder.rung == 0
    ladder.sent(0.3, 0.0)
    ladder.want(4)
    assert ladder.rung == 4
    ladder.sent(0.3, 0.0)
    ladder.want(0)
    assert ladder.rung == 5  # it was too slow for more


def test_a_picture_is_made_once_for_all_who_watch_in_one_size() -> None:
    async def watch(executor: ThreadPoolExecutor) -> list[Jpeg]:
        board = Board(("door",), str)
        board.attach(asyncio.get_running_loop())
        board.pin("door", _result(48, 64))
        gallery = Gallery(board, Style(), executor)
        return await asyncio.gather(*(gallery.newer("door", 0, lambda rung=rung: rung) for rung in (0, 0, 5, 0)))

    with ThreadPoolExecutor(2) as executor:
        one, two, small, three = asyncio.run(watch(executor))
    assert one is two is three
    assert small is not one


def test_a_newer_result_makes_a_newer_picture() -> None:
    async def watch(executor: ThreadPoolExecutor) -> list[int]:
        board = Board(("door",), str)
        board.attach(asyncio.get_running_loop())
        gallery, numbers = Gallery(board, Style(), executor), [0]
        for _ in range(3):
            board.pin("door", _result(48, 64))
            numbers.append((await gallery.newer("door", numbers[-1], lambda: 0)).number)
        return numbers

    with ThreadPoolExecutor(1) as executor:
        assert asyncio.run(watch(executor)) == [0, 1, 2, 3]
