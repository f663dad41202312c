"""Where the page is and who may see it."""

from __future__ import annotations

import socket

import pytest

from stream.web.options import ServeOptions, bind, is_loopback, parse_address, token_for, url_of


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080),
        ("9000", "127.0.0.1", 9000),
        (":9000", "127.0.0.1", 9000),
        ("0.0.0.0", "0.0.0.0", 8080),
        ("localhost:0", "localhost", 0),
        ("[::1]:81", "::1", 81),
    ],
)
def test_what_an_address_leaves_out_is_the_default(address: str, host: str, port: int) -> None:
    assert parse_address(address) == (host, port)


@pytest.mark.parametrize(
    "address", ["host:port", "http://host:80", "host:80/path", "host:70000", "me@host:80", "::1:80"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="write HOST:PORT"):
        ServeOptions(address=address)


def test_a_port_in_use_is_told() -> None:
    with bind("127.0.0.1:0") as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(OSError, match=f"--serve {place}: cannot listen there .*; give another HOST:PORT"):
            bind(place)


def test_an_address_of_another_machine_is_told() -> None:
    with pytest.raises(OSError, match=r"--serve 192\.0\.2\.1:8080: cannot listen there"):
        bind("192.0.2.1:8080")


@pytest.mark.parametrize(("address", "loopback"), [("127.0.0.1:0", True), ("127.0.0.2:0", True), ("0.0.0.0:0", False)])
def test_only_this_machine_reaches_the_loopback(address: str, *, loopback: bool) -> None:
    with bind(address) as listening:
        assert is_loopback(listening) is loopback


def test_a_page_at_every_address_is_told_by_the_name_of_the_machine() -> None:
    with bind("0.0.0.0:0") as listening:
        assert url_of(listening) == f"http://{socket.gethostname()}:{listening.getsockname()[1]}/"


def test_on_the_loopback_no_token_is_wanted_unless_one_is_given() -> None:
    assert token_for(ServeOptions(), loopback=True, environment={}) == (None, False)
    assert token_for(ServeOptions(token="12345678"), loopback=True, environment={}) == ("12345678", False)


def test_beyond_the_loopback_a_token_is_made_and_another_each_time() -> None:
    (one, is_told), (two, _) = (token_for(ServeOptions(), loopback=False, environment={}) for _ in range(2))
    assert one is not None
    assert is_told
    assert len(one) == 22  # 16 bytes in base 64
    assert one != two


def test_the_token_of_the_environment_is_taken_where_none_is_given() -> None:
    environment = {"POSESTREAM_TOKEN": "from outside"}
    assert token_for(ServeOptions(), loopback=False, environment=environment) == ("from outside", False)
    assert token_for(ServeOptions(token="from inside"), loopback=False, environment=environment) == (
        "from inside",
        False,
    )


def test_a_short_token_is_refused() -> None:
    with pytest.raises(ValueError, match="8 characters or more, got 7"):
        ServeOptions(token="1234567")
    with pytest.raises(ValueError, match="POSESTREAM_TOKEN must have 8 characters or more, got 3"):
        token_for(ServeOptions(), loopback=False, environment={"POSESTREAM_TOKEN": "abc"})
