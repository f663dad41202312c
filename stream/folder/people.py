"""Who is in one picture, and the files that say so: boxes, cuts and the inspected picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.results import Detections, Image
from stream.folder.annots import annots_text, cut_box, read_annots, within
from stream.folder.drawing import draw_boxes
from stream.folder.numbering import cut_name
from stream.folder.places import Picture, files_in, is_newer, remove, remove_cuts, write_file, write_jpeg

_SMALLEST = 1.0
"""Pixels; of a narrower or lower box nothing could be cut out."""


@dataclass(frozen=True, slots=True, eq=False)
class People:
    """The people in a picture: `boxes` (M, 4) xyxy float32, `scores` (M,) float32, and their places in its file.

    `places` (M,) says which box of the file, and so which cut, each one is; `left_out` boxes of the file are not among
    them. Scores are 1 where nobody kept them.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    places: tuple[int, ...]
    left_out: int = 0


class PeopleFiles:
    """Writes `annots/<stem>.json`, `cuts/<stem>-<i>.jpg` and `inspect/<stem>.jpg`, the first of them last."""

    def __init__(self, annots: Path, cuts: Path, inspect: Path) -> None:
        self.annots = annots
        self.cuts = cuts
        self.inspect = inspect

    def is_finished(self, picture: Picture) -> bool:
        """Whether all is there, and newer than the picture."""
        return is_newer(self.path(picture), picture.path) and self._inspect_of(picture).is_file()

    def clear(self, pictures: Sequence[Picture]) -> None:
        """Make the folders, and remove what an earlier run wrote of these pictures."""
        for folder in (self.annots, self.cuts, self.inspect):
            folder.mkdir(parents=True, exist_ok=True)
        for picture in pictures:
            remove((self.path(picture), self._inspect_of(picture)))
        remove_cuts(self.cuts, {picture.stem for picture in pictures})

    def people(self, found: Detections, image: Image) -> People:
        """Those detected who can be cut out, clamped to the picture."""
        boxes = within(found.boxes, image.shape[:2])
        whole = ((boxes[:, 2:] - boxes[:, :2]) >= _SMALLEST).all(axis=1)
        return People(boxes[whole], found.scores[whole], tuple(range(int(whole.sum()))))

    def write(self, picture: Picture, image: Image, people: People) -> None:
        """Write the files of one picture."""
        for place, (x1, y1, x2, y2) in zip(people.places, cut_box(people.boxes).tolist(), strict=True):
            write_jpeg(self.cuts / cut_name(picture.stem, place), image[y1:y2, x1:x2])
        drawn = image.copy()
        draw_boxes(drawn, people.boxes)
        write_jpeg(self._inspect_of(picture), drawn)
        write_file(self.path(picture), annots_text(picture.given, people.boxes).encode())

    def path(self, picture: Picture) -> Path:
        """Where the people of a picture are written down."""
        return self.annots / f"{picture.stem}.json"

    def _inspect_of(self, picture: Picture) -> Path:
        return self.inspect / f"{picture.stem}.jpg"


class KnownPeople:
    """The people that an earlier run, or the user, wrote down.

    A person whose cut was deleted is left out, as the older tool went by the cuts; where the folder has no cuts at all,
    every box counts.
    """

    def __init__(self, annots: Path, cuts: Path) -> None:
        self.annots = annots
        self.cuts = cuts
        self._has_cuts = any(file.suffix == ".jpg" for file in files_in(cuts))

    def of(self, picture: Picture) -> People:
        """The people of a picture; OSError or ValueError where its file is missing or wrong."""
        path = self.path(picture)
        try:
            boxes = read_annots(path)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{path} is missing; run the step detect first") from error
        places = [i for i in range(len(boxes)) if not self._has_cuts or self._cut(picture, i).is_file()]
        return People(boxes[places], np.ones(len(places), np.float32), tuple(places), len(boxes) - len(places))

    def path(self, picture: Picture) -> Path:
        """Where the people of a picture are written down."""
        return self.annots / f"{picture.stem}.json"

    def strangers(self, pictures: Sequence[Picture]) -> list[str]:
        """Names of files of boxes without a picture, left by an earlier run."""
        stems = {picture.stem for picture in pictures}
        return sorted(f.name for f in files_in(self.annots) if f.suffix == ".json" and f.stem not in stems)

    def _cut(self, picture: Picture, place: int) -> Path:
        return self.cuts / cut_name(picture.stem, place)
