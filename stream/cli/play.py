"""The main job: a source in, people found, followed and posed; a window, a file and records out."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.text import Text

from stream.build import open_session
from stream.cli.summary import print_summary
from stream.config import Config, load_config, to_yaml
from stream.pipeline import Result
from stream.session import Session
from stream.source import StreamError, without_credentials
from stream.web.options import DEFAULT_ADDRESS, TOKEN_VARIABLE

EXIT_OF_SIGNAL = {signal.SIGINT: 130, signal.SIGTERM: 143}
DAMAGED = 1
"""Exit code where a source could not be read whole: what could be was written."""


def add_parser(commands: Any) -> None:
    """Add `play`, which is meant where no command is named."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "play",
        help="find, follow and pose people in a source (the default command)",
        description="Finds, follows and poses the people of a source. Other commands: models, doctor, bench.",
        epilog="example: run.py --source clip.mp4 --output out.mp4 --output out.jsonl",
    )
    add_source_flags(parser)
    add_model_flags(parser)
    out = parser.add_argument_group("output")
    out.add_argument("-o", "--output", action="append", dest="output", metavar="WHERE",
                     help="a video (mp4 mov mkv webm ts), a stream (rtsp://… rtmp://… udp://… or a folder of HLS, "
                     "NAME.m3u8), records (.jsonl .coco.json .mot.txt .csv), "
                     "a folder/ of pictures; {source} in it is the name of the source; repeatable")  # fmt: skip
    out.add_argument("--show", action="store_const", const=True, help="a window; q or ESC quits, s saves a snapshot")
    out.add_argument("--serve", nargs="?", const=DEFAULT_ADDRESS, dest="serve.address", metavar="HOST:PORT",
                     help="a web page with every source live, its figures and poses; also JSON, server-sent events, "
                     f"MJPEG, /healthz, /metrics ({DEFAULT_ADDRESS})")  # fmt: skip
    out.add_argument("--serve-token", dest="serve.token", metavar="TOKEN",
                     help=f"what the page wants to be told; better by {TOKEN_VARIABLE} in the environment (beyond this "
                     "machine one is made)")  # fmt: skip
    out.add_argument("--overwrite", action="store_const", const=True, help="replace outputs that exist")
    out.add_argument("--segment", type=duration, dest="recording.segment_s", metavar="TIME",
                     help="cut videos and records into files of 60s, 10m or 1h, named by the time of day: "
                     "NAME-20261122T211500.250Z.mp4 (UTC)")  # fmt: skip
    out.add_argument("--keep", dest="recording.keep", metavar="HOW_MUCH",
                     help="with --segment: keep 10GB or 7d of each output, delete older files")  # fmt: skip
    out.add_argument("--angles", action="store_const", const=True,
                     help="of knee, hip, shoulder, elbow, ankle, trunk, in .jsonl and .csv; smooths poses")  # fmt: skip
    out.add_argument("--background", choices=("video", "black"), dest="style.background", help="draw on this")
    out.add_argument("--boxes", action="store_const", const=True, dest="style.boxes", help="draw boxes too")
    out.add_argument("--encoder", dest="video.encoder", metavar="NAME",
                     help="FFmpeg's name (auto: libx264, for streams the hardware's if it works)")  # fmt: skip
    out.add_argument("--preset", dest="video.preset", metavar="NAME", help="speed of the encoder (superfast)")
    out.add_argument("--crf", type=int, dest="video.crf", metavar="N", help="quality, lower is better (23)")
    out.add_argument("--bitrate", dest="video.bitrate", metavar="RATE", help="instead of a quality, as 4M")
    out.add_argument("--scale", dest="video.scale", metavar="S", help="0.5, or 1280x720")
    out.add_argument("--no-sound", action="store_const", const=False, dest="video.sound", help="leave the sound out")
    more = parser.add_argument_group("configuration")
    more.add_argument("--print-config", action="store_true", help="print all keys, without passwords, and stop")


def add_source_flags(parser: argparse.ArgumentParser) -> None:
    """Add what says where frames come from."""
    source = parser.add_argument_group("source")
    source.add_argument("-s", "--source", action="append", dest="source", metavar="WHERE",
                        help="a camera's number, a file, a folder or glob of pictures, rtsp://… http://…, "
                        "or a .streams file of such, `URL` or `NAME = URL` a line; repeatable")  # fmt: skip
    source.add_argument("--camera", dest="input.camera", metavar="WxH@FPS", help="ask a camera for 1280x720@30")
    source.add_argument("--pixel-format", dest="input.pixel_format", metavar="NAME", help="ask a camera for mjpeg")
    source.add_argument("--hwaccel", dest="input.hwaccel", metavar="NAME", help="decode by cuda (NVDEC), qsv, …")
    source.add_argument("--mirror", action="store_const", const=True, dest="input.mirror", help="as in a mirror")
    source.add_argument("--start", type=seconds, dest="input.start_s", metavar="TIME", help="12.5 or 1:02:03")
    source.add_argument("--end", type=seconds, dest="input.end_s", metavar="TIME", help="end before this time")
    source.add_argument("--realtime", action="store_const", const=True, dest="input.realtime",
                        help="play a file at its own speed, as if it were live")  # fmt: skip
    source.add_argument("--loop", type=int, nargs="?", const=0, dest="input.loop", metavar="N",
                        help="play a file N times, without N for ever")  # fmt: skip
    source.add_argument("--retries", type=int, dest="input.retries", metavar="N",
                        help="connect a lost stream or camera again N times at most (for ever)")  # fmt: skip
    source.add_argument("--policy", choices=("latest", "every"), dest="live.policy",
                        help="of a live source show the newest frame (latest) or all, however late")  # fmt: skip
    source.add_argument("--max-age", type=duration, dest="live.max_age_s", metavar="AGE",
                        help="never show frames of a live source that are older: 200ms or 0.2")  # fmt: skip


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """Add what every command that runs the pipeline takes: models, people, configuration."""
    models = parser.add_argument_group("models")
    models.add_argument(
        "--detector", dest="models.detector", metavar="MODEL", help="a catalogue name, an .onnx or a checkpoint"
    )
    models.add_argument(
        "--pose", dest="models.pose", metavar="MODEL", help="a catalogue name, an .onnx or a checkpoint"
    )
    models.add_argument("--imgsz", type=int, dest="models.detector_card.imgsz", metavar="N",
                        help="input size of a detector that has none of its own")  # fmt: skip
    models.add_argument("--detector-card", action="append", metavar="KEY=VALUE", default=[],
                        help="what a card would say: family, color, letterbox, mean, std, scale")  # fmt: skip
    models.add_argument("--pose-card", action="append", metavar="KEY=VALUE", default=[], help="skeleton=halpe26 …")
    models.add_argument("--device", dest="models.device", metavar="D", help="auto, cpu or cuda:0")
    models.add_argument(
        "--backend", choices=("auto", "tensorrt", "openvino", "onnxruntime", "torch"), dest="models.backend",
        help="inference library (auto: TensorRT on a GPU, else OpenVINO; torch runs checkpoints alone)"
    )  # fmt: skip
    models.add_argument("--precision", choices=("auto", "fp32", "fp16", "bf16", "int8"), dest="models.precision",
                        help="of the arithmetic (auto: 16 bits where they pay and come near)")  # fmt: skip
    people = parser.add_argument_group("people")
    people.add_argument("--conf", type=float, dest="detect.confidence", metavar="P", help="lowest score (0.4)")
    people.add_argument("--iou", type=float, dest="detect.iou", metavar="P", help="boxes that overlap so are one (0.5)")
    people.add_argument("--max-people", type=int, dest="detect.max_people", metavar="N", help="at most so many")
    people.add_argument("--detect-every", type=every_of, dest="detect.every", metavar="N",
                        help="detect in each N-th frame, between them poses carry the boxes; auto: where it is "
                        "needed, and twice a second")  # fmt: skip
    people.add_argument(
        "--smooth", choices=("auto", "on", "off"), dest="smooth", help="auto: on for live sources and angles"
    )
    more = parser.add_argument_group("more")
    more.add_argument("--config", type=Path, metavar="FILE", help="YAML, as configs/webcam.yaml")
    more.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="any key of the configuration")


def seconds(text: str) -> float:
    """Seconds from `12.5`, `1:30` or `1:02:03`."""
    total = 0.0
    for part in text.split(":"):
        total = total * 60 + float(part)
    return total


def duration(text: str) -> float:
    """Seconds from `200ms`, `1.5s`, `10m`, `1h` or `0.2`."""
    units_s = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
    unit = next((unit for unit in units_s if text.endswith(unit)), "")
    return float(text.removesuffix(unit)) * units_s.get(unit, 1.0)


def every_of(text: str) -> int | str:
    """How often to detect: a number, or auto."""
    return text if text == "auto" else int(text)


def config_of(args: argparse.Namespace) -> Config:
    """The configuration that the flags, the settings and the file mean together."""
    keys = ("source", "output", "show", "overwrite", "smooth", "angles")
    flags = {k: v for k, v in vars(args).items() if (k in keys or "." in k) and v is not None}
    cards = [f"models.{m}_card.{s}" for m in ("detector", "pose") for s in getattr(args, f"{m}_card")]
    return load_config(args.config, [*args.set, *cards], flags)


def run(args: argparse.Namespace) -> int:
    """Play; 0 when the source ended, 130 or 143 when a signal ended the run, 1 when part of the source was lost."""
    config = config_of(args)
    if args.print_config:
        source, output = (tuple(map(without_credentials, names)) for names in (config.source, config.output))
        serve = replace(config.serve, token=None)
        sys.stdout.write(to_yaml(replace(config, source=source, output=output, serve=serve)))
        return 0
    if config.source and not (config.output or config.show or config.serve.address):
        raise ValueError("nothing to do with the poses: give --output FILE, --show or --serve")
    console = Console(stderr=True, highlight=False)
    tell = partial(console.print, markup=False, soft_wrap=True)
    session: Session | None = None
    try:
        # The signals outlast the session, so that a second one does not break off the finishing of the outputs by half.
        with stopped_by_signals() as signals, open_session(config, say=tell) as session:
            signals.session = session
            for note in session.notes:
                tell(note)
            follow(session, console)
    finally:
        if session is not None:
            for warning in session.warnings:
                tell(f"warning: {warning}", style="yellow")
            print_summary(session, config)
    if signals.first is not None:
        return EXIT_OF_SIGNAL[signals.first]
    return DAMAGED if session.damaged else 0


@dataclass(slots=True)
class Signals:
    """The session that a signal ends, once there is one, and the signal that did."""

    session: Session | None = None
    first: signal.Signals | None = None

    def receive(self, number: int, _frame: FrameType | None) -> None:
        """End the run in good order, or at once where nothing runs yet or this is the second signal."""
        code = EXIT_OF_SIGNAL[signal.Signals(number)]
        if self.session is None:
            raise SystemExit(code)
        if self.first is not None:
            os._exit(EXIT_OF_SIGNAL[self.first])
        self.first = signal.Signals(number)
        self.session.stop()


@contextmanager
def stopped_by_signals() -> Iterator[Signals]:
    """While open, SIGINT and SIGTERM are received by the Signals given."""
    signals = Signals()
    before = {number: signal.signal(number, signals.receive) for number in EXIT_OF_SIGNAL}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Live(ProgressColumn):
    """Frames a second, people and frame age, as they are now."""

    def render(self, task: Task) -> Text:
        """One cell."""
        return Text(task.fields.get("live", ""))


def follow(session: Session, console: Console) -> None:
    """Run the session to its end under a progress bar."""
    counts = [feed.info.frame_count if feed.is_known else None for feed in session.feeds]
    total = None if None in counts else sum(count or 0 for count in counts)
    bar = (BarColumn(), MofNCompleteColumn()) if total else (SpinnerColumn(), TextColumn("{task.completed} frames"))
    with Progress(*bar, Live(), console=console, transient=True) as progress:
        task = progress.add_task("", total=total)
        for result in running(session):
            age_ms = session.meter.age.latest_s * 1e3
            live = f"{session.meter.fps:.1f} fps  {len(result.tracks.ids)} people  age {age_ms:.0f} ms"
            if session.slowed_to is not None:
                live += f"  detection in 1 of {session.slowed_to}"
            progress.update(task, advance=1, live=live)


def running(session: Session) -> Iterator[Result]:
    """The results of a session; what a stage refuses in the middle of a run is a failure, no misuse."""
    try:
        yield from session
    except ValueError as error:
        raise StreamError(str(error)) from error
