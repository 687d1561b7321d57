"""A link: what Toxiproxy calls a proxy. Common to TCP and UDP: its toxics, faults and numbers."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from chaoskit.services.fault_proxy.addresses import Listen, transport_of
from chaoskit.services.fault_proxy.gojson import Object
from chaoskit.services.fault_proxy.refusals import bad_body
from chaoskit.services.fault_proxy.relay import Relay
from chaoskit.services.fault_proxy.stream import Direction, Stream
from chaoskit.services.fault_proxy.tally import Effects, Tally
from chaoskit.services.fault_proxy.toxic import Toxic, ToxicChain


class Link(ABC):
    """One listening address, one upstream, and the faults in between.

    Every method runs in the loop's thread and returns without waiting for data, so no control call
    can hang on a peer.
    """

    transport: str

    def __init__(self, relay: Relay, name: str, listen: Listen, upstream: str) -> None:
        """A link starts out stopped. Raises Refusal 400 for an upstream that it cannot have."""
        self.check_upstream(upstream)
        self.relay = relay
        self.name = name
        self.listen = listen
        self.upstream = upstream
        self.enabled = False
        self.toxics = ToxicChain(name, self.transport, relay.seed)
        self.effects = Effects()
        self.retired = {direction: Tally() for direction in Direction}
        """Numbers of connections or flows that are gone."""

    @abstractmethod
    def start(self) -> None:
        """Serve clients; once bound, `listen` says where. Raises Refusal 500 when it cannot be."""

    @abstractmethod
    def stop(self, *, reset: bool = False) -> None:
        """Cut all clients off and take no new ones; `reset`: TCP clients see RST, not EOF."""

    @abstractmethod
    def close(self) -> None:
        """Stop for good and free the address."""

    @abstractmethod
    def streams(self, direction: Direction) -> Iterable[Stream]:
        """Return the live streams of one direction."""

    @abstractmethod
    def numbers(self) -> dict[str, Any]:
        """Return what this transport counts besides units: connections or flows."""

    def same_place(self, listen: Listen, upstream: str) -> bool:
        """Whether `listen` and `upstream` are what the link has now, in Toxiproxy's sense."""
        return self.listen.typed == listen.text and self.upstream == upstream

    def check_upstream(self, upstream: str) -> None:
        """Raise Refusal 400 when this kind of link cannot have `upstream`."""
        if transport_of(upstream) != self.transport:
            raise bad_body(f"upstream does not fit a {self.transport} link: {upstream}")

    def move(self, listen: Listen, upstream: str) -> None:
        """Take another address and a checked upstream; the link must be closed."""
        self.listen = listen
        self.upstream = upstream

    def add_toxic(self, body: Object, *, cohort: str = "") -> Toxic:
        """Add a toxic to the link and to all its live streams. Raises Refusal 400 or 409."""
        toxic = self.toxics.add(body, cohort=cohort)
        self.effects.clear()
        for stream in list(self.streams(toxic.direction)):
            stream.attach(toxic)
        self.toxics_changed()
        self.relay.events.add("toxic_added", link=self.name, toxic=toxic.name)
        return toxic

    def update_toxic(self, name: str, body: Object) -> Toxic:
        """Change a toxic's attributes or toxicity. Raises Refusal 404 or 400."""
        toxic = self.toxics.get(name)
        toxic.change(body)
        self.effects.clear()
        for stream in list(self.streams(toxic.direction)):
            stream.update(toxic)
        self.relay.events.add("toxic_updated", link=self.name, toxic=toxic.name)
        return toxic

    def remove_toxic(self, toxic: Toxic, *, why: str | None = None) -> None:
        """Remove a toxic from the link and from all its live streams."""
        self.toxics.remove(toxic)
        for stream in list(self.streams(toxic.direction)):
            stream.detach(toxic)
        self.toxics_changed()
        self.relay.events.add("toxic_removed", link=self.name, toxic=toxic.name, detail=why)

    def toxics_changed(self) -> None:  # noqa: B027  (TCP has nothing to follow)
        """Follow a change of the set of toxics."""

    def to_json(self) -> dict[str, Any]:
        """Return Toxiproxy's form of a proxy."""
        return {
            "name": self.name,
            "listen": self.listen.typed,
            "upstream": self.upstream,
            "enabled": self.enabled,
            "toxics": self.toxics.to_json(),
        }

    def tally(self, direction: Direction) -> Tally:
        """Return the numbers of one direction, gone connections or flows included."""
        total = Tally()
        total.add(self.retired[direction])
        for stream in self.streams(direction):
            total.add(stream.tally)
        return total

    def counters(self) -> dict[str, Any]:
        """Return all live numbers of the link."""
        return {
            "name": self.name,
            "transport": self.transport,
            "enabled": self.enabled,
            **self.numbers(),
            "up": self.tally(Direction.UPSTREAM).to_json(),
            "down": self.tally(Direction.DOWNSTREAM).to_json(),
            "toxics": {toxic.name: toxic.tally.to_json() for toxic in self.toxics},
            "affected_clients": len(self.effects.clients),
            "first_effect_s": self.effects.first_s,
            "last_effect_s": self.effects.last_s,
        }
