from __future__ import annotations

import random

import pytest

from stream.folder.numbering import Numbering, cut_name, first_cut, owner_of


def numbers(people: dict[str, int]) -> dict[str, int]:
    """What every cut is numbered when pictures come as they do in a run."""
    stems, numbering, found = sorted(people, key=first_cut), Numbering(), {}
    for stem, following in zip(stems, [*stems[1:], None], strict=False):
        cuts = [cut_name(stem, i) for i in range(people[stem])]
        found |= {cut: n for n, cut in numbering.add(cuts, first_cut(following) if following else None)}
    return found


def lexical(people: dict[str, int]) -> dict[str, int]:
    return {cut: n for n, cut in enumerate(sorted(cut_name(s, i) for s, count in people.items() for i in range(count)))}


@pytest.mark.parametrize(
    "people",
    [
        {},
        {"a": 0},
        {"a": 3, "b": 0, "c": 1},
        {"a": 12},
        {"photo": 3, "photo-1": 2, "photo-10": 1, "photo-2": 1, "photos": 1},
        {"a": 2, "a.b": 2, "a-b": 2, "A": 1},
    ],
)
def test_cuts_are_numbered_in_lexical_order(people: dict[str, int]) -> None:
    assert numbers(people) == lexical(people)


def test_names_that_lie_between_each_other_are_numbered_in_lexical_order() -> None:
    draw = random.Random(0)
    for _ in range(200):
        stems = {"".join(draw.choices("a-1.", k=draw.randint(1, 5))) for _ in range(8)}
        people = {stem: draw.randint(0, 12) for stem in stems}
        assert numbers(people) == lexical(people)


def test_a_number_is_given_as_soon_as_it_is_sure() -> None:
    numbering = Numbering()
    assert numbering.add(["a-0.jpg", "a-1.jpg"], "b-0.jpg") == [(0, "a-0.jpg"), (1, "a-1.jpg")]
    assert numbering.add(["b-0.jpg", "b-1.jpg"], "b-1-0.jpg") == [(2, "b-0.jpg")]
    assert numbering.add([], None) == [(3, "b-1.jpg")]


@pytest.mark.parametrize(
    ("cut", "stem"), [("a-0", "a"), ("a-1-20", "a-1"), ("a", None), ("a-", None), ("-3", None), ("inference_3", None)]
)
def test_a_cuts_name_tells_its_picture(cut: str, stem: str | None) -> None:
    assert owner_of(cut) == stem
