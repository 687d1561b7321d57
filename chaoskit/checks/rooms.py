"""When each room of the event was opened: from operator's acts, probes and the crowd's facts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from chaoskit.checks.tracks import Track
from chaoskit.model import ActionDone, Event, Json, Observed
from chaoskit.wire.facts import Found, Joined, LookedUp


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomOpened:
    """A generation of the event's room. `opened_s`: run time; `evidence`: where it is recorded.

    `account`: under which it runs, "" when nobody said. `exact`: the directory's own stamp, else
    the first time that anybody in the crowd knew of it.
    """

    generation: int
    room: int
    node: str
    opened_s: float
    account: str = ""
    exact: bool = False
    evidence: str = ""


def rooms_opened(
    tracks: Iterable[Track], events: Sequence[Event], origin_s: float
) -> tuple[RoomOpened, ...]:
    """Return all generations that were seen, in order."""
    found: dict[int, RoomOpened] = {}
    for track in tracks:
        for at_s, fact in track.facts:
            if isinstance(fact, LookedUp | Joined):
                seen = RoomOpened(
                    generation=fact.generation,
                    room=fact.room,
                    node=fact.node,
                    opened_s=at_s,
                    evidence=f"facts {fact.kind} p{track.participant} t={fact.t:.3f}",
                )
            elif isinstance(fact, Found):
                seen = RoomOpened(
                    generation=fact.generation,
                    room=-1,
                    node="",
                    opened_s=at_s,
                    evidence=f"facts {fact.kind} p{track.participant} t={fact.t:.3f}",
                )
            else:
                continue
            found[seen.generation] = _better(found.get(seen.generation), seen)
    for event in events:
        state: Json = None
        if isinstance(event, ActionDone):
            state, where = event.result, f"journal action_done {event.action_id}"
        elif isinstance(event, Observed):
            state, where = event.value, f"journal observed {event.probe}"
        if isinstance(state, Mapping) and {"generation", "opened_s", "room", "node"} <= set(state):
            told = RoomOpened(
                generation=int(state["generation"]),
                room=int(state["room"]),
                node=str(state["node"]),
                opened_s=float(state["opened_s"]) - origin_s,
                account=str(state.get("account", "")),
                exact=True,
                evidence=f"{where} at {event.at_s:.3f} s",
            )
            if state.get("status", "open") == "open":
                found[told.generation] = _better(found.get(told.generation), told)
    return tuple(found[g] for g in sorted(found))


def _better(known: RoomOpened | None, seen: RoomOpened) -> RoomOpened:
    """The directory's stamp beats the crowd's; among the crowd's the earliest, named one wins."""
    if known is None or (seen.exact and not known.exact):
        return seen
    if known.exact:
        return known
    first, other = (seen, known) if seen.opened_s < known.opened_s else (known, seen)
    if first.room < 0 <= other.room:
        return RoomOpened(
            generation=first.generation,
            room=other.room,
            node=other.node,
            opened_s=first.opened_s,
            evidence=first.evidence,
        )
    return first
