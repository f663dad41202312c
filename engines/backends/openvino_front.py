"""The first operations of an OpenVINO model kept in fp32, where the rest is computed in 16 bits."""

from __future__ import annotations

import math
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any, Final

from engines.backends.base import EngineError

MOST: Final = 0.25
"""Of the operations that may stay in fp32: with more of them nothing is gained."""

_FUSED: Final = frozenset(
    ("Add", "Subtract", "Multiply", "Divide", "Maximum", "Minimum", "Power", "Clamp", "FakeQuantize", "Relu", "PRelu")
) | {"Elu", "Gelu", "Mish", "Sigmoid", "Swish", "HSwish", "HSigmoid", "SoftPlus", "Tanh"}
"""Operations that OpenVINO computes with the one before: all of such a group must be in one precision."""
_MARK: Final = {"name": "DisablePrecisionConversion", "version": "0", "value": "dynamic:dynamic"}
"""What keeps OpenVINO from lowering the precision of an operation, as its own passes say it and its files hold it."""


def keep_front(ov: Any, model: Any, share: float) -> Any:
    """A copy of `model`, of fixed shapes, that computes about the first `share` of its operations in fp32.

    These see the pixels, and small networks for people lose most there: 4 % of TinyPose in fp32 halve the error of its
    heat maps, and make it 3 % slower. They end where nothing is torn apart that OpenVINO
    computes as one; EngineError where that is nowhere in the first MOST. `ov` is the module openvino.
    """
    names = _front(model, share)
    with tempfile.TemporaryDirectory(prefix="posestream-", ignore_cleanup_errors=True) as folder:
        xml = Path(folder, "model.xml")
        ov.serialize(model, str(xml))
        tree = ElementTree.parse(xml)
        for layer in tree.iterfind("layers/layer"):
            if layer.get("name") in names:
                marks = layer.find("rt_info")
                ElementTree.SubElement(
                    ElementTree.SubElement(layer, "rt_info") if marks is None else marks, "attribute", _MARK
                )
        tree.write(xml)
        return ov.Core().read_model(xml)  # maps the weights, which stay readable when the file is gone


def _front(model: Any, share: float) -> set[str]:
    """The names of the operations that stay in fp32."""
    operations = _operations(model)
    place = {operation.get_friendly_name(): at for at, operation in enumerate(operations)}
    torn = [(_earliest(operation, place), at) for at, operation in enumerate(operations) if _is_fused(operation)]
    for end in range(math.ceil(share * len(operations)), math.ceil(MOST * len(operations))):
        if not any(first < end <= last for first, last in torn):
            return {operation.get_friendly_name() for operation in operations[:end]}
    raise EngineError(
        f"the first {share:.0%} of its operations cannot be computed apart from the rest; use fp32 or 16 bits"
    )


def _operations(model: Any) -> list[Any]:
    """All that is computed from the input, in an order in which it can be; what is the same each time is folded."""
    from openvino.passes import ConstantFolding, Manager

    manager = Manager()
    manager.register_pass(ConstantFolding())
    manager.run_passes(model)
    seen = {parameter.get_friendly_name() for parameter in model.get_parameters()}
    operations = []
    for operation in model.get_ordered_ops():
        if any(name in seen for name in _sources(operation)):
            seen.add(operation.get_friendly_name())
            operations.append(operation)
    return operations


def _sources(operation: Any) -> list[str]:
    return [port.get_source_output().get_node().get_friendly_name() for port in operation.inputs()]


def _is_fused(operation: Any) -> bool:
    return operation.get_type_name() in _FUSED


def _earliest(operation: Any, place: dict[str, int]) -> int:
    """Where in the order the first of what an operation takes is computed; -1 is the input."""
    return min((place[name] for name in _sources(operation) if name in place), default=-1)
