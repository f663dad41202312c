"""How fast the networks are on a GPU, against what its matrix units and its memory allow, measured in the same run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from engines.backends.base import EngineError, open_backend
from engines.images import on_device

if TYPE_CHECKING:
    from engines.backends.base import DeviceBackend
    from engines.nets.roofline import Ceilings
    from engines.nets.samples import Sample

    Open = Callable[[Sample], DeviceBackend]

CROPS = (1, 2, 4, 8, 16, 32, 64)
"""People in a batch of a pose network."""
PICTURES = (1, 2, 4, 8)
"""Pictures in a batch of a detector."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A network to time, and the batches."""

    sample: Sample
    batches: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a network runs a batch of `rows`.

    `median_ms` and `p95_ms` are the device's own, `waited_ms` is the host's until the answer is there. `least_ms` is
    the roofline's: see engines/nets/roofline.py.
    """

    network: str
    rows: int
    median_ms: float
    p95_ms: float
    waited_ms: float
    least_ms: float
    operations: int

    @property
    def per_second(self) -> float:
        """Crops or pictures a second."""
        return 1e3 * self.rows / self.median_ms

    @property
    def share(self) -> float:
        """The least time over the time taken: 1 is a network that runs as fast as its layers can."""
        return self.least_ms / self.median_ms

    @property
    def rate(self) -> float:
        """Operations a second."""
        return 1e3 * self.operations / self.median_ms


def subjects() -> tuple[Subject, ...]:
    """HRNet-W32 and W48 on crops, YOLOX-s and m on pictures."""
    from engines.nets.samples import HRNETS, YOLOXES

    batches = [(sample, CROPS) for sample in HRNETS] + [(sample, PICTURES) for sample in YOLOXES]
    return tuple(Subject(sample, rows) for sample, rows in batches)


def device_words(device: str) -> str:
    """The GPU and the torch that runs on it, in words; EngineError where there is no such GPU."""
    from engines.nets.stopwatch import device_words

    return device_words(device)


def ceilings_of(device: str) -> Ceilings:
    """What the matrix units, in fp16, and the memory of `device` can do, measured now."""
    from engines.nets.stopwatch import measure_ceilings

    return measure_ceilings(device)


def by_torch(device: str, precision: str) -> Open:
    """How a network is opened to be timed: from a checkpoint, by the torch backend, as for everybody."""

    def open_network(sample: Sample) -> DeviceBackend:
        from engines.nets.samples import save_checkpoint

        with TemporaryDirectory(prefix="posestream-bench-") as folder:
            path = Path(folder) / f"{sample.name}.pth"
            save_checkpoint(sample.network(), path)
            backend = open_backend(path, input_size=sample.size, backend="torch", device=device, precision=precision)
        opened = on_device(backend)
        if opened is None:
            backend.close()
            raise EngineError(f"{backend.name} takes no tensors of {device}; nothing can be timed there")
        return opened

    return open_network


def speeds(subjects: Sequence[Subject], ceilings: Ceilings, open_network: Open) -> Iterator[Speed]:
    """The speed of each network at each of its batches, as it is measured; one network is open at a time."""
    from engines.nets.roofline import layers_of, least_ms
    from engines.nets.stopwatch import time_batch

    for subject in subjects:
        sample, network = subject.sample, subject.sample.network()
        with closing(open_network(sample)) as backend:
            for rows in subject.batches:
                layers = layers_of(network, sample.size, rows)
                timing = time_batch(backend, rows)
                yield Speed(
                    network=sample.name,
                    rows=rows,
                    median_ms=timing.median_ms,
                    p95_ms=timing.p95_ms,
                    waited_ms=timing.waited_ms,
                    least_ms=least_ms(layers, ceilings),
                    operations=sum(layer.operations for layer in layers),
                )
