"""A toxic as it is configured on a link, and the ordered collection of a link's toxics."""

from collections.abc import Iterator
from typing import Any

from chaoskit.services.fault_proxy import gojson
from chaoskit.services.fault_proxy.addresses import Address
from chaoskit.services.fault_proxy.fields import Attributes, read_attributes, show_attributes
from chaoskit.services.fault_proxy.gojson import Object
from chaoskit.services.fault_proxy.keyed_random import KeyedRandom
from chaoskit.services.fault_proxy.refusals import (
    Refusal,
    bad_body,
    invalid_stream,
    invalid_toxic_type,
    toxic_exists,
    toxic_not_found,
)
from chaoskit.services.fault_proxy.stream import Direction, Stage
from chaoskit.services.fault_proxy.tally import ToxicTally
from chaoskit.services.fault_proxy.toxics import REGISTRY


class Toxic:
    """One toxic of one link: its settings, its numbers and its random sequences.

    It is rolled once for each connection or flow (client address), and the roll is kept until
    that connection ends: changes of its settings or of its neighbours never roll again. With a
    `cohort` it is decided by seed, cohort and client host alone, so that all toxics of the cohort
    hit the same clients, on every link and after every reconnect.
    """

    def __init__(
        self,
        *,
        name: str,
        kind: type[Stage],
        stream: str,
        toxicity: float,
        attributes: Attributes,
        transport: str,
        seed: int,
        link: str,
        cohort: str,
    ) -> None:
        """`stream` is kept as the client spelled it; `seed` and `link` key the random sequences."""
        self.name = name
        self.stage_class = kind
        self.stream = stream
        self.direction = Direction(stream.lower())
        self.toxicity = toxicity
        self.attributes = attributes
        self.tally = ToxicTally()
        self.memory: dict[str, object] = {}
        """State that a toxic keeps for each client host, across its connections."""
        self.cohort = cohort
        self._transport = transport
        self._seed = seed
        self._link = link
        self._rolls: dict[Address, bool] = {}
        self._toxicity_of: dict[str, KeyedRandom] = {}

    def random_of(self, client_host: str, purpose: str) -> KeyedRandom:
        """Return a new random sequence of this toxic for `client_host` and `purpose`."""
        return KeyedRandom(
            self._seed, self._link, client_host, self.direction.value, self.name, purpose
        )

    def applies_to(self, client: Address) -> bool:
        """Whether the toxic acts on the connection or flow of `client`; decided once."""
        roll = self._rolls.get(client)
        if roll is None:
            roll = self._rolls[client] = self._roll(client[0])
        return roll

    def _roll(self, client_host: str) -> bool:
        if self.cohort:
            sequence = KeyedRandom(self._seed, "cohort", self.cohort, client_host)
            return sequence.chance(self.toxicity)
        known = self._toxicity_of.get(client_host)
        if known is None:
            known = self._toxicity_of[client_host] = self.random_of(client_host, "toxicity")
        return known.chance(self.toxicity)

    def forget(self, client: Address) -> None:
        """Drop the roll of a connection or flow that ended."""
        self._rolls.pop(client, None)

    def change(self, body: Object) -> None:
        """Merge an update's `attributes` and `toxicity`. Raises Refusal 400 and changes nothing."""
        attributes = _attributes(self.stage_class, self._transport, body, self.attributes)
        toxicity = gojson.float32(body.number("toxicity", self.toxicity))
        self.attributes, self.toxicity = attributes, toxicity

    def to_json(self) -> dict[str, Any]:
        """Return Toxiproxy's form of a toxic, and its cohort if it has one."""
        return {
            "attributes": show_attributes(self.stage_class.fields, self.attributes),
            "name": self.name,
            "type": self.stage_class.kind,
            "stream": self.stream,
            "toxicity": gojson.shortest(self.toxicity),
            **({"cohort": self.cohort} if self.cohort else {}),
        }


class ToxicChain:
    """The toxics of a link, in the order in which they were added."""

    def __init__(self, link: str, transport: str, seed: int) -> None:
        """`link` and `seed` key the random sequences of the toxics made here."""
        self._link = link
        self._transport = transport
        self._seed = seed
        self._toxics: dict[str, Toxic] = {}

    def __iter__(self) -> Iterator[Toxic]:
        return iter(self._toxics.values())

    def __len__(self) -> int:
        return len(self._toxics)

    def __contains__(self, toxic: Toxic) -> bool:
        return self._toxics.get(toxic.name) is toxic

    def of(self, direction: Direction) -> list[Toxic]:
        """Return the toxics of one direction, oldest first."""
        return [toxic for toxic in self._toxics.values() if toxic.direction is direction]

    def get(self, name: str) -> Toxic:
        """Return a toxic. Raises Refusal 404."""
        try:
            return self._toxics[name]
        except KeyError:
            raise toxic_not_found() from None

    def add(self, body: Object, *, cohort: str = "") -> Toxic:
        """Make a toxic from a request and append it. Raises Refusal 400 or 409."""
        name, type_name = body.text("name", ""), body.text("type", "")
        stream = body.text("stream", "downstream")
        toxicity = gojson.float32(body.number("toxicity", 1.0))
        if stream.lower() not in list(Direction):
            raise invalid_stream()
        kind = REGISTRY.get(type_name)
        if kind is None:
            raise invalid_toxic_type()
        if self._transport not in kind.transports:
            raise Refusal(400, f"{type_name} does not work on a {self._transport} link")
        name = name or f"{type_name}_{stream}"
        if name in self._toxics:
            raise toxic_exists()
        toxic = Toxic(
            name=name,
            kind=kind,
            stream=stream,
            toxicity=toxicity,
            attributes=_attributes(kind, self._transport, body, {}),
            transport=self._transport,
            seed=self._seed,
            link=self._link,
            cohort=cohort,
        )
        self._toxics[name] = toxic
        return toxic

    def remove(self, toxic: Toxic) -> None:
        """Take `toxic` out of the chain."""
        del self._toxics[toxic.name]

    def forget(self, client: Address) -> None:
        """Drop all rolls of a connection or flow that ended."""
        for toxic in self._toxics.values():
            toxic.forget(client)

    def to_json(self) -> list[dict[str, Any]]:
        """Return Toxiproxy's array: upstream toxics first, each direction in order of adding."""
        return [toxic.to_json() for direction in Direction for toxic in self.of(direction)]


def _attributes(kind: type[Stage], transport: str, body: Object, current: Attributes) -> Attributes:
    attributes = read_attributes(kind.fields, transport, Object(), current)
    for source in body.objects("attributes"):
        attributes = read_attributes(kind.fields, transport, source, attributes)
    wrong = kind.check(attributes)
    if wrong is not None:
        raise bad_body(wrong)
    return attributes
