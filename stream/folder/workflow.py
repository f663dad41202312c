"""The loop over the pictures of a folder: read ahead, found and posed some at a time, written behind."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from engines.results import Image
from stream.folder.numbering import first_cut
from stream.folder.people import KnownPeople, People, PeopleFiles
from stream.folder.places import Picture
from stream.folder.poser import Posed, Poser
from stream.folder.poses import PoseFiles
from stream.images import is_cut_short, read_picture
from stream.memory import give_back_freed
from stream.meter import Meter
from stream.pipeline import Detector
from stream.source import StreamError

TRIM_EVERY = 256
"""Pictures between two times that freed memory is given back."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one picture; `fault` says in a line why it failed.

    `people` were posed, or found; `left_out` are boxes of its file that were not asked for.
    """

    picture: Picture
    state: Literal["done", "finished before", "failed"]
    people: int = 0
    left_out: int = 0
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Detection:
    """The step that finds people."""

    detector: Detector
    files: PeopleFiles


@dataclass(frozen=True, slots=True)
class Posing:
    """The step that poses them."""

    poser: Poser
    files: PoseFiles


@dataclass(slots=True)
class _Job:
    """A picture on its way; `image` is None where it need not be gone through, or cannot be."""

    index: int
    picture: Picture
    image: Image | None = None
    people: People | None = None
    fault: str = ""
    cuts: Sequence[str] = ()
    written: Future[None] | None = None


@dataclass(frozen=True, slots=True)
class Workflow:
    """Finds and poses the people of pictures, or does one of the two; iterate over it once.

    `people` is a Detection, or who an earlier run found. `threads` read and write pictures beside the networks, which
    take `batch_size` of them at a time. With `resume`, pictures whose files are all there are passed by.
    """

    pictures: Sequence[Picture]
    people: Detection | KnownPeople
    posing: Posing | None
    batch_size: int
    threads: int
    resume: bool
    meter: Meter

    def __iter__(self) -> Generator[Outcome, None, None]:
        """What became of each picture, in their order, once all its files are written."""
        finished = {picture.stem for picture in self.pictures if self.resume and self._is_finished(picture)}
        self._clear(finished)
        waiting: deque[_Job] = deque()
        # Apart: were a picture read only after those before it are written, the networks would stand still.
        with (
            ThreadPoolExecutor(self.threads, thread_name_prefix="read pictures") as readers,
            ThreadPoolExecutor(self.threads, thread_name_prefix="write pictures") as writers,
        ):
            try:
                for jobs in self._batches(readers, finished):
                    self._step(jobs, writers)
                    waiting.extend(jobs)
                    while len(waiting) > self._ahead:
                        yield self._settle_first(waiting)
                while waiting:
                    yield self._settle_first(waiting)
            finally:
                # Left in the middle: what went through the networks is written, and numbered with what was.
                while waiting:
                    self._settle_first(waiting)
                if self.posing is not None:
                    self.posing.files.number((), None)

    @property
    def _ahead(self) -> int:
        """Pictures read before the networks, and as many behind them: whichever is slower, memory is bounded."""
        return self.batch_size + self.threads

    def _is_finished(self, picture: Picture) -> bool:
        if isinstance(self.people, Detection):
            found = self.people.files.is_finished(picture)
            sources = (self.people.files.path(picture),)
        else:
            found = True
            sources = (self.people.path(picture),)
        return found and (self.posing is None or self.posing.files.is_finished(picture, *sources))

    def _clear(self, finished: Collection[str]) -> None:
        to_do = [picture for picture in self.pictures if picture.stem not in finished]
        if isinstance(self.people, Detection):
            self.people.files.clear(to_do)
        if self.posing is not None:
            self.posing.files.clear(to_do, finished)

    def _batches(self, readers: ThreadPoolExecutor, finished: Collection[str]) -> Iterator[list[_Job]]:
        """The pictures, read ahead, as many at a time as go through the networks together."""
        reading: deque[Future[_Job]] = deque()
        pictures = enumerate(self.pictures)
        while True:
            for index, picture in islice(pictures, self._ahead - len(reading)):
                reading.append(readers.submit(self._read, index, picture, picture.stem in finished))
            if not reading:
                return
            with self.meter.stage("wait to read"):
                jobs = [reading.popleft().result() for _ in range(min(self.batch_size, len(reading)))]
            yield jobs

    def _read(self, index: int, picture: Picture, is_finished: bool) -> _Job:
        """One picture and, where an earlier run found them, its people."""
        job = _Job(index, picture)
        if is_finished:
            job.cuts = self.posing.files.earlier(picture) if self.posing is not None else ()
            return job
        try:
            image = read_whole(picture.path)
            if isinstance(self.people, KnownPeople):
                job.people = self.people.of(picture)
        except (OSError, ValueError) as error:
            job.fault = _reason(error)
        else:
            job.image = image
        return job

    def _step(self, jobs: Sequence[_Job], writers: ThreadPoolExecutor) -> None:
        """Take some pictures through the networks, and hand them on to be written."""
        ready = [job for job in jobs if job.image is not None]
        images = [job.image for job in ready if job.image is not None]
        if not images:
            return
        if isinstance(self.people, Detection):
            with self.meter.stage("detect"):
                found = self.people.detector.detect(images)
            for job, image, one in zip(ready, images, found, strict=True):
                job.people = self.people.files.people(one, image)
        people = [job.people for job in ready if job.people is not None]
        posed: Sequence[Posed | None] = [None] * len(ready)
        if self.posing is not None:
            with self.meter.stage("pose"):
                posed = self.posing.poser.pose(images, [one.boxes for one in people])
        for job, image, one_people, one_posed in zip(ready, images, people, posed, strict=True):
            job.written = writers.submit(self._write, job, image, one_people, one_posed)
            job.image = None  # The task holds it as long as it is needed.

    def _write(self, job: _Job, image: Image, people: People, posed: Posed | None) -> None:
        if isinstance(self.people, Detection):
            self.people.files.write(job.picture, image, people)
        if self.posing is not None and posed is not None:
            job.cuts = self.posing.files.write(job.picture, image, people, posed)

    def _settle_first(self, waiting: deque[_Job]) -> Outcome:
        """Wait until the first picture's files are written, take it out, and give its cuts their numbers."""
        job = waiting[0]
        if job.written is not None:
            try:
                with self.meter.stage("wait to write"):
                    job.written.result()
            except (OSError, StreamError) as error:
                job.fault = _reason(error)
        waiting.popleft()
        if (job.index + 1) % TRIM_EVERY == 0:
            give_back_freed()
        if self.posing is not None:
            following = job.index + 1
            is_last = following == len(self.pictures)
            self.posing.files.number(job.cuts, None if is_last else first_cut(self.pictures[following].stem))
        if job.fault:
            return Outcome(job.picture, "failed", fault=job.fault)
        if job.people is None:
            return Outcome(job.picture, "finished before")
        return Outcome(job.picture, "done", len(job.people.boxes), job.people.left_out)


def read_whole(path: Path) -> Image:
    """A picture's pixels (H, W, 3) uint8 BGR, not to be written to; OSError or ValueError where it is not whole."""
    data = path.read_bytes()
    if is_cut_short(data):
        raise ValueError("is cut short, its end is missing; copy it again")
    image = read_picture(data)
    if image is None:
        raise ValueError("is no picture that can be read; copy or convert it again" if data else "is empty")
    image.flags.writeable = False
    return image


def _reason(error: Exception) -> str:
    """What went wrong, without the words that name the file once more."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
