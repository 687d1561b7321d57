"""Addresses of links: `host:port` for TCP as Toxiproxy writes them, `udp://…` for ours.

Messages of failures follow Go's net package, which Toxiproxy's clients see.
"""

import asyncio
import errno
import os
import socket
from dataclasses import dataclass, replace
from ipaddress import ip_address

from chaoskit.services.fault_proxy.refusals import Refusal, bad_body

Address = tuple[str, int]

UDP = "udp://"
DYNAMIC = "dynamic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Where a link listens.

    `typed`: as the request gave it, shown until the link is bound. `text`: names resolved, in
    Toxiproxy's spelling. `refusal`: why it cannot be listened on, raised only when it has to be,
    for Toxiproxy takes any text for a proxy that is created disabled.
    """

    transport: str
    typed: str
    text: str
    family: socket.AddressFamily = socket.AF_INET
    host: str = ""
    port: int = 0
    refusal: Refusal | None = None

    def bound_to(self, host: str, port: int) -> "Listen":
        """Return this place with the port that it got."""
        text = (UDP if self.transport == "udp" else "") + join(host, port)
        return replace(self, typed=text, text=text, port=port)


def transport_of(listen: str) -> str:
    """Return `udp` for an address with that scheme, else `tcp`."""
    return "udp" if listen.startswith(UDP) else "tcp"


def split(address: str) -> tuple[str, str]:
    """Return host and port of `host:port` or `[v6]:port`. Raises ValueError in Go's words."""
    if address.startswith("["):
        host, bracket, rest = address[1:].partition("]")
        if not bracket:
            raise ValueError(f"address {address}: missing ']' in address")
        if not rest.startswith(":"):
            raise ValueError(f"address {address}: missing port in address")
        return host, rest[1:]
    host, colon, port = address.rpartition(":")
    if not colon:
        raise ValueError(f"address {address}: missing port in address")
    if ":" in host:
        raise ValueError(f"address {address}: too many colons in address")
    return host, port


def dial_address(upstream: str) -> tuple[str, int]:
    """Return where to dial for `host:port`; no host is this machine. Raises ValueError."""
    host, port = split(upstream)
    return host or "127.0.0.1", _port(port, "tcp")


def join(host: str, port: int) -> str:
    """Return `host:port`, brackets round an IPv6 host."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def resolve(listen: str) -> Listen:
    """Return where `listen` says to listen; names are looked up, nothing is bound."""
    transport = transport_of(listen)
    address = listen.removeprefix(UDP)
    prefix = UDP if transport == "udp" else ""

    def refused(refusal: Refusal) -> Listen:
        return Listen(transport=transport, typed=listen, text=listen, refusal=refusal)

    try:
        host, port_text = split(address) if address else ("", "0")
        port = _port(port_text, transport)
        host = await _host(host, transport)
    except ValueError as error:
        return refused(Refusal(500, f"listen {transport}: {error}"))
    text = prefix + join(host, port)
    if transport == "udp" and (
        not host or ip_address(host).version != 4 or ip_address(host).is_unspecified
    ):
        return refused(bad_body(f"a udp:// link listens on one IPv4 address: {listen}"))
    if not host:
        family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
        host = "::" if family == socket.AF_INET6 else "0.0.0.0"
    else:
        family = socket.AF_INET if ip_address(host).version == 4 else socket.AF_INET6
    return Listen(transport=transport, typed=listen, text=text, family=family, host=host, port=port)


def bind_refusal(listen: Listen, error: OSError) -> Refusal:
    """Return the refusal of an address that could not be bound, in Go's words."""
    code = error.errno if error.errno is not None else errno.EINVAL
    reason = os.strerror(code)
    address = listen.text.removeprefix(UDP)
    return Refusal(
        500, f"listen {listen.transport} {address}: bind: {reason[0].lower()}{reason[1:]}"
    )


def _port(text: str, transport: str) -> int:
    if not text:
        return 0
    if text.isascii() and text.isdecimal():
        if int(text) > 65535:
            raise ValueError(f"address {text}: invalid port")
        return int(text)
    try:
        return socket.getservbyname(text, transport)
    except OSError:
        raise ValueError(f"lookup {transport}/{text}: unknown port") from None


async def _host(host: str, transport: str) -> str:
    """Return an IP address, IPv4 first as Go does; an empty host stays empty."""
    if not host:
        return ""
    try:
        return str(ip_address(host))
    except ValueError:
        pass
    loop = asyncio.get_running_loop()
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    try:
        found = await loop.getaddrinfo(host, None, type=kind)
    except (OSError, UnicodeError):
        raise ValueError(f"lookup {host}: no such host") from None
    found.sort(key=lambda info: info[0] != socket.AF_INET)
    return str(found[0][4][0])
