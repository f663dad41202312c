"""MPII's annotations, as the reference code lists them, as something to train on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from engines.mpii import read_people
from engines.training.checking import Faults, checked_picture
from engines.training.labels import LabelledPicture, Labels
from engines.training.pictures import Folders, expected_paths


def read_mpii_labels(file: Path, images: Folders = None) -> tuple[tuple[LabelledPicture, ...], tuple[str, ...]]:
    """The pictures of a list of people (`train.json`: image, center, scale, joints, joints_vis) with their people (16
    joints), and what was found wrong, a line each.

    Boxes are the reference's squares about the centres and may reach out of the picture: they place crops, but outline
    nobody. Nor does MPII label everybody: its pictures teach no detector. Raises FileNotFoundError where the file or
    all of its pictures are not there, ValueError where it is no such file.
    """
    people, faults, pictures = read_people(file), Faults(), []
    points = people.joints.astype(np.float32)
    for path, rows in zip(expected_paths(file, list(people.rows), images), people.rows.values(), strict=True):
        own = list(rows)
        labels = Labels(people.boxes[own], points[own], people.visible[own], np.zeros(len(own), np.bool_))
        pictures.append(checked_picture(path, labels, False, None, faults))
    return tuple(replace(picture, has_boxes=False) for picture in pictures if picture is not None), faults.lines()
