"""The UDP link protocol: what is sent is what is read, and nothing else is taken for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.wire.udplink import (
    RETRY_S,
    Exchange,
    Message,
    Open,
    Opened,
    Peer,
    Peered,
    Refused,
    decode,
    encode,
    is_control,
    new_nonce,
    nonce_of,
)

pytestmark = pytest.mark.unit

words = st.from_regex(r"\A[A-Za-z0-9_-]{1,64}\Z")
hosts = st.ip_addresses(v=4).map(str)
ports = st.integers(1, 65535)
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Open, words),
    st.builds(Opened, words, hosts, ports),
    st.builds(Peer, words, hosts, ports),
    st.builds(Peered, words),
    st.builds(Refused, words, words),
)


@given(messages)
def test_every_message_is_read_back_as_it_was_sent(message: Message) -> None:
    datagram = encode(message)
    assert decode(datagram) == message
    assert is_control(datagram)
    assert nonce_of(datagram) == message.nonce


def test_the_messages_look_as_the_protocol_says() -> None:
    assert encode(Open("n1")) == b"CKOPEN n1"
    assert encode(Opened("n1", "127.0.0.1", 4000)) == b"CKOPENED n1 127.0.0.1 4000"
    assert encode(Peer("n1", "127.0.0.1", 5004)) == b"CKPEER n1 127.0.0.1 5004"
    assert encode(Peered("n1")) == b"CKPEERED n1"
    assert encode(Refused("n1", "peer-not-allowed")) == b"CKERR n1 peer-not-allowed"


@given(st.binary(max_size=200))
def test_any_datagram_is_read_or_refused_and_never_raises(datagram: bytes) -> None:
    message = decode(datagram)
    assert message is None or encode(message) == datagram
    nonce_of(datagram)


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"CKOPEN",
        b"CKOPEN ",
        b"CKOPEN a b",
        b"ckopen a",
        b"CKOPEN a\n",
        b"CKPEER a 127.0.0.1",
        b"CKPEER a 127.0.0.1 0",
        b"CKPEER a 127.0.0.1 65536",
        b"CKPEER a 127.0.0.1 05",
        b"CKPEER a localhost 5004",
        b"CKPEER a ::1 5004",
        b"CKOPEN " + b"a" * 65,
        "CKOPEN é".encode(),
    ],
)
def test_malformed_messages_are_refused(datagram: bytes) -> None:
    assert decode(datagram) is None


def test_rtp_is_no_control_message() -> None:
    assert not is_control(bytes([0x80, 0x00]) + b"CKOPEN")
    assert not is_control(bytes([0xBF]))
    assert not is_control(b"")


def test_a_message_that_cannot_be_read_back_is_not_sent() -> None:
    with pytest.raises(ValueError, match="not a sendable message"):
        encode(Peer("n", "room-a", 5004))
    with pytest.raises(ValueError, match="not a sendable message"):
        encode(Open("two words"))


def test_a_refused_message_can_still_be_answered() -> None:
    assert nonce_of(b"CKPEER n9 not-an-address 5004") == "n9"
    assert nonce_of(b"hello n9") is None


def test_nonces_differ() -> None:
    assert len({new_nonce() for _ in range(200)}) == 200


def test_an_exchange_repeats_until_its_own_answer_arrives() -> None:
    exchange = Exchange(Open("n1"))
    assert exchange.datagram == b"CKOPEN n1"
    assert exchange.due(10.0)
    assert not exchange.due(10.0 + RETRY_S / 2)
    assert exchange.due(10.0 + RETRY_S)
    assert not exchange.receive(encode(Opened("other", "127.0.0.1", 4000)))
    assert not exchange.receive(encode(Peered("n1")))
    assert not exchange.receive(b"\x80\x00")
    assert exchange.due(11.0)
    assert exchange.receive(encode(Opened("n1", "127.0.0.1", 4000)))
    assert exchange.answer == Opened("n1", "127.0.0.1", 4000)
    assert not exchange.due(1000.0)


def test_an_exchange_takes_a_refusal_as_its_answer() -> None:
    exchange = Exchange(Peer("n1", "10.0.0.1", 5004))
    assert exchange.receive(encode(Refused("n1", "peer-not-allowed")))
    assert exchange.answer == Refused("n1", "peer-not-allowed")
