"""How much of `run.py images` is bare work, and whether memory grows: on the first N pictures of a folder.

    python tests/bench/folder.py --count 1000 [--loops 4]

Efficiency is the time of the parts alone, one after the other, over the time of the run: reading the JPEGs and writing
the results (drawing and encoding too) with the same threads, and the networks on batches of the same sizes.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import psutil

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from engines.backends.base import Backend  # noqa: E402
from engines.hrnet import MAX_BATCH  # noqa: E402
from engines.results import Image  # noqa: E402
from stream.bench import noise  # noqa: E402
from stream.build import open_models  # noqa: E402
from stream.config import ModelOptions  # noqa: E402
from stream.folder.build import FolderOptions, Folders, open_workflow  # noqa: E402
from stream.folder.experiment import Experiment  # noqa: E402
from stream.folder.people import People  # noqa: E402
from stream.folder.places import Picture, pictures_of  # noqa: E402
from stream.folder.poser import Posed  # noqa: E402
from stream.folder.workflow import Detection, Workflow, read_whole  # noqa: E402

ASSETS = Path(os.environ.get("POSESTREAM_ASSETS", ROOT.parent / "shared" / "assets"))
EVERY = 50
"""Pictures between two looks at the memory."""
WARM = 0.3
"""Share of the run before memory counts: the first batches take what all others use again."""
CHUNK = 64
"""Pictures held for the bare reading and writing."""


@dataclass
class Bare:
    """Seconds of each part alone."""

    read_s: float = 0.0
    infer_s: float = 0.0
    write_s: float = 0.0

    @property
    def total_s(self) -> float:
        return self.read_s + self.infer_s + self.write_s


def run(workflow: Workflow) -> tuple[float, int, list[tuple[int, float]]]:
    """Seconds of the run, people, and (pictures, MB resident) on the way."""
    process, memory, people = psutil.Process(), [], 0
    begun = time.perf_counter()
    for done, outcome in enumerate(workflow, 1):
        people += outcome.people
        if done % EVERY == 0:
            memory.append((done, process.memory_info().rss / 1e6))
    return time.perf_counter() - begun, people, memory


def bare(workflow: Workflow, detector: Backend, pose: Backend) -> Bare:
    """The parts alone, on the same pictures."""
    parts = Bare()
    assert isinstance(workflow.people, Detection)
    assert workflow.posing is not None
    pictures = iter(workflow.pictures)
    with ThreadPoolExecutor(workflow.threads) as pool:
        while chunk := list(islice(pictures, CHUNK)):
            begun = time.perf_counter()
            images = list(pool.map(lambda one: read_whole(one.path), chunk))
            parts.read_s += time.perf_counter() - begun
            jobs, steps = [], []
            for at in range(0, len(images), workflow.batch_size):
                step = images[at : at + workflow.batch_size]
                found = workflow.people.detector.detect(step)
                people = [workflow.people.files.people(one, image) for one, image in zip(found, step, strict=True)]
                posed = workflow.posing.poser.pose(step, [one.boxes for one in people])
                jobs += list(zip(chunk[at : at + len(step)], step, people, posed, strict=True))
                steps.append((len(step), sum(len(one.boxes) for one in people)))
            parts.infer_s += infer(detector, pose, steps)
            begun = time.perf_counter()
            list(pool.map(lambda job: write(workflow, *job), jobs))
            parts.write_s += time.perf_counter() - begun
    return parts


def infer(detector: Backend, pose: Backend, steps: list[tuple[int, int]]) -> float:
    """Seconds of the networks alone on steps of so many pictures and people."""
    pictures = {count: noise(detector, count) for count, _ in steps}
    most = max(people for _, people in steps)
    crops = {size: noise(pose, size) for size in range(1, min(MAX_BATCH, most) + 1)}
    begun = time.perf_counter()
    for count, people in steps:
        detector.infer(pictures[count])
        for first in range(0, people, MAX_BATCH):
            pose.infer(crops[min(people - first, MAX_BATCH)])
    return time.perf_counter() - begun


def write(workflow: Workflow, picture: Picture, image: Image, people: People, posed: Posed) -> None:
    """What the run writes of one picture."""
    assert isinstance(workflow.people, Detection)
    assert workflow.posing is not None
    workflow.people.files.write(picture, image, people)
    workflow.posing.files.write(picture, image, people, posed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", default=str(ASSETS / "train" / "images"), help="of pictures")
    parser.add_argument("--detector", type=Path, default=ASSETS / "models" / "yolox_nano.onnx")
    parser.add_argument("--pose", type=Path, default=ASSETS / "models" / "tinypose_256x192_dyn.onnx")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--loops", type=int, default=1, help="how often the pictures are gone through, for the memory")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="posestream-bench-") as root:
        images = Path(root) / "images"
        images.mkdir()
        chosen = sorted(pictures_of(args.folder), key=lambda one: one.path)[: args.count]
        # In an order that has nothing to do with their sizes, which would look like growing memory.
        random = np.random.default_rng(0)
        order = np.concatenate([random.permutation(len(chosen)) for _ in range(args.loops)])
        for number, at in enumerate(order):
            path = chosen[at].path
            (images / f"{number:05}-{path.name}").symlink_to(path.resolve())
        report(str(images), Path(root), args)


def report(images: str, root: Path, args: argparse.Namespace) -> None:
    """Run, then the parts alone, by the same models opened once more."""
    models = ModelOptions(detector=str(args.detector), pose=str(args.pose), precision=args.precision)
    folders = Folders(images, root / "annots", root / "cuts", root / "inspect", root / "final", root / "output")
    with open_workflow(folders, FolderOptions(models=models), Experiment(), print) as workflow:
        count = len(workflow.pictures)
        seconds, people, memory = run(workflow)
        with open_models(models) as opened:
            parts = bare(workflow, opened.detector.backend, opened.pose.backend)
    print(f"{count} pictures, {people} people, {count / seconds:.1f} a second; {os.cpu_count()} cores")
    print(
        f"run {seconds:.1f} s; alone: read {parts.read_s:.1f}, networks {parts.infer_s:.1f}, write {parts.write_s:.1f}"
    )
    print(f"efficiency {parts.total_s / seconds:.3f}")
    warm = np.array([one for one in memory if one[0] > WARM * count])
    slope = np.polyfit(warm[:, 0], warm[:, 1], 1)[0] * 1000 if len(warm) > 2 else float("nan")
    print(f"resident {memory[-1][1]:.0f} MB, {slope:+.2f} MB per 1,000 pictures")


if __name__ == "__main__":
    main()
