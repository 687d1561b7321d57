"""What really crossed the loopback interface: tcpdump around a run, and its file read back.

The participants' source addresses (127.64.0.0/18, k = 256 a + b) are the filter. Stamps are turned
from the kernel's wall clock into CLOCK_MONOTONIC, on which a run's origin is given.
"""

import secrets
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.oracle.decoder import Datagram

_BUFFER_KIB = 65_536
_START_S = 10.0
_STOP_S = 10.0
_TAIL_BYTES = 1 << 20
_SECOND = {0xA1B2C3D4: 1e-6, 0xA1B23C4D: 1e-9}
_ETHERNET = 1
_IPV4 = 0x0800
_TCP = 6
_UDP = 17
_SYN, _ACK = 0x02, 0x10


def address_of(participant: int) -> str:
    """Return the source address of participant k: 127.64.a.b with k = 256 a + b."""
    return f"127.64.{participant >> 8}.{participant & 255}"


def wall_ahead_s() -> float:
    """Return wall clock minus monotonic clock, in seconds: the narrowest of some readings."""
    readings = []
    for _ in range(20):
        before = time.monotonic()
        wall = time.time()
        after = time.monotonic()
        readings.append((after - before, wall - (before + after) / 2))
    return min(readings)[1]


class NotCaptured(Exception):
    """The capture could not be made, or is not all that crossed the interface."""


class Capture:
    """tcpdump on lo while the block runs: all UDP to and from some addresses, and their SYNs.

    Raises NotCaptured when tcpdump does not start, or when the kernel dropped a packet.
    """

    def __init__(self, file: Path, addresses: Sequence[str]) -> None:
        """Write to `file` what concerns `addresses`."""
        self.file = file
        self._watched = addresses[0]
        who = " or ".join(f"host {address}" for address in addresses)
        self._filter = f"({who}) and (udp or tcp[tcpflags] & tcp-syn != 0)"
        self._wall_ahead_s = 0.0

    def __enter__(self) -> Self:
        """Return when packets are being captured."""
        command = ["tcpdump", "-i", "lo", "-n", "-p", "-s", "0", "-B", str(_BUFFER_KIB)]
        # -Z root: the file lies in a folder that only this user may write to.
        command += ["-Z", "root", "-w", str(self.file), "--immediate-mode", "-U", self._filter]
        self._wall_ahead_s = wall_ahead_s()
        self._log = self.file.with_suffix(".log")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
        deadline = time.monotonic() + _START_S
        while "listening on" not in self._log.read_text():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._process.kill()
                raise NotCaptured(f"tcpdump did not start: {self._log.read_text()}")
            time.sleep(0.01)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop tcpdump and see that it lost nothing."""
        try:
            if error is None:
                self._wait_for_all()
            self._process.send_signal(signal.SIGINT)
            self._process.wait(_STOP_S)
        finally:
            self._process.kill()
            self._process.wait()
        log = self._log.read_text()
        if error is None and "\n0 packets dropped by kernel" not in log:
            raise NotCaptured(f"the capture is not whole:\n{log}")
        drift_s = abs(wall_ahead_s() - self._wall_ahead_s)
        if error is None and drift_s > 0.005:
            raise NotCaptured(f"the wall clock was set by {drift_s * 1000:.0f} ms meanwhile")

    def _wait_for_all(self) -> None:
        """Return when a last datagram of our own is in the file, and so all before it are."""
        last = secrets.token_bytes(16)
        deadline = time.monotonic() + _STOP_S
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(last, (self._watched, 9))
        while last not in self._tail():
            if time.monotonic() > deadline:
                raise NotCaptured("the last datagram did not reach the capture file")
            time.sleep(0.05)

    def _tail(self) -> bytes:
        with self.file.open("rb") as pcap:
            pcap.seek(max(0, self.file.stat().st_size - _TAIL_BYTES))
            return pcap.read()

    def packets(self) -> "list[Packet]":
        """Return what was captured, stamped on CLOCK_MONOTONIC."""
        with self.file.open("rb") as pcap:
            data = pcap.read()
        return [packet.earlier(self._wall_ahead_s) for packet in read_packets(data)]


@dataclass(frozen=True, slots=True)
class Packet:
    """One IPv4 packet. `opens`: a TCP SYN without ACK. `payload` is that of UDP, else empty."""

    at_s: float
    is_udp: bool
    source: tuple[str, int]
    target: tuple[str, int]
    payload: bytes
    opens: bool = False

    def earlier(self, by_s: float) -> "Packet":
        """Return the packet with another stamp."""
        return Packet(
            self.at_s - by_s, self.is_udp, self.source, self.target, self.payload, self.opens
        )


def read_packets(data: bytes) -> Iterator[Packet]:
    """Yield TCP and UDP packets over IPv4 of a pcap file; what is cut short ends it.

    Any byte order, microseconds or nanoseconds, link type Ethernet. Raises NotCaptured for others.
    """
    for order in "<", ">":
        unit_s = _SECOND.get(struct.unpack_from(order + "I", data)[0] if len(data) >= 24 else 0)
        if unit_s is not None:
            break
    else:
        raise NotCaptured(f"not a pcap file: {data[:4].hex()}")
    link_type = struct.unpack_from(order + "I", data, 20)[0] & 0x0FFFFFFF
    if link_type != _ETHERNET:
        raise NotCaptured(f"link type {link_type} is not Ethernet")
    record = struct.Struct(order + "IIII")
    place = 24
    while place + record.size <= len(data):
        seconds, fraction, kept, _ = record.unpack_from(data, place)
        place += record.size
        if place + kept > len(data):
            return
        packet = _parse(data[place : place + kept], seconds + fraction * unit_s)
        place += kept
        if packet is not None:
            yield packet


def _parse(frame: bytes, at_s: float) -> Packet | None:
    if len(frame) < 34 or int.from_bytes(frame[12:14], "big") != _IPV4:
        return None
    start = 14 + 4 * (frame[14] & 15)
    protocol = frame[23]
    if protocol not in (_TCP, _UDP) or len(frame) < start + 8:
        return None
    source_port, target_port, udp_length = struct.unpack_from("!HHH", frame, start)
    source = (socket.inet_ntoa(frame[26:30]), source_port)
    target = (socket.inet_ntoa(frame[30:34]), target_port)
    if protocol == _UDP:
        return Packet(at_s, True, source, target, frame[start + 8 : start + udp_length])
    flags = frame[start + 13] if len(frame) > start + 13 else 0
    return Packet(at_s, False, source, target, b"", flags & (_SYN | _ACK) == _SYN)


def datagrams_to(
    packets: Iterable[Packet], address: str, links: Collection[tuple[str, int]]
) -> list[Datagram]:
    """Return the datagrams that reached `address` from any of `links`, in order of arrival.

    Another run on the same machine has the same addresses, but never the same links.
    """
    found = [
        Datagram(p.at_s, p.source, p.target, p.payload)
        for p in packets
        if p.is_udp and p.target[0] == address and p.source in links
    ]
    return sorted(found, key=lambda datagram: datagram.at_s)


def first_connection_s(
    packets: Iterable[Packet], address: str, links: Collection[tuple[str, int]]
) -> float | None:
    """Return when `address` first opened a connection to a link: its first join attempt."""
    return min(
        (p.at_s for p in packets if p.opens and p.source[0] == address and p.target in links),
        default=None,
    )
