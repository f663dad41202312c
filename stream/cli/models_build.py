"""`run.py models build`: a model in fewer bits, used from then on where it is near enough to fp32 and worth it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from typing import Any, Final

from rich.console import Console

from engines.buckets import BUCKETS
from engines.build_request import Request, build_requested
from engines.building import Built
from engines.catalog import Catalog
from engines.choosing import SIXTEEN
from engines.quantize import quantize
from engines.results import Image
from engines.shelf import Engines
from stream.cli.engine_elsewhere import build_engine_elsewhere, capability
from stream.images import find_pictures, open_pictures
from stream.source import Source, SourceOptions, is_device, is_network, open_source

GUARD_PICTURES: Final = 100
"""Enough for a few hundred people."""
CALIBRATION_PICTURES: Final = 120
"""From all over the folder; of a pose network all the people in them, 300 at most."""


def add_parser(actions: Any) -> None:
    """Add `build` to the actions of `models`."""
    parser: argparse.ArgumentParser = actions.add_parser(
        "build",
        help="a model in 16 bits or int8: compared with fp32, timed, refused where it is not near enough",
        description="Make a model in 16 bits or int8 and compare it with fp32 on this machine; what it comes to holds"
        " from then on.",
    )
    parser.add_argument("names", nargs="+", metavar="NAME|PATH", help="of the catalogue, .onnx, or a checkpoint")
    parser.add_argument("--precision", choices=(*SIXTEEN, "int8"), help="to build (16 bits as the machine has)")
    parser.add_argument("--calibrate", metavar="DIR", help="pictures or a clip like what int8 will see; takes NNCF")
    parser.add_argument("--guard", metavar="DIR", help="pictures or a clip to compare on (drawn pictures alone)")
    parser.add_argument("--detector", metavar="NAME|PATH", help="finds the people for a pose network (the default one)")
    parser.add_argument("--sm", action="append", type=capability, metavar="CC", help="a TensorRT-RTX engine for GPUs of"
                        " this compute capability, 89 or 8.9, which need not be here; repeatable")  # fmt: skip
    parser.add_argument("--max-batch", type=int, default=BUCKETS[-1], metavar="N",
                        help=f"the largest batch of such an engine ({BUCKETS[-1]})")  # fmt: skip
    parser.add_argument("--force", action="store_true", help="keep what is too far from fp32")
    parser.add_argument("--backend", default="auto", help="as in play (auto)")
    parser.add_argument("--device", default="auto", help="as in play (auto)")


def run(args: argparse.Namespace, catalog: Catalog) -> None:
    """Build what `args` name, one after the other; raises at the first that is refused."""
    console = Console(highlight=False)

    def say(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    guard = read_pictures(args.guard, GUARD_PICTURES) if args.guard else []
    calibration = read_pictures(args.calibrate, CALIBRATION_PICTURES) if args.calibrate else []
    for name in args.names:
        if args.sm and args.precision != "int8":
            build_engine_elsewhere(name, None, args, catalog, console)
            continue
        request = Request(
            name,
            args.precision,
            calibration,
            guard,
            detector=args.detector,
            engines=Engines(args.backend, args.device),
            force=args.force,
        )
        built = build_requested(request, catalog, say, quantize)
        for line in result_lines(name, built):
            say(line)
        if args.sm:
            build_engine_elsewhere(name, built.path, args, catalog, console)


def result_lines(name: str, built: Built) -> Iterator[str]:
    """What a user reads of what was built: the verdict, whether it is used, and where it is."""
    verdict = built.verdict
    yield f"{name}: {verdict}"
    if verdict.used:
        yield f"{name}: {verdict.precision} is used from now on: {built.path}; --precision fp32 runs it in fp32"
    else:
        yield f"{name}: {verdict.precision} does not pay and is not used, but by --precision {verdict.precision}"
    yield f"{name}: the verdict is in {built.verdict_file}"


def read_pictures(url: str, most: int) -> list[Image]:
    """At most so many pictures of a folder, a glob or a clip, from all over it; raises what `open_source` does."""
    paths = None if is_device(url) or is_network(url) else find_pictures(url)
    if paths is not None:
        chosen = [paths[len(paths) * i // most] for i in range(most)] if len(paths) > most else paths
        return _frames(open_pictures(url, chosen, SourceOptions()), 1, most)
    source = open_source(url)
    count = source.info.frame_count or most
    return _frames(source, max(1, count // most), most)


def _frames(source: Source, every: int, most: int) -> list[Image]:
    """The first of each `every` frames."""
    with closing(source):
        return [frame.image for frame in islice(source.frames(), 0, every * most, every)]
