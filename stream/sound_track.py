"""The sound of a live source on its way from the connection to the outputs, beside the pictures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction

KEPT_S = 10
"""Seconds of sound that wait for the slowest output; older sound is dropped."""
_KEPT_PACKETS = 2000
"""No more packets than these wait, whatever their times say: 10 s of packets of 5 ms."""


@dataclass(frozen=True, slots=True)
class SoundPacket:
    """A piece of sound as the source encoded it, at a moment of the source's time line.

    `format` is what a decoder must know of it, as SoundInput makes it.
    """

    data: bytes
    begin_s: Fraction
    duration_s: Fraction
    format: bytes

    def moved(self, by_s: Fraction) -> SoundPacket:
        """The same sound, later by so much."""
        return replace(self, begin_s=self.begin_s + by_s)


class SoundTrack:
    """The last seconds of a source's sound: one thread puts it in, any number of readers take all of it.

    Nobody waits for anybody. `format` is that of the newest packet; before the first one, what the source announced,
    None where that is not known yet.
    """

    def __init__(self, announced: bytes | None = None) -> None:
        self.format = announced
        self._kept: tuple[tuple[int, SoundPacket], ...] = ()  # replaced, never changed: readers need no lock
        self._count = 0

    def put(self, packets: Iterable[SoundPacket]) -> None:
        """Add what has come."""
        new = tuple(enumerate(packets, self._count + 1))
        if not new:
            return
        self._count, newest = new[-1]
        self.format = newest.format
        kept = (*self._kept, *new)[-_KEPT_PACKETS:]
        from_s = newest.begin_s - KEPT_S
        self._kept = tuple(each for each in kept if each[1].begin_s >= from_s)

    @property
    def newest(self) -> int:
        """The number of the newest packet, 0 before the first."""
        return self._count

    def after(self, number: int, until_s: Fraction) -> list[tuple[int, SoundPacket]]:
        """The packets behind the one of this number that begin before `until_s`, up to the first that does not."""
        found = []
        for each in self._kept:
            if each[0] > number:
                if each[1].begin_s >= until_s:
                    break
                found.append(each)
        return found


class SoundReader:
    """Takes the sound of a track piece by piece, each once: from the oldest that is kept, or what is still to come."""

    def __init__(self, track: SoundTrack, *, from_now: bool = False) -> None:
        self._track = track
        self._number = track.newest if from_now else 0

    def take(self, until_s: Fraction) -> list[SoundPacket]:
        """What has come since the last time and begins before `until_s` of the source's time line."""
        found = self._track.after(self._number, until_s)
        if found:
            self._number = found[-1][0]
        return [packet for _, packet in found]
