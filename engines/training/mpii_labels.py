"""MPII's annotations, as the reference code lists them, as something to train on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engines.annotated import read_json
from engines.mpii import person_boxes
from engines.skeletons import MPII16
from engines.training.checking import Faults, checked_picture
from engines.training.labels import LabelledPicture, Labels
from engines.training.pictures import expected_paths


def read_mpii_labels(file: Path, images: Path | None = None) -> tuple[tuple[LabelledPicture, ...], tuple[str, ...]]:
    """The pictures of a list of people (`train.json`: image, center, scale, joints, joints_vis) with their people (16
    joints), and what was found wrong, a line each.

    Boxes are the reference's squares about the centres and may reach out of the picture. MPII does not label everybody:
    its pictures teach no detector. Raises FileNotFoundError where the file or all of its pictures are not there,
    ValueError where it is no such file.
    """
    entries = read_json(file)
    count = len(MPII16.names)
    try:
        names = [str(entry["image"]) for entry in entries]
        if not names:
            raise ValueError("nobody is in it")
        centers = np.array([entry["center"] for entry in entries], np.float64).reshape(-1, 2)
        scales = np.array([entry["scale"] for entry in entries], np.float64)
        joints = np.array([entry["joints"] for entry in entries], np.float64).reshape(len(names), count, 2)
        visible = np.array([entry["joints_vis"] for entry in entries], np.bool_).reshape(len(names), count)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{file}: no MPII people ({type(error).__name__}: {error}); name one like the reference code's train.json"
        ) from error
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        rows.setdefault(name, []).append(row)
    # MPII counts pixels from 1.
    points, boxes = (joints - 1).astype(np.float32), person_boxes(centers, scales)
    faults, pictures = Faults(), []
    for path, own in zip(expected_paths(file, list(rows), images), rows.values(), strict=True):
        labels = Labels(boxes[own], points[own], visible[own], np.zeros(len(own), np.bool_))
        pictures.append(checked_picture(path, labels, False, None, faults))
    return tuple(picture for picture in pictures if picture is not None), faults.lines()
