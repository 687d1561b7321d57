"""The in-band control messages of a UDP link with dynamic peers, and a client for its own socket.

A room server that gives each participant a port of its own cannot stand behind one fixed upstream.
So a participant asks the link for a flow from its media socket, announces the relay's server-side
address to the room server, and names the room server's address to the relay once it knows it:

    client → link   CKOPEN <nonce>                 link → client   CKOPENED <nonce> <ip> <port>
    client → link   CKPEER <nonce> <ip> <port>     link → client   CKPEERED <nonce>
                                                   link → client   CKERR <nonce> <reason>

ASCII, one datagram a message, fields parted by one space. RTP (version 2) starts with the bits 10,
these messages with 01, so both share one socket. A link that is cut or blackholed answers nothing;
the client repeats its message every 100 ms until its own timeout. The same nonce opens the same
flow; a new nonce after a peer was named opens a fresh one.
Source: DESIGN.md section 10 ("UDP links with dynamic peers").
"""

import asyncio
import re
import secrets
import socket
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address

RETRY_S = 0.1
"""Seconds between two sendings of the same message."""

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Open:
    """Client → link: give me a flow."""

    nonce: str


@dataclass(frozen=True, slots=True)
class Opened:
    """Link → client: the flow's server-side address, to be announced to the room server."""

    nonce: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Peer:
    """Client → link: the room server's address for this flow."""

    nonce: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Peered:
    """Link → client: the flow now relays to and from the named peer."""

    nonce: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Link → client: the message cannot be served; `reason` is one word."""

    nonce: str
    reason: str


Message = Open | Opened | Peer | Peered | Refused


class LinkRefused(Exception):
    """The link answered CKERR; the text is its reason."""


_NONCE = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_WORD = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_LONGEST = 160  # bytes: two words, an IPv4 address, a port


def new_nonce() -> str:
    """Return a nonce that no other open attempt uses."""
    return secrets.token_hex(4)


def is_control(datagram: bytes) -> bool:
    """Whether `datagram` is a control message and not RTP version 2. An empty one is neither."""
    return len(datagram) > 0 and datagram[0] & 0xC0 != 0x80


def encode(message: Message) -> bytes:
    """Return the datagram of `message`. Raises ValueError when a field cannot be sent."""
    match message:
        case Open(nonce):
            fields = ["CKOPEN", nonce]
        case Opened(nonce, host, port):
            fields = ["CKOPENED", nonce, host, str(port)]
        case Peer(nonce, host, port):
            fields = ["CKPEER", nonce, host, str(port)]
        case Peered(nonce):
            fields = ["CKPEERED", nonce]
        case Refused(nonce, reason):
            fields = ["CKERR", nonce, reason]
    datagram = " ".join(fields).encode("ascii", "replace")
    if decode(datagram) != message:
        raise ValueError(f"not a sendable message: {message}")
    return datagram


def decode(datagram: bytes) -> Message | None:
    """Return the message in `datagram`, or None when it is not a well-formed one."""
    if len(datagram) > _LONGEST or not datagram.startswith(b"CK"):
        return None
    try:
        word, *fields = datagram.decode("ascii").split(" ")
    except UnicodeDecodeError:
        return None
    if not fields or not _NONCE.match(fields[0]):
        return None
    match word, fields:
        case "CKOPEN", [nonce]:
            return Open(nonce)
        case "CKPEERED", [nonce]:
            return Peered(nonce)
        case "CKERR", [nonce, reason] if _WORD.match(reason):
            return Refused(nonce, reason)
        case "CKOPENED", [nonce, host, port] if _is_address(host, port):
            return Opened(nonce, host, int(port))
        case "CKPEER", [nonce, host, port] if _is_address(host, port):
            return Peer(nonce, host, int(port))
        case _:
            return None


def nonce_of(datagram: bytes) -> str | None:
    """Return the nonce of a message that `decode` refused, so that the refusal can be answered."""
    fields = datagram[:_LONGEST].decode("ascii", "replace").split(" ")
    if len(fields) > 1 and fields[0].startswith("CK") and _NONCE.match(fields[1]):
        return fields[1]
    return None


def _is_address(host: str, port: str) -> bool:
    try:
        IPv4Address(host)
    except AddressValueError:
        return False
    return port.isdecimal() and port == str(int(port)) and 0 < int(port) < 65536


class Exchange:
    """One request and its answer, without a socket: for clients that own a receive loop.

    Send `datagram` to the link at once and again whenever `due(now)` says so; hand every control
    datagram to `receive`. It never sleeps and reads no clock.
    """

    __slots__ = ("_due_s", "answer", "datagram", "request")

    def __init__(self, request: Open | Peer) -> None:
        """Prepare `request`; nothing is sent here."""
        self.request = request
        self.datagram = encode(request)
        self.answer: Opened | Peered | Refused | None = None
        self._due_s = float("-inf")

    def due(self, now_s: float) -> bool:
        """Whether to send `datagram` now; a True counts as sent at `now_s` (any clock, seconds)."""
        if self.answer is not None or now_s < self._due_s:
            return False
        self._due_s = now_s + RETRY_S
        return True

    def receive(self, datagram: bytes) -> bool:
        """Take `datagram` if it answers this request; return whether it did."""
        message = decode(datagram)
        wanted = Opened if isinstance(self.request, Open) else Peered
        if not isinstance(message, (wanted, Refused)) or message.nonce != self.request.nonce:
            return False
        self.answer = message
        return True


async def open_flow(
    sock: socket.socket, link: Address, *, nonce: str, timeout_s: float = 5.0
) -> Address:
    """Ask `link` for a flow of `sock` and return the relay's server-side address.

    sock: non-blocking UDP socket that nobody else reads meanwhile; RTP that arrives is discarded.
    Raises TimeoutError when the link stays silent, LinkRefused when it says no.
    """
    answer = await _exchange(sock, link, Exchange(Open(nonce)), timeout_s)
    assert isinstance(answer, Opened)
    return answer.host, answer.port


async def name_peer(
    sock: socket.socket, link: Address, peer: Address, *, nonce: str, timeout_s: float = 5.0
) -> None:
    """Tell `link` that the flow of `sock` relays to and from `peer`.

    Same socket rules and errors as `open_flow`; the nonce is that of the flow.
    """
    await _exchange(sock, link, Exchange(Peer(nonce, *peer)), timeout_s)


async def _exchange(
    sock: socket.socket, link: Address, exchange: Exchange, timeout_s: float
) -> Opened | Peered:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(timeout_s):
        while exchange.answer is None:
            await loop.sock_sendto(sock, exchange.datagram, link)
            try:
                async with asyncio.timeout(RETRY_S):
                    while exchange.answer is None:
                        exchange.receive(await loop.sock_recv(sock, 2048))
            except TimeoutError:
                continue
    if isinstance(exchange.answer, Refused):
        raise LinkRefused(exchange.answer.reason)
    return exchange.answer
