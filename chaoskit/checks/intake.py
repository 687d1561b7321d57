"""The crowd's facts, sorted once by what the history needs them for."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from chaoskit.wire.facts import (
    Ear,
    Fact,
    HeardSymbols,
    Mark,
    Net,
    RoundTrip,
    SentSymbol,
    ShardStarted,
    ShardStopped,
    Unsent,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardLife:
    """What one shard process said of itself.

    `judged_slot`: its ears are judged up to there (exclusive). `late_frames`: frames left unjudged
    because the shard was late. `sentinel`: number of its sentinel ear, -1 for none.
    """

    name: str
    participants: tuple[int, ...]
    judged_slot: int = 0
    stopped: bool = False
    max_lag_ms: float = 0.0
    late_frames: int = 0
    sentinel: int = -1


@dataclass(slots=True, kw_only=True)
class Intake:
    """Facts by what the history needs them for."""

    shards: tuple[ShardLife, ...] = ()
    ears: dict[int, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    own: dict[int, list[tuple[float, Fact]]] = field(default_factory=lambda: defaultdict(list))
    heard: list[HeardSymbols] = field(default_factory=list)
    sent: list[SentSymbol] = field(default_factory=list)
    unsent: list[Unsent] = field(default_factory=list)

    @classmethod
    def of(cls, facts: Iterable[Fact], origin_s: float) -> "Intake":
        """Return `facts` sorted; those of participants as (run time, fact)."""
        out = cls()
        shards: dict[str, ShardLife] = {}
        for fact in facts:
            if type(fact) is Ear:
                out.ears[fact.p].append((fact.s, fact.c))
            elif isinstance(fact, Mark):
                shards[fact.shard] = _marked(shards.get(fact.shard), fact)
            elif isinstance(fact, ShardStarted):
                life = shards.get(fact.shard) or ShardLife(name=fact.shard, participants=())
                shards[fact.shard] = replace(
                    life, participants=tuple(fact.participants), sentinel=fact.sentinel
                )
            elif isinstance(fact, ShardStopped):
                life = shards.get(fact.shard) or ShardLife(name=fact.shard, participants=())
                shards[fact.shard] = replace(life, stopped=True)
            elif isinstance(fact, HeardSymbols):
                out.heard.append(fact)
            elif isinstance(fact, SentSymbol):
                out.sent.append(fact)
            elif isinstance(fact, Unsent):
                out.unsent.append(fact)
            elif not isinstance(fact, Net | RoundTrip):
                participant = getattr(fact, "p", None)
                if isinstance(participant, int):
                    out.own[participant].append((fact.t - origin_s, fact))
        out.shards = tuple(shards.values())
        return out


def _marked(life: ShardLife | None, mark: Mark) -> ShardLife:
    now = life or ShardLife(name=mark.shard, participants=())
    return replace(
        now,
        judged_slot=max(now.judged_slot, mark.s),
        max_lag_ms=max(now.max_lag_ms, mark.lag_ms),
        late_frames=now.late_frames + mark.unjudged,
    )
