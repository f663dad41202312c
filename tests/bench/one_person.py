"""Streams for cameras of the benchmarks: numbered frames of a clip, each with exactly one person on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from servers.numbered import encode_numbered

from engines.results import Image
from engines.yolo import DetectorOptions, PersonDetector
from stream.build import Models

SIZE = (360, 640)
STREAM_S = 30
"""Length of what a camera shows over and over."""


def cut_people(clip: Path, models: Models, cameras: int, rate: int, folder: Path, *, headroom: float = 0) -> list[Path]:
    """Streams of a single person each, from the parts of `clip` where there is exactly one.

    `headroom`, a share of its height, is added above each picture, so that nothing is drawn over the number there.
    """
    detector = PersonDetector(models.detector.backend, models.detector.card, DetectorOptions(0.4))
    alone = [n for n, image in enumerate(images_of(clip)) if len(detector.detect([image])[0].boxes) == 1]
    streams = []
    for number, part in enumerate(np.array_split(np.array(alone), cameras)):
        cut = folder / f"cut-{number}.mp4"
        write_film(cut, (lowered(image, headroom) for n, image in enumerate(images_of(clip)) if n in part), rate)
        path = folder / f"camera-{number}.h264"
        streams.append(encode_numbered(path, frames=STREAM_S * rate, size=SIZE, rate=rate, clip=cut, key_every=rate))
    return streams


def images_of(clip: Path) -> Iterator[Image]:
    with av.open(str(clip)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="bgr24")


def lowered(image: Image, headroom: float) -> Image:
    """A picture with room above it."""
    return np.pad(image, ((round(headroom * image.shape[0] / 2) * 2, 0), (0, 0), (0, 0)), constant_values=128)


def write_film(path: Path, images: Iterator[Image], rate: int) -> None:
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=rate, options={"crf": "12", "preset": "ultrafast"})
        for number, image in enumerate(images):
            if number == 0:
                stream.height, stream.width = image.shape[:2]
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image, "bgr24")))
        output.mux(stream.encode(None))
