from __future__ import annotations

from fractions import Fraction

from stream.sound_track import KEPT_S, SoundPacket, SoundReader, SoundTrack


def packets(*begin_s: float, sound_format: bytes = b"aac") -> list[SoundPacket]:
    return [SoundPacket(b"x", Fraction(at_s), Fraction(1, 50), sound_format) for at_s in begin_s]


def taken(reader: SoundReader, until_s: float) -> list[float]:
    return [float(packet.begin_s) for packet in reader.take(Fraction(until_s))]


def test_each_reader_takes_each_packet_once_up_to_the_moment_it_asks_for() -> None:
    track = SoundTrack()
    one, other = SoundReader(track), SoundReader(track)
    track.put(packets(0, 1, 2))
    assert taken(one, 2) == [0, 1]
    track.put(packets(3))
    assert taken(one, 9) == [2, 3]
    assert taken(other, 9) == [0, 1, 2, 3]
    assert taken(one, 9) == []


def test_sound_that_comes_late_is_taken_the_next_time() -> None:
    track = SoundTrack()
    reader = SoundReader(track)
    track.put(packets(5))
    assert taken(reader, 6) == [5]
    track.put(packets(4.5))
    assert taken(reader, 6) == [4.5]


def test_a_reader_from_now_on_takes_nothing_that_was_there() -> None:
    track = SoundTrack()
    track.put(packets(0, 1))
    reader = SoundReader(track, from_now=True)
    track.put(packets(2))
    assert taken(reader, 9) == [2]


def test_the_oldest_is_dropped_where_nobody_takes_it() -> None:
    track = SoundTrack()
    reader = SoundReader(track)
    track.put(packets(*range(30)))
    assert taken(reader, 99) == list(range(29 - KEPT_S, 30))


def test_packets_without_end_at_one_moment_do_not_grow_in_memory() -> None:
    track = SoundTrack()
    for _ in range(5):
        track.put(packets(*[1.0] * 1000))
    assert len(SoundReader(track).take(Fraction(2))) == 2000


def test_the_format_is_what_was_announced_until_sound_comes() -> None:
    track = SoundTrack(b"announced")
    assert track.format == b"announced"
    track.put([])
    assert track.format == b"announced"
    track.put([*packets(0), *packets(1, sound_format=b"opus")])
    assert track.format == b"opus"


def test_moving_changes_the_moment_alone() -> None:
    (packet,) = packets(1)
    assert packet.moved(Fraction(3, 2)) == packets(2.5)[0]
