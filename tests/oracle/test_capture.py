"""The oracle's own eyes: pcap files with known packets, and a real capture of known datagrams."""

import contextlib
import math
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.oracle import capture, decoder
from tests.oracle.capture import Capture, NotCaptured, address_of, read_packets
from tests.oracle.decoder import Datagram
from tests.oracle.synthetic import mix, rtp

pytestmark = pytest.mark.oracle


def frame(protocol: int, rest: bytes) -> bytes:
    ip = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20 + len(rest), 0, 0, 64, protocol, 0,
        socket.inet_aton("127.0.0.1"), socket.inet_aton("127.64.1.2"),
    )  # fmt: skip
    return bytes(12) + b"\x08\x00" + ip + rest


def udp(payload: bytes) -> bytes:
    return frame(17, struct.pack("!HHHH", 9000, 41000, 8 + len(payload), 0) + payload)


def tcp(flags: int) -> bytes:
    return frame(6, struct.pack("!HHIIBBHHH", 41000, 9000, 0, 0, 0x50, flags, 0, 0, 0))


def pcap(order: str, magic: int, *frames: bytes, link_type: int = 1, fraction: int = 250) -> bytes:
    out = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link_type)
    for number, data in enumerate(frames):
        out += struct.pack(order + "IIII", 100 + number, fraction, len(data), len(data)) + data
    return out


def test_participants_have_addresses_by_number() -> None:
    assert [address_of(k) for k in (0, 3, 255, 515)] == [
        "127.64.0.0", "127.64.0.3", "127.64.0.255", "127.64.2.3",
    ]  # fmt: skip


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "fraction"), [(0xA1B2C3D4, 250_000), (0xA1B23C4D, 250_000_000)])
def test_both_byte_orders_and_both_precisions_are_read(
    order: str, magic: int, fraction: int
) -> None:
    data = pcap(order, magic, udp(b"one"), udp(b"two"), fraction=fraction)
    packets = list(read_packets(data))
    assert [p.payload for p in packets] == [b"one", b"two"]
    assert [p.at_s for p in packets] == pytest.approx([100.25, 101.25])
    assert packets[0].source == ("127.0.0.1", 9000)
    assert packets[0].target == ("127.64.1.2", 41000)


def test_a_file_that_ends_within_a_packet_is_read_up_to_there() -> None:
    data = pcap("<", 0xA1B2C3D4, udp(b"one"), udp(b"two"))
    assert [p.payload for p in read_packets(data[:-1])] == [b"one"]


def test_only_a_syn_alone_opens_a_connection() -> None:
    data = pcap("<", 0xA1B2C3D4, tcp(0x02), tcp(0x12), tcp(0x10), bytes(60))
    assert [p.opens for p in read_packets(data)] == [True, False, False]


@pytest.mark.parametrize(
    ("data", "why"),
    [(b"", "not a pcap"), (bytes(40), "not a pcap"), (pcap("<", 0xA1B2C3D4, link_type=113), "113")],
)
def test_what_is_no_such_file_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(NotCaptured, match=why):
        list(read_packets(data))


@contextlib.contextmanager
def ear(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((address, 0))
        yield sock


@pytest.mark.needs("capture")
def test_a_real_capture_gives_back_the_datagrams_with_monotonic_stamps(tmp_path: Path) -> None:
    watched, other = address_of(9000), address_of(9001)
    file = tmp_path / "lo.pcap"
    sent: list[tuple[float, bytes]] = []
    with (
        ear(watched) as ours,
        ear(other) as theirs,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link,
        Capture(file, [watched]) as recorded,
    ):
        for number in range(50):
            payload = rtp(mix((0, 100 + number)), timestamp=number * 160)
            before = time.monotonic()
            link.sendto(payload, ours.getsockname())
            sent.append((before, payload))
            link.sendto(payload, theirs.getsockname())
            time.sleep(0.02)
        source = link.getsockname()
        with socket.create_server((watched, 0)) as server:
            door = server.getsockname()
            client = socket.create_connection(door, source_address=(watched, 0))
            client.close()
    packets = recorded.packets()
    links = {("127.0.0.1", source[1]), door}
    found = capture.datagrams_to(packets, watched, links)
    assert [d.data for d in found] == [payload for _, payload in sent]
    assert not capture.datagrams_to(packets, other, links)
    assert not capture.datagrams_to(packets, watched, set())
    assert max(abs(d.at_s - at_s) for d, (at_s, _) in zip(found, sent, strict=True)) < 0.02
    opened_s = capture.first_connection_s(packets, watched, links)
    assert opened_s is not None
    assert 0 < opened_s - sent[-1][0] < 5


@pytest.mark.needs("capture")
def test_a_capture_is_heard_by_the_decoder(tmp_path: Path) -> None:
    address = address_of(9002)
    with (
        ear(address) as ours,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link,
        Capture(tmp_path / "lo.pcap", [address]) as recorded,
    ):
        origin_s = math.floor(time.monotonic())
        first = math.ceil((time.monotonic() - origin_s) / 0.02) + 2
        for slot in range(first, first + 60):
            time.sleep(max(0.0, origin_s + slot * 0.02 - time.monotonic()))
            if not first + 25 <= slot < first + 45:
                link.sendto(rtp(mix((1, slot)), timestamp=slot * 160), ours.getsockname())
        links = {("127.0.0.1", link.getsockname()[1])}
    datagrams: list[Datagram] = capture.datagrams_to(recorded.packets(), address, links)
    heard = decoder.hear(datagrams, origin_s, first + 100)
    slots = np.flatnonzero(heard.voices == 2)
    assert len(slots) == 40
    assert slots[25] - slots[24] == 21
