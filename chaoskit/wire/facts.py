"""What crowd shards report: one JSON object a line in `facts-<shard>.jsonl`.

Every fact has `t` (monotonic seconds) and a kind (`k` on the wire). `p` is the participant number.
Written by services.crowd alone, read by journal.facts and by oracles; the format is versioned by
the `shard` fact that opens each file.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

FACTS_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A fact; `t` = monotonic seconds at which it happened (not at which it was written)."""

    kind: ClassVar[str] = "fact"
    t: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardStarted(Fact):
    """First line of a file. `participants`: those this shard owns.

    `sentinel`: number of its sentinel ear, -1 for none.
    """

    kind: ClassVar[str] = "shard"
    version: int
    shard: str
    pid: int
    origin_s: float
    participants: list[int]
    sentinel: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt(Fact):
    """A participant begins join attempt `n` (1-based, counts over the whole run).

    `why`: arrival | lost | moved | rejected | failed | rejoin.
    """

    kind: ClassVar[str] = "attempt"
    p: int
    n: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LookedUp(Fact):
    """The directory told the participant where the event is now."""

    kind: ClassVar[str] = "looked_up"
    p: int
    room: int
    node: str
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected(Fact):
    """The directory or room said no. `by`: directory | room; `status`: HTTP or AudioBridge code."""

    kind: ClassVar[str] = "rejected"
    p: int
    by: str
    status: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalUp(Fact):
    """The signalling connection to `node` is open."""

    kind: ClassVar[str] = "signal_up"
    p: int
    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined(Fact):
    """The room server answered `joined`; `rtp_port` is the server's."""

    kind: ClassVar[str] = "joined"
    p: int
    room: int
    node: str
    generation: int
    rtp_port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstFrame(Fact):
    """First decoded beacon frame after a join (`t` = its arrival); `band` says who."""

    kind: ClassVar[str] = "first_frame"
    p: int
    room: int
    generation: int
    band: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost(Fact):
    """The participant noticed that something it had is gone.

    `plane`: api | signal | media. `why`: eof | reset | refused | timeout | kicked | destroyed |
    moved | left. `link`: the hop's name.
    """

    kind: ClassVar[str] = "lost"
    p: int
    plane: str
    link: str
    why: str
    room: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectFailed(Fact):
    """A request or connection could not be made on `link`; `why` as in Lost."""

    kind: ClassVar[str] = "conn_failed"
    p: int
    plane: str
    link: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Left(Fact):
    """The participant is out of the room. `why`: end | command | gave_up | moved | lost."""

    kind: ClassVar[str] = "left"
    p: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found(Fact):
    """The participant learned of generation `generation`. `how`: watch | poll | join."""

    kind: ClassVar[str] = "found"
    p: int
    generation: int
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage(Fact):
    """The directory granted or revoked the right to speak."""

    kind: ClassVar[str] = "stage"
    p: int
    granted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MicChanged(Fact):
    """A microphone changed to beacon | silence | private | closed; `index`: beacon index then."""

    kind: ClassVar[str] = "mic"
    p: int
    mic: str
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SentSymbol(Fact):
    """Once a second per speaker on air: beacon index `index` of band `band` was sent at `t`."""

    kind: ClassVar[str] = "sent"
    p: int
    band: int
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ear(Fact):
    """From slot `s` on, ear `p` has code `c` (audio.listening) until its next Ear fact.

    Valid up to the shard's last Mark.
    """

    kind: ClassVar[str] = "ear"
    p: int
    s: int
    c: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HeardSymbols(Fact):
    """About once a second, for each ear that hears: which index of which band played in slot `s`.

    `p`, `band`, `index`, `arrival_ms` (arrival of the datagram relative to `t`) are parallel lists.
    """

    kind: ClassVar[str] = "heard"
    s: int
    p: list[int]
    band: list[int]
    index: list[int]
    arrival_ms: list[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Net(Fact):
    """Cumulative media counters, parallel lists over the participants `p` that have an ear."""

    kind: ClassVar[str] = "net"
    p: list[int]
    received: list[int]
    missing: list[int]
    late: list[int]
    sent: list[int]
    transit_ms: list[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundTrip(Fact):
    """A request on a TCP link took `ms`."""

    kind: ClassVar[str] = "rtt"
    p: int
    link: str
    ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark(Fact):
    """All ears of the shard are judged up to slot `s` (exclusive).

    `lag_ms`: largest loop lag since the last mark; `unjudged`: frames that came late because the
    shard itself was late; `sentinel_missing`: sentinel frames not heard since the last mark.
    """

    kind: ClassVar[str] = "mark"
    shard: str
    s: int
    lag_ms: float
    unjudged: int
    sentinel_missing: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsent(Fact):
    """From slot `s` on, `n` frames of microphone `p` were due and never sent: the shard was late.

    `t` is when the first of them was due. A closed microphone has no frames, nor has one whose
    participant is out of the room.
    """

    kind: ClassVar[str] = "unsent"
    p: int
    s: int
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardStopped(Fact):
    """Last line of a shard that ended as planned."""

    kind: ClassVar[str] = "stopped"
    shard: str


_KINDS: dict[str, type[Fact]] = {c.kind: c for c in Fact.__subclasses__()}
_FIELDS: dict[type[Fact], tuple[str, ...]] = {
    c: tuple(f.name for f in fields(c)) for c in _KINDS.values()
}
_dumps: Callable[[Mapping[str, Any]], str] = json.JSONEncoder(separators=(",", ":")).encode


def encode_fact(fact: Fact) -> str:
    """Return the line for `fact`, newline included."""
    cls = type(fact)
    obj: dict[str, Any] = {"k": cls.kind}
    for name in _FIELDS[cls]:
        value = getattr(fact, name)
        obj[name] = round(value, 6) if isinstance(value, float) else value
    return _dumps(obj) + "\n"


def decode_fact(line: str | bytes) -> Fact:
    """Return the fact of one line. Raises ValueError for anything that is not a fact."""
    try:
        obj = json.loads(line)
        cls = _KINDS[obj.pop("k")]
        return cls(**obj)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"not a fact: {line[:80]!r}") from error
