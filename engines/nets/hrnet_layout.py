"""What an HRNet is made of: from a width, from an experiment file's MODEL block, or from a checkpoint's shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count, takewhile
from typing import TYPE_CHECKING, Literal, TypeGuard

from engines.backends.base import EngineError

if TYPE_CHECKING:
    from torch import Tensor

BlockKind = Literal["basic", "bottleneck"]
Size = tuple[int, int]
"""(height, width) in pixels."""

EXPANSION: dict[BlockKind, int] = {"basic": 1, "bottleneck": 4}
"""Channels that a block gives for each that it computes with."""
STEM = 64
"""Channels of the stem's convolutions; the reference code has no other."""
STEM_BLOCKS = 4
STRIDE = 4
"""Pixels per heat-map cell; each further branch halves once more."""

SLIM_WIDTH = 16
"""Channels of the finest branch of a slim HRNet."""

_BLOCK_NAMES: dict[str, BlockKind] = {"BASIC": "basic", "BOTTLENECK": "bottleneck"}
_STAGES = ("STAGE2", "STAGE3", "STAGE4")
_OPENMMLAB = ("backbone.", "keypoint_head.", "head.")


@dataclass(frozen=True, slots=True)
class StageLayout:
    """`modules` in a row, each of one branch per resolution: branch i has blocks[i] blocks of channels[i]."""

    modules: int
    blocks: tuple[int, ...]
    channels: tuple[int, ...]
    block: BlockKind = "basic"

    def __post_init__(self) -> None:
        counts = (self.modules, len(self.channels), *self.blocks, *self.channels)
        if len(self.blocks) != len(self.channels) or min(counts) < 1:
            raise ValueError(f"a stage needs one count of blocks and channels per branch, all above 0, got {self}")

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels that each branch takes and gives."""
        return tuple(channels * EXPANSION[self.block] for channels in self.channels)


@dataclass(frozen=True, slots=True)
class HrnetLayout:
    """The stages after the stem, the joints, and the input (height, width), None where nobody said.

    Heat maps are a quarter of the input. Raises ValueError where a stage has fewer branches than the one before, or
    the coarsest branch of an input would not be whole.
    """

    stages: tuple[StageLayout, ...]
    joints: int
    size: Size | None = None
    final_kernel: int = 1
    stem: int = STEM
    stem_blocks: int = STEM_BLOCKS

    def __post_init__(self) -> None:
        branches = [1, *(len(stage.channels) for stage in self.stages)]
        if len(branches) == 1 or branches != sorted(branches):
            raise ValueError(f"an HRNet needs stages of ever more branches, got {branches[1:]}")
        if min(self.joints, self.stem, self.stem_blocks) < 1 or self.final_kernel not in (1, 3):
            raise ValueError(f"an HRNet needs joints, a stem and a final kernel of 1 or 3, got {self}")
        step = STRIDE * 2 ** (branches[-1] - 1)
        if self.size is not None and any(side < 1 or side % step for side in self.size):
            raise ValueError(f"the input must be a multiple of {step} high and wide, got {self.size}")


def layout_w(width: int, joints: int, size: Size | None = None) -> HrnetLayout:
    """The published HRNet-W`width`: W32 and W48, and slimmer or wider ones of the same plan."""
    stages = (
        StageLayout(modules, (4,) * branches, tuple(width << i for i in range(branches)))
        for modules, branches in ((1, 2), (4, 3), (3, 4))
    )
    return HrnetLayout(tuple(stages), joints, size)


def slim_layout(joints: int, size: Size | None = None, width: int = SLIM_WIDTH) -> HrnetLayout:
    """A small HRNet for a CPU: W32's plan with `width` channels, two blocks a branch and fewer modules; 0.69 GMAC."""
    stages = (
        StageLayout(modules, (2,) * branches, tuple(width << i for i in range(branches)))
        for modules, branches in ((1, 2), (2, 3), (2, 4))
    )
    return HrnetLayout(tuple(stages), joints, size, stem=2 * width, stem_blocks=1)


def layout_of_experiment(model: Mapping[str, object]) -> HrnetLayout:
    """The layout that the MODEL block of an HRNet experiment file describes.

    Raises ValueError that names the key whose value is missing or wrong.
    """
    name = model.get("NAME", "pose_hrnet")
    if name != "pose_hrnet":
        raise ValueError(f"MODEL.NAME must be pose_hrnet, got {name!r}")
    extra = _block(model, "EXTRA", "MODEL")
    width, height = _whole_numbers(model, "IMAGE_SIZE", "MODEL", 2)
    cells = [width // STRIDE, height // STRIDE]
    if list(_whole_numbers(model, "HEATMAP_SIZE", "MODEL", 2, cells)) != cells:
        raise ValueError(f"MODEL.HEATMAP_SIZE must be a quarter of IMAGE_SIZE, {cells}, got {model['HEATMAP_SIZE']!r}")
    kernel = _whole_number(extra, "FINAL_CONV_KERNEL", "MODEL.EXTRA", 1)
    if kernel not in (1, 3):
        raise ValueError(f"MODEL.EXTRA.FINAL_CONV_KERNEL must be 1 or 3, got {kernel}")
    stages = tuple(_stage_of_experiment(extra, key) for key in _STAGES)
    joints = _whole_number(model, "NUM_JOINTS", "MODEL")
    try:
        return HrnetLayout(stages, joints, (height, width), kernel)
    except ValueError as error:
        raise ValueError(f"MODEL: {error}") from error


def layout_of_tensors(tensors: Mapping[str, Tensor], size: Size | None = None) -> HrnetLayout:
    """The layout of a checkpoint's tensors, told from their names and shapes; the input size is not among them.

    Takes the names of the reference code and of OpenMMLab. Raises EngineError where they are no HRNet's.
    """
    named = reference_names(tensors)
    conv1, final = _weight(named, "conv1.weight"), _weight(named, "final_layer.weight")
    _weight(named, "stage2.0.branches.0.0.conv1.weight")
    stages = range(2, 2 + _count(named, "stage{}.0.branches.0.0.conv1.weight", 2))
    try:
        return HrnetLayout(
            stages=tuple(_stage_of_tensors(named, f"stage{n}") for n in stages),
            joints=final.shape[0],
            size=size,
            final_kernel=final.shape[-1],
            stem=conv1.shape[0],
            stem_blocks=_count(named, "layer1.{}.conv1.weight"),
        )
    except ValueError as error:
        raise EngineError(f"the checkpoint's tensors make no HRNet: {error}") from error


def reference_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the reference code's names; OpenMMLab puts the part of the model before them.

    Its older heads also hold the final layer as the first of a list.
    """
    names = {}
    for key in tensors:
        prefix = next((prefix for prefix in _OPENMMLAB if key.startswith(prefix)), "")
        names[key] = key.removeprefix(prefix).replace("final_layer.0.", "final_layer.")
    if len(set(names.values())) < len(names):
        raise EngineError(f"the checkpoint holds tensors twice, with and without {', '.join(_OPENMMLAB)}")
    return {names[key]: tensor for key, tensor in tensors.items()}


def _stage_of_tensors(named: Mapping[str, Tensor], stage: str) -> StageLayout:
    branches = range(_count(named, stage + ".0.branches.{}.0.conv1.weight"))
    return StageLayout(
        modules=_count(named, stage + ".{}.branches.0.0.conv1.weight"),
        blocks=tuple(_count(named, f"{stage}.0.branches.{b}." + "{}.conv1.weight") for b in branches),
        channels=tuple(_weight(named, f"{stage}.0.branches.{b}.0.conv1.weight").shape[0] for b in branches),
        block="bottleneck" if f"{stage}.0.branches.0.0.conv3.weight" in named else "basic",
    )


def _count(named: Mapping[str, Tensor], form: str, first: int = 0) -> int:
    """How many whole numbers from `first` on, none left out, make `form` the name of a tensor."""
    return sum(1 for _ in takewhile(lambda number: form.format(number) in named, count(first)))


def _weight(named: Mapping[str, Tensor], key: str) -> Tensor:
    """The weight of a convolution, (out, in, kernel, kernel)."""
    if key not in named or named[key].ndim != 4:
        got = f"{key} {tuple(named[key].shape)}" if key in named else "none; it begins with " + ", ".join([*named][:3])
        raise EngineError(f"no HRNet for poses: wanted a convolution {key}, got {got}")
    return named[key]


def _stage_of_experiment(extra: Mapping[str, object], key: str) -> StageLayout:
    where = f"MODEL.EXTRA.{key}"
    stage = _block(extra, key, "MODEL.EXTRA")
    branches = _whole_number(stage, "NUM_BRANCHES", where)
    block = stage.get("BLOCK")
    if not isinstance(block, str) or block not in _BLOCK_NAMES:
        raise ValueError(f"{where}.BLOCK must be {' or '.join(_BLOCK_NAMES)}, got {block!r}")
    if stage.get("FUSE_METHOD", "SUM") != "SUM":
        raise ValueError(f"{where}.FUSE_METHOD must be SUM, got {stage['FUSE_METHOD']!r}")
    return StageLayout(
        modules=_whole_number(stage, "NUM_MODULES", where),
        blocks=_whole_numbers(stage, "NUM_BLOCKS", where, branches),
        channels=_whole_numbers(stage, "NUM_CHANNELS", where, branches),
        block=_BLOCK_NAMES[block],
    )


def _block(parent: Mapping[str, object], key: str, where: str) -> Mapping[str, object]:
    value = parent.get(key)
    if not isinstance(value, Mapping):
        raise ValueError(f"{where}.{key} must be a block of keys, got {value!r}")
    return value


def _whole_number(block: Mapping[str, object], key: str, where: str, default: int | None = None) -> int:
    value = block.get(key, default)
    if not _is_whole(value):
        raise ValueError(f"{where}.{key} must be a whole number above 0, got {value!r}")
    return value


def _whole_numbers(
    block: Mapping[str, object], key: str, where: str, wanted: int, default: list[int] | None = None
) -> tuple[int, ...]:
    values = block.get(key, default)
    if not isinstance(values, list | tuple) or len(values) != wanted or not all(map(_is_whole, values)):
        raise ValueError(f"{where}.{key} must be {wanted} whole numbers above 0, got {values!r}")
    return tuple(values)


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
