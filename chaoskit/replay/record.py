"""An incident record: what was said to have happened, one entry an event, nothing about replaying.

Times are incident time: seconds from the scheduled start, negative before it. Every time and every
figure has a range, every entry a certainty and a source. Persons appear by role only.
"""

from dataclasses import dataclass
from enum import StrEnum

from chaoskit.replay.errors import ReplayError


class Certainty(StrEnum):
    """How sure an entry is.

    stated: the source says it itself; reported: it relays somebody; derived: arithmetic from
    sourced numbers; assumed: nobody says it.
    """

    STATED = "stated"
    REPORTED = "reported"
    DERIVED = "derived"
    ASSUMED = "assumed"


class FigureKind(StrEnum):
    """What a number is. A claim does not say what it counts."""

    CONCURRENT = "concurrent"
    CUMULATIVE = "cumulative"
    ATTEMPTS = "attempts"
    RATE = "rate"
    CLAIM = "claim"
    DURATION = "duration"
    SHARE = "share"


class Telling(StrEnum):
    """How the source tells it.

    narrated: in its own voice; hedged: marked as a guess; says: quoting or relaying a role; post: a
    public post; opinion: the source's judgement.
    """

    NARRATED = "narrated"
    HEDGED = "hedged"
    SAYS = "says"
    POST = "post"
    OPINION = "opinion"


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """A range of incident time, and how sure it is (`assumed` where the source gives no offset)."""

    from_s: float
    until_s: float
    certainty: Certainty


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A number with its range. `unit`: `s` for durations (seconds), `listeners`, `listeners/min`, …

    `since`: event from which a duration counts, "" when it is the event's own length.
    `certainty`: of the number itself when it differs from the event's.
    """

    value: float
    low: float
    high: float
    unit: str
    kind: FigureKind
    text: str = ""
    since: str = ""
    certainty: Certainty | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordEvent:
    """One entry. `actor`: a role, or what acts (room, audience, server, audio, press).

    `after`: events that the source places before this one.
    """

    id: str
    lane: str
    actor: str
    telling: Telling
    text: str
    certainty: Certainty
    source: str
    at: When | None = None
    after: tuple[str, ...] = ()
    figure: Figure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a record comes from. `key` is what entries cite."""

    key: str
    title: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentRecord:
    """A record of one incident. Several records of the same incident are never blended."""

    incident: str
    record: str
    title: str
    sources: tuple[Source, ...]
    events: tuple[RecordEvent, ...]
    left_out: tuple[str, ...] = ()

    def event(self, event_id: str) -> RecordEvent:
        """Return the entry `event_id`. Raises KeyError when there is none."""
        for event in self.events:
            if event.id == event_id:
                return event
        raise KeyError(event_id)


def check_record(record: IncidentRecord) -> None:
    """Raise ReplayError for a record that contradicts itself; `where` points into its file."""
    ids = [e.id for e in record.events]
    sources = {s.key for s in record.sources}
    for i, event in enumerate(record.events):
        where = ("events", i)
        if ids.index(event.id) != i:
            raise ReplayError(f"event {event.id} stands here twice", (*where, "id"))
        for earlier in event.after:
            if earlier not in ids[:i]:
                raise ReplayError(
                    f"{event.id} follows {earlier}, which no entry before it is called",
                    (*where, "after"),
                )
        if event.source not in sources:
            raise ReplayError(f"{event.id} cites an unknown source {event.source}", where)
        if event.at is not None and event.at.from_s > event.at.until_s:
            raise ReplayError(f"{event.id}: its time ends before it begins", (*where, "at"))
        figure = event.figure
        if figure is None:
            continue
        if not figure.low <= figure.value <= figure.high:
            raise ReplayError(f"{event.id}: the figure is outside its range", (*where, "figure"))
        if figure.since and figure.since not in ids:
            raise ReplayError(
                f"{event.id} counts since {figure.since}, which is no entry", (*where, "figure")
            )
