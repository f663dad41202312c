"""An ONNX model at half its size: weights stored in fp16 and cast back to fp32, in which all is computed as before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import onnx

LEAST: Final = 256
"""Numbers of a weight that is worth a cast."""


def compact(model: onnx.ModelProto) -> int:
    """Store the large fp32 weights of `model` in fp16, in place; how many. Weights beyond fp16's range stay.

    Libraries fold the casts when they load the model, so that it is no slower, and in fp32 differs from the original by
    the rounding of the weights alone (a relative 5e-4 each).
    """
    from onnx import TensorProto, helper, numpy_helper

    graph, casts = model.graph, []
    for weight in graph.initializer:
        values = numpy_helper.to_array(weight) if weight.data_type == TensorProto.FLOAT else np.zeros(0)
        if values.size < LEAST or np.abs(values).max() > np.finfo(np.float16).max:
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_fp16"))
        casts.append(helper.make_node("Cast", [weight.name], [name], name=f"{name}_cast", to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return len(casts)
