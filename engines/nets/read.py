"""Any checkpoint that we know the network of, as that network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from engines.backends.base import EngineError
from engines.nets.checkpoint import read_tensors
from engines.nets.hrnet import build_hrnet
from engines.nets.hrnet_layout import layout_of_experiment
from engines.nets.yolov3 import build_yolov3
from engines.nets.yolox import build_yolox


@dataclass(frozen=True, slots=True)
class Network:
    """A network in eval mode, the family of its output, and the input (height, width) it was made for.

    `size` is None where nobody said; `joints` are those of a pose network.
    """

    module: nn.Module
    family: Literal["heatmap", "yolox", "yolov3"]
    size: tuple[int, int] | None
    joints: int | None = None


def read_network(path: Path, definition: Path | Mapping[str, object] | None) -> Network:
    """The network in a checkpoint, told by the names of its tensors; detectors are cut to the person.

    `definition` is darknet's .cfg, or the MODEL block of an HRNet's experiment, None where the tensors say enough.
    Raises OSError where a file cannot be read, EngineError where it holds none of these networks or is damaged, and
    ValueError for an experiment that is wrong.
    """
    if isinstance(definition, Path):
        darknet = build_yolov3(definition, path)
        return Network(darknet, "yolov3", darknet.size)
    tensors = read_tensors(path)
    try:
        if any("stage2." in name for name in tensors):
            return _hrnet(tensors, definition)
        if any("cls_preds." in name for name in tensors):
            yolox = build_yolox(tensors)
            return Network(yolox, "yolox", yolox.size)
    except EngineError as error:
        raise EngineError(f"{path}: {error}") from error
    if any(name.startswith("module_list.") for name in tensors):
        raise EngineError(f"{path}: a YOLOv3, which needs its .cfg; name it too")
    names = ", ".join(list(tensors)[:3])
    raise EngineError(f"{path}: no HRNet, YOLOX or YOLOv3, its tensors are {names}, …; export it by its own code")


def _hrnet(tensors: Mapping[str, Tensor], experiment: Mapping[str, object] | None) -> Network:
    layout = None if experiment is None else layout_of_experiment(experiment)
    module = build_hrnet(tensors, layout)
    return Network(module, "heatmap", module.layout.size, module.layout.joints)
