"""The files that say how the people of a picture stand: the drawn picture, records, and debug files of each person."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Collection, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from engines.results import Image
from stream.folder.annots import cut_box, within
from stream.folder.drawing import PoseStyle, draw_poses, heatmap_grid
from stream.folder.numbering import Numbering, cut_name, owner_of
from stream.folder.people import People
from stream.folder.places import Picture, files_in, is_newer, remove, remove_cuts, write_file, write_jpeg
from stream.folder.poser import Posed, Poser
from stream.frame import Frame
from stream.pipeline import Result
from stream.sinks.record_formats import Jsonl
from tracker.results import Tracks

CELL_DIGITS = 3
"""Decimals of a joint in heat-map cells; the quarter shift needs two."""
_NUMBERED = re.compile(r"inference_\d+")
_ENDINGS = {"annots": ".json", "debug": ".jpg", "inspect": ".jpg"}
"""The folders of files that are called by the number of a cut."""


class PoseFiles:
    """Writes `final/<stem>.jpg`, and within `output`: `poses/<stem>.json` with image pixels and scores, and each
    person's `annots/inference_<i>.json`, `debug/inference_<i>.jpg` (heat maps) and `inspect/inference_<i>.jpg`.

    `<i>` counts cuts in lexical order. Until that order is sure such a file is called by its cut; `number` renames it.
    """

    def __init__(self, final: Path, output: Path, cuts: Path, poser: Poser, style: PoseStyle) -> None:
        self.final = final
        self.output = output
        self._cuts = cuts
        self._poser = poser
        self._style = style
        self._numbering = Numbering()
        self._earlier: dict[str, list[str]] = {}

    def is_finished(self, picture: Picture, *sources: Path) -> bool:
        """Whether all is there, and newer than the picture and its other `sources`."""
        return is_newer(self._records_of(picture), picture.path, *sources) and self._final_of(picture).is_file()

    def clear(self, pictures: Sequence[Picture], finished: Collection[str]) -> None:
        """Make the folders, and remove what an earlier run wrote, but of the pictures called `finished`.

        Those keep their people, whose numbers are given anew.
        """
        folders = [self.output / name for name in _ENDINGS]
        for folder in (self.final, self.output / "poses", *folders):
            folder.mkdir(parents=True, exist_ok=True)
        for picture in pictures:
            remove((self._final_of(picture), self._records_of(picture)))
        self._take_earlier(finished)
        for folder in folders:
            remove(file for file in files_in(folder) if _NUMBERED.fullmatch(file.stem))
            remove_cuts(folder, {picture.stem for picture in pictures})

    def earlier(self, picture: Picture) -> list[str]:
        """The cuts of a finished picture."""
        return self._earlier.get(picture.stem, [])

    def write(self, picture: Picture, image: Image, people: People, posed: Posed) -> list[str]:
        """Write the files of one picture, and return the names of its cuts."""
        keypoints, limbs = posed.poses.keypoints, self._poser.skeleton.limbs
        cuts = [cut_name(picture.stem, place) for place in people.places]
        for row, (cut, box) in enumerate(zip(cuts, cut_box(within(people.boxes, image.shape[:2])), strict=True)):
            self._write_person(cut, image, box.tolist(), row, posed)
        if posed.heatmaps is not None:
            crops = self._poser.crops(image, people.boxes)
            for cut, crop, heatmaps, cells in zip(cuts, crops, posed.heatmaps, posed.cells, strict=True):
                write_jpeg(self.output / "debug" / cut, heatmap_grid(crop, heatmaps, cells))
        drawn = image.copy()
        draw_poses(drawn, keypoints, limbs, self._style)
        write_jpeg(self._final_of(picture), drawn)
        write_file(self._records_of(picture), _record(picture, image, people, posed).encode())
        return cuts

    def number(self, cuts: Sequence[str], following: str | None) -> None:
        """Give the files of cuts their numbers as far as these are sure; see `Numbering.add`."""
        for number, cut in self._numbering.add(cuts, following):
            for name, ending in _ENDINGS.items():
                file = (self.output / name / cut).with_suffix(ending)
                if file.is_file():
                    file.replace(file.with_name(f"inference_{number}{ending}"))

    def _write_person(self, cut: str, image: Image, box: Sequence[int], row: int, posed: Posed) -> None:
        x1, y1, x2, y2 = box
        path = self._cuts / cut
        text = _inference(str(path), (y2 - y1, x2 - x1), posed, row)
        write_file((self.output / "annots" / cut).with_suffix(".json"), text.encode())
        if y2 > y1 and x2 > x1:
            drawn = image[y1:y2, x1:x2].copy()
            keypoints = posed.poses.keypoints[row : row + 1] - np.array((x1, y1), np.float32)
            draw_poses(drawn, keypoints, self._poser.skeleton.limbs, self._style)
            write_jpeg(self.output / "inspect" / cut, drawn)

    def _take_earlier(self, stems: Collection[str]) -> None:
        """Call the numbered files of these pictures by their cuts again, and note those."""
        for file in list(files_in(self.output / "annots")):
            stem = file.stem
            if _NUMBERED.fullmatch(stem):
                stem = _cut_of(file)
                if owner_of(stem) in stems:
                    for name, ending in _ENDINGS.items():
                        numbered = self.output / name / f"{file.stem}{ending}"
                        if numbered.is_file():
                            numbered.replace(numbered.with_name(f"{stem}{ending}"))
            owner = owner_of(stem)
            if owner is not None and owner in stems:
                self._earlier.setdefault(owner, []).append(f"{stem}.jpg")

    def _final_of(self, picture: Picture) -> Path:
        return self.final / f"{picture.stem}.jpg"

    def _records_of(self, picture: Picture) -> Path:
        return self.output / "poses" / f"{picture.stem}.json"


def _cut_of(file: Path) -> str:
    """The cut, without its ending, that a numbered file of joints is of; empty where that cannot be told."""
    try:
        path = json.loads(file.read_text(encoding="utf-8"))["batch_0"]["input"]["path"]
    except (ValueError, KeyError, TypeError):
        return ""
    return Path(path).stem if isinstance(path, str) else ""


def _inference(path: str, size: tuple[int, int], posed: Posed, row: int) -> str:
    """The JSON of one person: joints in heat-map cells, and the cut, of `size` (height, width), that they are of."""
    cells = np.nan_to_num(posed.cells[row]).astype(float)
    joints = {f"joint_{k}": [round(x, CELL_DIGITS), round(y, CELL_DIGITS)] for k, (x, y) in enumerate(cells.tolist())}
    pred = {"width": posed.heatmap_size[1], "height": posed.heatmap_size[0], "joints": joints}
    return json.dumps(
        {"batch_0": {"pred": pred, "input": {"path": path, "width": size[1], "height": size[0]}}},
        indent=2,
        ensure_ascii=False,
    )


def _record(picture: Picture, image: Image, people: People, posed: Posed) -> str:
    """One picture as a line of JSONL records; it is the first frame of its own file, so that none needs the others."""
    frame = Frame(image, 0, 0, Fraction(1), picture.given, time.monotonic_ns(), still=True)
    tracks = Tracks(np.zeros(len(people.boxes), np.int64), people.boxes, people.scores)
    return Jsonl().rows(Result(frame, tracks, posed.poses))
