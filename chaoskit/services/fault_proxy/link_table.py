"""All links by name, and the operations of Toxiproxy's API on them.

Names are resolved first (the only wait); from then on each operation is a plain call in the loop's
thread, so two requests never see half of each other's change.
Source: Toxiproxy 2.12.0, `proxy_collection.go` and `proxy.go`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from chaoskit.services.fault_proxy.addresses import Listen, resolve
from chaoskit.services.fault_proxy.gojson import Object
from chaoskit.services.fault_proxy.link import Link
from chaoskit.services.fault_proxy.refusals import (
    Refusal,
    bad_body,
    missing_field,
    proxy_exists,
    proxy_not_found,
)
from chaoskit.services.fault_proxy.relay import Relay
from chaoskit.services.fault_proxy.tcp_link import TcpLink
from chaoskit.services.fault_proxy.udp_link import UdpLink

LOOPBACK = ("127.0.0.1",)
"""Peers that a UDP link allows unless told otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A link as a request describes it."""

    name: str
    listen: str
    upstream: str
    enabled: bool
    allowed_peers: tuple[str, ...]


def read_wanted(body: Object, *, at: str = "") -> Wanted:
    """Read a link from a create or populate request. Raises Refusal 400; `at` ends its message."""
    wanted = Wanted(
        name=body.text("name", ""),
        listen=body.text("listen", ""),
        upstream=body.text("upstream", ""),
        enabled=body.flag("enabled", True),
        allowed_peers=body.texts("allowed_peers", LOOPBACK),
    )
    if not wanted.name:
        raise missing_field(f"name{at}")
    if not wanted.upstream:
        raise missing_field(f"upstream{at}")
    if "/" in wanted.name:
        raise bad_body(f"name must not contain '/': {wanted.name}")
    return wanted


class LinkTable:
    """The links of one relay."""

    def __init__(self, relay: Relay) -> None:
        """Start without links."""
        self._relay = relay
        self._links: dict[str, Link] = {}

    def __iter__(self) -> Iterator[Link]:
        """Iterate by name, in order."""
        return iter([self._links[name] for name in sorted(self._links)])

    def get(self, name: str) -> Link:
        """Return a link. Raises Refusal 404."""
        try:
            return self._links[name]
        except KeyError:
            raise proxy_not_found() from None

    async def create(self, wanted: Wanted) -> Link:
        """Add a link. Raises Refusal 409, 400 or 500."""
        if wanted.name in self._links:
            raise proxy_exists()
        listen = await resolve(wanted.listen)
        if wanted.name in self._links:
            raise proxy_exists()
        link = self._make(wanted, listen)
        if wanted.enabled:
            link.start()
        self._links[link.name] = link
        self._relay.events.add("link_created", link=link.name, detail=link.listen.typed)
        return link

    async def populate(self, all_wanted: list[Wanted]) -> tuple[list[Link], Refusal | None]:
        """Add or replace links in order, up to the first that fails.

        A link that is there already with the same listen and upstream stays as it is. Returns
        those that were made or kept, and what stopped it.
        """
        made: list[Link] = []
        for wanted in all_wanted:
            try:
                made.append(self._add_or_replace(wanted, await resolve(wanted.listen)))
            except Refusal as refusal:
                return made, refusal
        return made, None

    def _add_or_replace(self, wanted: Wanted, listen: Listen) -> Link:
        existing = self._links.get(wanted.name)
        if existing is None:
            link = self._make(wanted, listen)
            if wanted.enabled:
                link.start()
            self._links[link.name] = link
            return link
        if listen.refusal is not None:
            raise listen.refusal
        if existing.same_place(listen, wanted.upstream) and _same_peers(existing, wanted):
            return existing
        link = self._make(wanted, listen)
        was_enabled = existing.enabled
        existing.close()
        try:
            if wanted.enabled:
                link.start()
        except Refusal:
            if was_enabled:
                existing.start()
            raise
        self._links[link.name] = link
        self._relay.events.add("link_replaced", link=link.name, detail=link.listen.typed)
        return link

    async def update(self, name: str, body: Object, *, reset: bool) -> Link:
        """Merge `listen`, `upstream` and `enabled` into a link.

        A real change of listen or upstream closes the connections; when the new address cannot be
        bound, the link goes back to the old one. `reset`: connections that are cut see RST.
        Raises Refusal 404, 400 or 500.
        """
        link = self.get(name)
        listen_text = body.text("listen", link.listen.typed)
        upstream = body.text("upstream", link.upstream)
        enabled = body.flag("enabled", link.enabled)
        listen = await resolve(listen_text)
        link = self.get(name)
        if listen.transport != link.transport:
            raise bad_body(f"a {link.transport} link cannot become a {listen.transport} link")
        if listen.refusal is not None:
            raise listen.refusal
        link.check_upstream(upstream)
        if not link.same_place(listen, upstream):
            self._move(link, listen, upstream, enabled=enabled)
        if enabled and not link.enabled:
            link.start()
            self._relay.events.add("link_enabled", link=name)
        elif not enabled and link.enabled:
            link.effects.clear()
            link.stop(reset=reset)
            self._relay.events.add("link_disabled", link=name, detail="reset" if reset else None)
        return link

    def _move(self, link: Link, listen: Listen, upstream: str, *, enabled: bool) -> None:
        old_listen, old_upstream, was_enabled = link.listen, link.upstream, link.enabled
        link.close()
        try:
            link.move(listen, upstream)
            if enabled:
                link.start()
        except Refusal:
            link.close()
            link.move(old_listen, old_upstream)
            if was_enabled:
                link.start()
            raise
        self._relay.events.add("link_moved", link=link.name, detail=f"{listen.text} {upstream}")

    def delete(self, name: str) -> Link:
        """Remove a link and cut its connections. Raises Refusal 404."""
        link = self.get(name)
        del self._links[name]
        link.close()
        self._relay.events.add("link_deleted", link=name)
        return link

    def reset(self) -> None:
        """Start every stopped link, remove every toxic. Raises Refusal 500 at the first failure."""
        for link in self:
            if not link.enabled:
                link.start()
                self._relay.events.add("link_enabled", link=link.name, detail="reset")
            for toxic in list(link.toxics):
                link.remove_toxic(toxic, why="reset")

    def close(self) -> None:
        """Stop all links."""
        for link in self:
            link.close()

    def _make(self, wanted: Wanted, listen: Listen) -> Link:
        if listen.transport == "udp":
            return UdpLink(self._relay, wanted.name, listen, wanted.upstream, wanted.allowed_peers)
        return TcpLink(self._relay, wanted.name, listen, wanted.upstream)


def _same_peers(link: Link, wanted: Wanted) -> bool:
    return not isinstance(link, UdpLink) or link.allowed_peers == wanted.allowed_peers
