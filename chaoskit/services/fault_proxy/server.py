"""The fault proxy as a whole: relay, links, control API, from start to stop."""

import asyncio
import socket
from ipaddress import ip_address

from aiohttp import web

from chaoskit.services.fault_proxy.api import ToxiproxyApi, application
from chaoskit.services.fault_proxy.extensions import Extensions
from chaoskit.services.fault_proxy.lag import LagMeter
from chaoskit.services.fault_proxy.link import Link
from chaoskit.services.fault_proxy.link_table import LinkTable
from chaoskit.services.fault_proxy.refusals import Refusal
from chaoskit.services.fault_proxy.relay import Relay
from chaoskit.services.fault_proxy.tenure import FaultBook


class FaultProxy:
    """Serves the control API on one address, and whatever links it is told to make."""

    def __init__(self, *, host: str, port: int, seed: int, token: str | None = None) -> None:
        """`port` 0 takes a free one. Raises ValueError: open to others, but without a token."""
        if token is None and not _is_loopback(host):
            raise ValueError(f"a control API on {host} needs a token: others can reach it")
        self._host = host
        self._wanted_port = port
        self._seed = seed
        self._token = token
        self.port = 0

    async def start(self) -> None:
        """Serve. Raises OSError when the address cannot be bound."""
        loop = asyncio.get_running_loop()
        self._relay = Relay.on(loop, seed=self._seed)
        self._table = LinkTable(self._relay)
        book = FaultBook(self._relay, self._is_there)
        self._lag = LagMeter(loop)
        routes = [
            *ToxiproxyApi(self._table, book).routes(),
            *Extensions(self._relay, self._table, book, self._lag).routes(),
        ]
        self._runner = web.AppRunner(
            application(routes, token=self._token), access_log=None, shutdown_timeout=0.5
        )
        await self._runner.setup()
        sock = socket.socket(
            socket.AF_INET6 if ":" in self._host else socket.AF_INET, socket.SOCK_STREAM
        )
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((self._host, self._wanted_port))
        except OSError:
            sock.close()
            raise
        await web.SockSite(self._runner, sock).start()
        self.port = sock.getsockname()[1]

    async def stop(self) -> None:
        """Cut all links, answer no more."""
        self._table.close()
        self._lag.stop()
        await self._runner.cleanup()
        self._relay.poller.close()

    def _is_there(self, link: Link) -> bool:
        try:
            return self._table.get(link.name) is link
        except Refusal:
            return False


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
