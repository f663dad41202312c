"""The lesson of poses: an HRNet learns people's joints from packed crops."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from engines.crop import PADDING
from engines.heatmap import cells_to_crop, decode_heatmaps, mirrored_order
from engines.oks import oks
from engines.results import Skeleton
from engines.training.contact_sheet import contact_sheet
from engines.training.looks import PLAIN, LookOptions, change_looks
from engines.training.placement import STILL, PlacementOptions, Placements, Size, place
from engines.training.pose_batch import KnownPeople, PoseBatch, normalized, wanted_maps
from engines.training.pose_pack import FULL, PosePack
from engines.training.sampling import cut_crops
from engines.training.targets import heatmap_loss

LOWER = ("hip", "knee", "ankle", "toe", "heel", "pelvis")
"""What the names of joints of the lower body hold."""
HARD = {"elbow": 1.2, "knee": 1.2, "wrist": 1.5, "ankle": 1.5}
"""Weights of joints that move most, as in the reference code."""
VALIDATED = 32
"""Crops in one call while marking."""
SHEET = 32
"""People on a contact sheet."""
BOX_AREA = 0.53
"""Share of its box that a person covers, for the marks (COCO's people, about)."""
FOUND = 0.1
"""Of the height of the box: as near is a joint found (PCK@0.1)."""


@dataclass(frozen=True, slots=True)
class Stage:
    """So many steps on crops of `size` (height, width), `batch` a step."""

    size: Size
    steps: int
    batch: int

    def __post_init__(self) -> None:
        if min(self.steps, self.batch) < 1:
            raise ValueError(f"a stage's steps and batch must be 1 or more, got {self.steps} and {self.batch}")


AUGMENTATIONS: dict[str, tuple[PlacementOptions, LookOptions]] = {
    "usual": (PlacementOptions(), LookOptions()),
    "light": (
        PlacementOptions(turn_deg=20, turn_share=0.5, scale=0.22, half_body=0.12),
        LookOptions(blur=0.1, cut_out=0.12, gray=0.02),
    ),
    "none": (STILL, PLAIN),
}
"""How much crops are varied: as for the hundreds of epochs of the reference code, for a few, or not at all."""


@dataclass(frozen=True, slots=True)
class PoseTraining:
    """How poses are learnt; the last stage's size is the network's."""

    stages: tuple[Stage, ...]
    temperature: float = 12.0
    square: float = 0.1
    seed: int = 0
    placement: PlacementOptions = field(default_factory=PlacementOptions)
    looks: LookOptions = field(default_factory=LookOptions)

    @property
    def steps(self) -> int:
        """Of all stages."""
        return sum(stage.steps for stage in self.stages)

    def samples(self, steps: int) -> int:
        """How many people are seen in the first so many steps."""
        total = 0
        for stage in self.stages:
            total += min(steps, stage.steps) * stage.batch
            steps -= min(steps, stage.steps)
        return total


class PoseLesson:
    """Teaches `network` the people `learnt` (rows of the pack), drawn as often as `shares` (n,) say; marks by `held`.

    The modules `frozen` do not learn. Marks of one size of crops do not compare with those of another.
    """

    compares = False

    def __init__(
        self,
        network: nn.Module,
        pack: PosePack,
        skeleton: Skeleton,
        options: PoseTraining,
        learnt: NDArray[np.int64],
        held: NDArray[np.int64],
        shares: NDArray[np.float64],
        frozen: Sequence[nn.Module] = (),
        device: str = "cpu",
    ) -> None:
        self.network = network
        self._frozen = frozen
        self._pack, self._skeleton, self._options = pack, skeleton, options
        self._learnt, self._held = learnt, held
        self._shares = torch.from_numpy(shares)
        self._device = torch.device(device)
        self._ends = np.cumsum([stage.steps for stage in options.stages])
        names = skeleton.names
        self._lower = torch.tensor([any(word in name for word in LOWER) for name in names])
        hard = torch.tensor([next((w for part, w in HARD.items() if part in name), 1.0) for name in names])
        self._hard = hard.to(self._device)
        self._mirror = torch.from_numpy(mirrored_order(len(names), skeleton.pairs)).to(self._device)

    def grade(self, step: int) -> int:
        """The stage of a step."""
        return int(np.searchsorted(self._ends, step, side="right").clip(max=len(self._ends) - 1))

    def loss(self, network: nn.Module, step: int) -> tuple[Tensor, dict[str, float]]:
        """The loss of the batch of a step."""
        stage, options = self._options.stages[self.grade(step)], self._options
        generator = Generator().manual_seed(options.seed * 1_000_003 + step)
        rows = self._learnt[torch.multinomial(self._shares, stage.batch, True, generator=generator).numpy()]
        with torch.autocast(self._device.type, enabled=False):  # positions need all their digits
            batch = self._batch(np.sort(rows), stage.size, options.placement, generator)
        for module in self._frozen:
            module.eval()  # its statistics stay as they are, too
        given = network(batch.crops.contiguous(memory_format=torch.channels_last))
        with torch.autocast(self._device.type, enabled=False):
            loss = heatmap_loss(given.float(), batch.maps, batch.weights, options.temperature, options.square)
        return loss, {}

    def crops(self, count: int) -> Iterator[Tensor]:
        """So many batches of crops, as the first steps have them, to calibrate a network by."""
        stage, options = self._options.stages[0], self._options
        generator = Generator().manual_seed(options.seed)
        for _ in range(count):
            rows = self._learnt[torch.multinomial(self._shares, stage.batch, True, generator=generator).numpy()]
            yield self._batch(np.sort(rows), stage.size, options.placement, generator).crops

    def validate(self, network: nn.Module, step: int) -> dict[str, float]:
        """Mean OKS with what was labelled and with the teacher, and the share of labelled joints found (PCK@0.1)."""
        size = self._options.stages[self.grade(step)].size
        likeness: list[NDArray[np.float64]] = []
        right: list[NDArray[np.bool_]] = []
        for start in range(0, len(self._held), VALIDATED):
            rows = self._held[start : start + VALIDATED]
            found, _ = self._poses(network, rows, size)
            truth, known = self._truth(rows, size)
            high, wide = size[0] / PADDING, size[1] / PADDING
            area = np.full((1, 1), BOX_AREA * high * wide)
            likeness += [
                oks(other[None], own[None], area, self._skeleton.sigmas, seen[None])[0]
                for own, other, seen in zip(found, truth, known, strict=True)
            ]
            right.append((np.linalg.norm(found - truth, axis=-1) < FOUND * high)[self._pack.labelled[rows]])
        hits = np.concatenate(right)
        marks = np.concatenate(likeness)
        people = self._pack.labelled[self._held].any(axis=1)
        return {
            "score": float(marks.mean()),
            "oks_labelled": float(marks[people].mean()) if people.any() else 0.0,
            "pck_labelled": float(hits.mean()) if len(hits) else 0.0,
        }

    def sheet(self, network: nn.Module, step: int) -> NDArray[np.uint8] | None:
        """Some of the held people with their poses, the truth thin and white."""
        rows, size = self._held[:SHEET], self._options.stages[self.grade(step)].size
        points, scores = self._poses(network, rows, size)
        crops = cut_crops(torch.from_numpy(self._pack.crops[rows]), self._still(len(rows), size))
        pictures = (crops.flip(1).permute(0, 2, 3, 1) * FULL).round().to(torch.uint8).numpy()
        return contact_sheet(pictures, points, scores, self._skeleton, truth=self._truth(rows, size))

    def _batch(
        self, rows: NDArray[np.int64], size: Size, placement: PlacementOptions, generator: Generator
    ) -> PoseBatch:
        """What is learnt from some people in one step, on the lesson's device; chance and places are the CPU's."""
        pack, device = self._pack, self._device
        packed = (pack.crops.shape[1], pack.crops.shape[2])
        people = KnownPeople.of(pack, rows)
        seen, known = people.seen(pack.size)
        placements = place(placement, packed, pack.size, size, seen, known, self._lower, generator).to(device)
        crops = cut_crops(torch.from_numpy(pack.crops[rows]).to(device), placements)
        crops = change_looks(crops, self._options.looks, generator)
        wanted, weights = wanted_maps(people.to(device), placements, pack.size)
        own = torch.arange(len(self._mirror), device=device)
        order = torch.where(placements.mirrored[:, None], self._mirror, own)
        each = torch.arange(len(rows), device=device)[:, None]
        return PoseBatch(normalized(crops), wanted[each, order], weights[each, order] * self._hard)

    def _truth(self, rows: NDArray[np.int64], size: Size) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Joints (B, K, 2) in pixels of the still crop of `size`, and which of them are known."""
        seen, known = KnownPeople.of(self._pack, rows).seen(self._pack.size)
        at = self._still(len(rows), size).to_crops(seen)
        return at.numpy(), known.numpy()

    def _still(self, count: int, size: Size) -> Placements:
        """Where a running network's crops lie, on the CPU."""
        packed, joints = (self._pack.crops.shape[1], self._pack.crops.shape[2]), len(self._mirror)
        nothing = torch.zeros(count, joints, 2)
        return place(STILL, packed, self._pack.size, size, nothing, nothing[..., 0] > 0, self._lower, Generator())

    def _poses(
        self, network: nn.Module, rows: NDArray[np.int64], size: Size
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Joints (B, K, 2) in pixels of the still crop of `size` and their scores (B, K), as the network has them."""
        packed, placements = torch.from_numpy(self._pack.crops[rows]), self._still(len(rows), size)
        crops = normalized(cut_crops(packed.to(self._device), placements.to(self._device)))
        maps = network(crops.contiguous(memory_format=torch.channels_last)).cpu().numpy()
        points, scores = decode_heatmaps(maps)
        return cells_to_crop(points, (maps.shape[2], maps.shape[3]), size), scores


def stages_of(text: Sequence[str]) -> tuple[Stage, ...]:
    """Stages from words such as 128x96:6000:64, size (height x width), steps and batch; ValueError for others."""
    stages = []
    for word in text:
        found = re.fullmatch(r"(\d+)x(\d+):(\d+):(\d+)", word)
        if found is None:
            raise ValueError(f"a stage must be HEIGHTxWIDTH:STEPS:BATCH, as 128x96:6000:64, got {word!r}")
        height, width, steps, batch = map(int, found.groups())
        stages.append(Stage((height, width), steps, batch))
    return tuple(stages)
