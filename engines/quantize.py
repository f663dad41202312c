"""A network to int8 by NNCF, with the operations that int8 hurts left in fp32."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import closing, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from engines.agreement import box_distance
from engines.backends.base import Backend, EngineError, complaint, open_backend
from engines.backends.onnx_file import describe
from engines.cards import ModelCard
from engines.export import Say
from engines.guard import LOOSE, compare
from engines.int8_graph import keep_in_fp32, quantized_names
from engines.int8_search import Measure, harmful
from engines.letterbox import fit
from engines.normalize import to_batch
from engines.results import Detections, Image
from engines.yolo import PersonDetector

if TYPE_CHECKING:
    import onnx

Floats = NDArray[np.float32]

OPSET: Final = 13
"""Of ONNX, from which weights may have a scale for each channel."""
SAMPLES: Final = 12
"""Of the pictures that a network is calibrated on, those that it is compared with fp32 on."""
ENOUGH: Final = 0.06
"""How far heat maps or people may be from fp32's there with int8 throughout; the guard allows 0.08 of heat maps."""
GOAL: Final = 0.04
"""How far where operations were chosen by these pictures: on others TinyPose is then at 0.07."""


def quantize(path: Path, card: ModelCard, pictures: Sequence[Image], target: Path, say: Say) -> None:
    """Write the ONNX network at `path` in int8 to `target`, calibrated on pictures of what it will see.

    A pose network takes crops of its input's size, a detector pictures of any. Weights have a scale for each channel,
    activations one for all, after their least and largest values, and zero is 0, which TensorRT demands: NNCF's
    post-training quantisation. Where that is not near enough to fp32 the operations that do the harm are left in fp32.
    Raises EngineError where NNCF is missing or cannot quantise it, OSError where it cannot be written.
    """
    import onnx

    say(f"{card.name}: quantising to int8, calibrated on {len(pictures)} pictures")
    original = _read(path)
    quantized = _calibrate(path, original, [_batch(picture, card) for picture in pictures])
    samples = pictures[:: max(1, len(pictures) // SAMPLES)][:SAMPLES]
    trial = target.with_name(f"{target.stem}.trial.onnx")
    try:
        measure = _measure(path, card, samples, trial, lambda kept: keep_in_fp32(quantized, original, kept))
        kept = harmful(quantized_names(quantized), measure, ENOUGH, GOAL, lambda line: say(f"{card.name}: {line}"))
    finally:
        trial.unlink(missing_ok=True)
    onnx.save(keep_in_fp32(quantized, original, kept), target)


def _read(path: Path) -> onnx.ModelProto:
    import onnx
    from onnx import version_converter

    network = onnx.load(path)
    version = max((entry.version for entry in network.opset_import if not entry.domain), default=OPSET)
    return network if version >= OPSET else version_converter.convert_version(network, OPSET)


def _batch(picture: Image, card: ModelCard) -> Floats:
    """A picture as the network sees it, (1, 3, height, width)."""
    if card.task == "detect":
        picture = fit(picture.shape[:2], card.input.size, card.letterbox).paint(picture, card.pad)
    spec = card.input
    return to_batch([picture], spec.color == "rgb", spec.scale, spec.mean, spec.std)


def _calibrate(path: Path, network: onnx.ModelProto, batches: Sequence[Floats]) -> onnx.ModelProto:
    """The network with all that pays in int8, by NNCF, which reports to nobody and draws no progress."""
    os.environ["NNCF_CI"] = "1"  # read when it is imported: no telemetry
    try:
        import nncf
        from nncf.errors import InternalError, UnsupportedModelError, ValidationError
    except ImportError as error:
        raise EngineError(
            f"int8 takes NNCF, which is not installed ({error}); pip install 'posestream[quantize]'"
        ) from error
    nncf.set_log_level(logging.ERROR)
    name = network.graph.input[0].name
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            quantized: onnx.ModelProto = nncf.quantize(
                network,
                nncf.Dataset(batches, lambda batch: {name: batch}),
                preset=nncf.QuantizationPreset.PERFORMANCE,
                target_device=nncf.TargetDevice.CPU,
                subset_size=len(batches),
            )
    except (RuntimeError, ValueError, InternalError, UnsupportedModelError, ValidationError) as error:
        raise EngineError(f"{path.name}: NNCF cannot quantise it: {complaint(error)}; build it in 16 bits") from error
    return quantized


def _measure(
    path: Path,
    card: ModelCard,
    samples: Sequence[Image],
    trial: Path,
    with_fp32: Callable[[frozenset[str]], onnx.ModelProto],
) -> Measure:
    """How far the network that `with_fp32` gives is from that at `path`: heat maps by L2, people by their boxes.

    Each is written to `trial` and run by OpenVINO.
    """
    import onnx

    size = card.input.size if None in describe(path)[0][0].shape[2:] else None

    def maps(backend: Backend) -> Floats:
        return np.concatenate([backend.infer(_batch(sample, card))[0] for sample in samples])

    def people(backend: Backend, *, reported: bool) -> list[Detections]:
        finder = PersonDetector(backend, card) if reported else PersonDetector(backend, card, LOOSE)
        return [finder.detect([sample])[0] for sample in samples]

    with closing(open_backend(path, input_size=size, backend="openvino", device="cpu", precision="fp32")) as reference:
        truth = people(reference, reported=True) if card.task == "detect" else []
        wanted = maps(reference) if card.task == "pose" else np.zeros(0, np.float32)

    def measure(kept: frozenset[str]) -> float:
        onnx.save(with_fp32(kept), trial)
        with closing(
            open_backend(trial, input_size=size, backend="openvino", device="cpu", precision="int8")
        ) as backend:
            if card.task == "detect":
                return box_distance(people(backend, reported=False), truth)
            return compare(maps(backend), wanted).relative

    return measure
