"""Scores as tables for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table
from rich.text import Text

from engines.coco import CocoTruth
from engines.mpii import MpiiScores, MpiiTruth
from stream.mot import MotRow
from stream.scoring import CocoReport, CocoRow

_SCORES = {"AP": "ap", "AP50": "ap50", "AP75": "ap75", "AP M": "ap_medium", "AP L": "ap_large", "AR": "ar"}
"""The columns of COCO's table and the fields of CocoScores."""


def coco_table(truth: CocoTruth, rows: Sequence[CocoRow]) -> Table:
    """A row for each score, under what was scored on."""
    table = _table(f"{truth.file.name}: {len(truth.pictures)} pictures, {truth.people} people with key points")
    for name in ("scored", "boxes used", "how"):
        table.add_column(name, overflow="fold")
    for name in ("count", *_SCORES):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        scores = [_number(getattr(row.scores, field), 4) for field in _SCORES.values()]
        # Names of files and models are text, whatever brackets they have.
        table.add_row(*map(Text, _words(row)), str(row.count), *scores)
    return table


def coco_json(truth: CocoTruth, report: CocoReport) -> dict[str, Any]:
    """All that the table says, and by which models."""
    return {
        "annotations": str(truth.file),
        "pictures": len(truth.pictures),
        "people": truth.people,
        "models": list(report.notes),
        "rows": [_json(row) for row in report.rows],
    }


def mpii_table(truth: MpiiTruth, scores: MpiiScores, *, official: bool) -> Table:
    """One row, as MPII's tables have it."""
    heads = "head boxes of gt_valid.mat" if official else "heads by head top and upper neck"
    table = _table(
        f"PCKh@0.5 of {len(truth.joints)} people in {len(truth.pictures)} pictures, annotated centre and scale,"
        f" {heads}; mean of {len(scores.joints)} joints"
    )
    for name in (*scores.groups, "Mean"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_row(*(_number(value, 2) for value in (*scores.groups.values(), scores.mean)))
    return table


def mot_table(rows: Sequence[MotRow]) -> Table:
    """A row for each sequence and source of boxes."""
    table = _table("identities, at an overlap of 0.5")
    for name in ("sequence", "boxes"):
        table.add_column(name, overflow="fold")
    for name in ("MOTA", "IDF1", "HOTA", "switches", "fragments", "missed", "false"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        counts = map(str, (row.switches, row.fragments, row.missed, row.false))
        shares = (_number(value, 3) for value in (row.mota, row.idf1, row.hota))
        table.add_row(*map(Text, (row.sequence, row.boxes)), *shares, *counts)
    return table


def _table(title: str) -> Table:
    return Table(title=Text(title), box=None, padding=(0, 1, 0, 0), header_style="bold", title_justify="left")


def _words(row: CocoRow) -> tuple[str, str, str]:
    """What a row is of: people's boxes or poses, in which boxes, made how."""
    if row.variation is None:
        return "boxes", row.boxes, ""
    pose, rules = row.variation.pose, row.variation.rules
    how = [pose.decode, f"flip test {pose.flip_shift:g}" if pose.flip_test else "no flip test"]
    how += [] if rules.oks_nms is None else [f"OKS-NMS {rules.oks_nms:g}"]
    return "poses", row.boxes, ", ".join([*how, "rescored" if rules.rescore else "not rescored"])


def _json(row: CocoRow) -> dict[str, Any]:
    how: dict[str, Any] = {}
    if row.variation is not None:
        pose, rules = row.variation.pose, row.variation.rules
        how = {"decode": pose.decode, "flip_test": pose.flip_test, "flip_shift": pose.flip_shift, **asdict(rules)}
    scored = "boxes" if row.variation is None else "poses"
    return {"scored": scored, "boxes": row.boxes, **how, "count": row.count, **asdict(row.scores)}


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
