from __future__ import annotations

from collections.abc import Iterator

import pytest

from stream.arrivals import Arrivals, Read, arriving
from stream.source import StreamError

MS = 1_000_000


def read(time_ms: float | None, at_ms: float, took_ms: float = 0) -> Read:
    return Read(None if time_ms is None else round(time_ms * MS), round(at_ms * MS), round(took_ms * MS))


def stamps(arrivals: Arrivals, *reads: Read) -> list[float]:
    return [arrivals.stamp(each) / MS for each in reads]


def test_a_packet_that_was_waited_for_arrived_when_it_was_read() -> None:
    arrivals = Arrivals(0)
    assert stamps(arrivals, *(read(40 * i, 1000 + 40 * i, 35) for i in range(5))) == [1000, 1040, 1080, 1120, 1160]


def test_a_packet_held_back_began_to_arrive_when_the_one_before_it_was_read() -> None:
    # Of 5 frames a second the frame of 0 ms is read at 1200, when the next one begins.
    one = stamps(Arrivals(0, held_back=1), *(read(200 * i, 1200 + 200 * i, 190) for i in range(4)))
    two = stamps(Arrivals(0, held_back=2), *(read(200 * i, 1400 + 200 * i, 190) for i in range(5)))
    assert one == [1200, 1200, 1400, 1600]  # of the first it is not known
    assert two[3:] == [1600, 1800]


def test_the_last_picture_of_a_silent_camera_is_as_old_as_it_is() -> None:
    arrivals = Arrivals(0, held_back=1)
    *_, last = stamps(arrivals, read(0, 1040, 40), read(40, 1080, 40), read(80, 1120, 40), read(120, 6120, 5000))
    assert last == 1120


def test_what_is_read_more_slowly_than_it_comes_grows_older() -> None:
    # 25 frames a second, of which each takes 100 ms to decode: at the tenth the reader is 540 ms behind.
    arrivals = Arrivals(0)
    arrivals.stamp(read(0, 1000, 35))
    found = stamps(arrivals, *(read(40 * i, 1000 + 100 * i) for i in range(1, 10)))
    # A crystal may be off: 200 parts in a million of 40 ms are 8 us.
    assert found == pytest.approx([1000 + 40 * i for i in range(1, 10)], abs=0.1)


def test_a_burst_after_a_hold_up_of_the_network_arrived_as_it_came() -> None:
    arrivals = Arrivals(0)
    arrivals.stamp(read(0, 1000, 35))
    # 500 ms of nothing, then what was sent meanwhile all at once: none can have come before it did.
    late = stamps(arrivals, read(40, 1500, 500), *(read(40 * i, 1500) for i in range(2, 13)))
    on_time = stamps(arrivals, read(520, 1520, 19))
    assert late[-1] == pytest.approx(1480, abs=0.2)
    assert on_time == pytest.approx([1520], abs=0.2)


def test_a_clock_that_was_set_back_is_believed_after_three_packets_waited_for() -> None:
    arrivals = Arrivals(0)
    stamps(arrivals, *(read(1000 + 40 * i, 2000 + 40 * i, 35) for i in range(5)))
    # From here on the camera's stamps lag by 300 ms, though each packet is waited for.
    found = stamps(arrivals, *(read(1200 + 5 + 40 * i, 2505 + 40 * i, 35) for i in range(3)))
    assert found[2] == 2585


def test_reads_that_only_seemed_to_wait_do_not_make_old_packets_young() -> None:
    arrivals = Arrivals(0)
    arrivals.stamp(read(0, 1000))
    found = stamps(arrivals, *(read(40 * i, 1000 + 100 * i, 30 if i in (3, 4, 7) else 0) for i in range(1, 10)))
    assert found[-1] == pytest.approx(1360, abs=0.1)


def test_a_clock_that_runs_fast_or_slow_does_not_add_up() -> None:
    # 100 parts in a million, for an hour, read without ever waiting long enough to tell.
    for share in (-100e-6, 100e-6):
        arrivals = Arrivals(0)
        times_ms = [1000.0 * i for i in range(3600)]
        found = stamps(arrivals, *(read(t, 5000 + t * (1 + share), 9) for t in times_ms))
        assert found[-1] == pytest.approx(5000 + times_ms[-1] * (1 + share), abs=0.01)


@pytest.mark.parametrize("begins_ms", [0, 90_000_000])
def test_a_clock_that_starts_again_is_followed(begins_ms: int) -> None:
    arrivals = Arrivals(0)
    stamps(arrivals, read(50_000, 1000, 35), read(50_040, 1040, 35))
    assert stamps(arrivals, read(begins_ms, 1080), read(begins_ms + 40, 1150)) == pytest.approx([1080, 1120], abs=0.1)


def test_a_packet_without_a_time_arrived_when_it_was_read() -> None:
    assert stamps(Arrivals(0), read(None, 1000), read(None, 1500)) == [1000, 1500]


def test_the_first_packets_are_as_old_as_the_one_that_is_waited_for_tells() -> None:
    reads = [read(None, 2000), read(0, 2000), read(40, 2001), read(80, 2030, 29)]
    assert [ns / MS for ns in Arrivals(0).begin(reads)] == [1950, 1950, 1990, 2030]


def test_nothing_arrived_before_the_connection_was_opened() -> None:
    reads = [read(0, 2000), read(40, 2001), read(1000, 2030, 29)]
    assert [ns / MS for ns in Arrivals(1900 * MS).begin(reads)] == [1900, 1900, 2030]


def test_all_packets_come_in_order_and_an_error_after_them() -> None:
    def broken() -> Iterator[tuple[str, Read]]:
        yield "a", read(0, 2000)
        yield "b", read(40, 2000)
        raise StreamError("gone")

    found: list[tuple[str, int]] = []
    with pytest.raises(StreamError, match="gone"):
        found.extend(arriving(broken(), Arrivals(0)))
    assert found == [("a", 1960 * MS), ("b", 2000 * MS)]
    whole = [("a", read(0, 2000)), ("b", read(40, 2035, 35)), ("c", read(80, 2075, 35))]
    assert list(arriving(iter(whole), Arrivals(0))) == [("a", 1995 * MS), ("b", 2035 * MS), ("c", 2075 * MS)]
    assert list(arriving(iter([]), Arrivals(0))) == []
