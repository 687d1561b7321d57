"""What peers saw of a fault on links: the proof that never asks whoever wrote the fault.

The witness is the crowd: a connection that a client lost, datagrams that stopped arriving, replies
that take longer. The proxy's own configuration and counters prove nothing; its stamp of the first
touched unit only dates an effect that a peer has shown.

A *unit* is one participant on one link (signal, media), or one link as a whole (api, where requests
come and go). A unit is *due* once it must have noticed; until then it is pending, not targeted. An
ear that its own client closed, because its session broke, is left out: it had nothing to notice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from chaoskit.errors import AdapterError
from chaoskit.faults.protocol import aim
from chaoskit.model import Effect, LinkSpec, Plane, Undo
from chaoskit.ports import CrowdFacts, Loss, NetSample, Tools

HOLE_AT_LEAST = 3
"""Datagrams missing between two samples, by their sequence numbers: 60 ms, an audible gap."""
SILENT_FOR_S = 0.4
"""So long without a datagram counts as cut: 20 frames, ten times the longest masked gap."""
RECENT_S = {Plane.API: 10.0, Plane.SIGNAL: 25.0}
"""Answers of a TCP link count as recent for so long; the crowd asks for one on its signalling every
5 s, the room driver by default every 20 s."""
LOOK_BACK_S = 5.0
"""Media samples come once a second; the last few before the fault are what is usual."""
LINK_FAILURES = frozenset(("eof", "reset", "refused", "timeout"))
"""Why a connection is lost to its link. Kicked, destroyed or moved is somebody's decision."""
WATCHED_S = 2.5
"""An ear that was open for so long is due: two samples, a second apart, and their way to us."""
WITNESS = "peers (crowd facts)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """How a link was used when the undo was written.

    `users`: joined participants. `every_s`: longest recent pause between two answers on a TCP link
    (the pause since the last one included), None = no recent answers. `rtt_ms`, `transit_ms`: the
    medians before the fault; transit by participant, in the order of `users`, and so is `per_s`:
    datagrams that arrived a second.
    """

    link: str
    group: str
    plane: str
    users: tuple[int, ...] = ()
    every_s: float | None = None
    rtt_ms: float | None = None
    transit_ms: tuple[float, ...] = ()
    per_s: tuple[float, ...] = ()


def uses(links: Sequence[LinkSpec], tools: Tools) -> tuple[Use, ...]:
    """Return how `links` are used now. Links that nobody uses are left out."""
    facts, now = tools.need_facts(), tools.clock.now()
    found = (_use(link, tools, facts, now) for link in links)
    return tuple(use for use in found if use is not None)


def handle(links: Sequence[LinkSpec], tools: Tools) -> dict[str, Any]:
    """Return the part of an undo that the witness needs later: links, moment, and their use."""
    return {
        "links": [link.name for link in links],
        "at_s": tools.clock.now(),
        "in_use": [asdict(use) for use in uses(links, tools)],
    }


def uses_of(undo: Undo) -> tuple[Use, ...]:
    """Return what `handle` wrote, after a journal's round trip too."""
    listed = ("users", "transit_ms", "per_s")
    return tuple(
        Use(**{**raw, **{key: tuple(raw[key]) for key in listed}}) for raw in undo.handle["in_use"]
    )


def at_s(undo: Undo) -> float:
    """Return the run time just before the injection."""
    return float(undo.handle["at_s"])


@dataclass(slots=True)
class Tally:
    """Counts units; `first_s` is the earliest moment at which a peer saw the effect."""

    seen: int = 0
    due: int = 0
    pending: int = 0
    ended: int = 0
    first_s: float | None = None

    def add(self, seen_s: float | None, *, due: bool) -> None:
        """Count one unit: seen at `seen_s`, or not seen though `due`, or still pending."""
        if seen_s is not None:
            self.seen, self.due = self.seen + 1, self.due + 1
            self.first_s = seen_s if self.first_s is None else min(self.first_s, seen_s)
        elif due:
            self.due += 1
        else:
            self.pending += 1


async def report(
    undo: Undo, tools: Tools, tally: Tally, measures: Mapping[str, float], share: float | None
) -> Effect:
    """Return the effect that `tally` shows, dated by the proxy's stamp where there is one.

    With a `share` the target is how many of those due it must hit at least.
    """
    targeted = aim(tally.due, share)
    counts = {"units": tally.due, "seen": tally.seen, "pending": tally.pending}
    idle = "" if uses_of(undo) else "; nobody used these links when the fault began"
    return Effect(
        measures={**measures, **counts, "closed": tally.ended},
        witness=WITNESS + idle,
        affected=min(tally.seen, targeted),
        targeted=targeted,
        unit="participant links",
        first_s=await _first_s(undo, tools, tally.first_s) if tally.seen else None,
    )


async def cut_effect(undo: Undo, tools: Tools, *, at_once: bool) -> Effect:
    """Return who lost what on links that should carry nothing.

    `at_once`: TCP connections were reset, so a peer must notice immediately; otherwise only when an
    answer that was due stays out.
    """
    facts, since, now = tools.need_facts(), at_s(undo), tools.clock.now()
    losses = facts.losses(since_s=since)
    failures = [loss for loss in losses if loss.why in LINK_FAILURES]
    session_end = _first_by([loss for loss in losses if _ends_session(loss)])
    tally, lost, silent = Tally(), 0, 0
    for use in uses_of(undo):
        reported = _first_by([loss for loss in failures if loss.link == use.link])
        if use.plane == Plane.MEDIA:
            for k, per_s in zip(use.users, use.per_s, strict=True):
                # Once its session is over the client closes its ear: that silence is its own.
                open_until_s = session_end.get(k, now)
                samples = facts.net(k, since_s=since - LOOK_BACK_S)
                seen_s = _earliest(
                    silent_from(samples, per_s, since, open_until_s), reported.get(k)
                )
                silent += seen_s is not None
                watched = min(now, open_until_s) - since >= WATCHED_S
                if seen_s is None and not watched and k in session_end:
                    tally.ended += 1
                else:
                    tally.add(seen_s, due=watched)
            continue
        stopped_s = _answers_stopped(use, facts, since, now)
        units: tuple[int | None, ...] = (None,) if use.plane == Plane.API else use.users
        for unit in units:
            own = min(reported.values(), default=None) if unit is None else reported.get(unit)
            seen_s = own if own is not None else stopped_s
            lost += seen_s is not None
            waited = use.every_s is not None and now - since >= 2 * use.every_s
            tally.add(seen_s, due=waited or (at_once and unit is not None))
    measures = {"connections_lost": float(lost), "media_silent": float(silent)}
    return await report(undo, tools, tally, measures, undo.handle.get("share"))


def silent_from(
    samples: Sequence[NetSample], per_s: float, since_s: float, until_s: float
) -> float | None:
    """Return when the first silence of `SILENT_FOR_S` within [since_s, until_s] began, or None.

    A silence is a span in which nothing arrived, an interval between two samples that lacks so
    many of the usual `per_s` datagrams a second, or, for one too short for that, a hole of
    `HOLE_AT_LEAST` in the sequence numbers of what came after it. Samples from before `since_s` are
    where the first interval begins.
    """
    start: NetSample | None = None
    for before, later in pairwise(s for s in samples if s.at_s <= until_s):
        if later.at_s <= since_s:
            continue
        lacking_s = later.at_s - before.at_s - (later.received - before.received) / per_s
        if lacking_s >= SILENT_FOR_S or later.missing - before.missing >= HOLE_AT_LEAST:
            return max(before.at_s, since_s)
        if later.received != before.received or before.at_s < since_s:
            start = None
            continue
        start = start or before
        if later.at_s - start.at_s >= SILENT_FOR_S:
            return start.at_s
    return None


def is_rising(samples: Sequence[NetSample]) -> bool:
    """Return whether datagrams arrived between the last two samples."""
    return len(samples) >= 2 and samples[-1].received > samples[-2].received


def _use(link: LinkSpec, tools: Tools, facts: CrowdFacts, now: float) -> Use | None:
    group = next((g for g in tools.crowd.groups if g.name == link.group), None)
    if group is None:
        return None
    presence = facts.presence()
    here = [
        k
        for k in group.members()
        if k in presence and presence[k].state == "joined" and presence[k].node == link.service
    ]
    if link.plane == Plane.MEDIA:
        recent = {k: facts.net(k, since_s=now - LOOK_BACK_S) for k in here}
        users = [k for k in here if is_rising(recent[k])]
        if not users:
            return None
        transit = tuple(round(median(s.transit_ms for s in recent[k][-3:]), 3) for k in users)
        return Use(
            link=link.name,
            group=group.name,
            plane=link.plane,
            users=tuple(users),
            transit_ms=transit,
            per_s=tuple(_rate(recent[k]) for k in users),
        )
    from_s = now - RECENT_S[Plane(link.plane)]
    answers = [(t, ms) for t, ms in facts.rtt_ms(link.name) if from_s <= t <= now]
    users = here if link.plane == Plane.SIGNAL else list(group.members()) if answers else []
    if not users:
        return None
    moments = sorted([*(t for t, _ in answers), now])
    pauses = [b - a for a, b in pairwise(moments)]
    return Use(
        link=link.name,
        group=group.name,
        plane=link.plane,
        users=tuple(users),
        every_s=max(pauses) if pauses else None,
        rtt_ms=median(ms for _, ms in answers) if answers else None,
    )


def _answers_stopped(use: Use, facts: CrowdFacts, since: float, now: float) -> float | None:
    """Return when the answers of a TCP link stopped: none for twice the longest recent pause.

    Only while the group is known to be alive, else a dead shard would prove any fault.
    """
    if use.every_s is None:
        return None
    last = max((t for t, _ in facts.rtt_ms(use.link) if t >= since), default=since)
    if now - last < max(2 * use.every_s, SILENT_FOR_S):
        return None
    alive = any(facts.net(k, since_s=last + use.every_s) for k in use.users)
    return last if alive else None


def _first_by(losses: Sequence[Loss]) -> dict[int, float]:
    first: dict[int, float] = {}
    for loss in losses:
        first[loss.participant] = min(loss.at_s, first.get(loss.participant, loss.at_s))
    return first


def _ends_session(loss: Loss) -> bool:
    """Whether a client is out of its room after this: its signalling went, or it was sent away."""
    plane = loss.link.split(".")[1]
    return plane == Plane.SIGNAL or loss.why not in LINK_FAILURES


def _rate(samples: Sequence[NetSample]) -> float:
    """Return datagrams a second over samples of which the last two rose."""
    span_s = samples[-1].at_s - samples[0].at_s
    return round((samples[-1].received - samples[0].received) / span_s, 3)


def _earliest(*moments: float | None) -> float | None:
    return min((m for m in moments if m is not None), default=None)


async def _first_s(undo: Undo, tools: Tools, seen_s: float | None) -> float | None:
    stamps: list[float] = []
    if tools.proxy is not None:
        for name in undo.handle["links"]:
            try:
                stamp = (await tools.proxy.counters(name)).first_effect_s
            except AdapterError:
                continue
            if stamp is not None:
                stamps.append(tools.clock.to_run(stamp))
    # A stamp from before the injection belongs to an earlier fault on the same link.
    return min((s for s in stamps if s >= at_s(undo) - 0.05), default=seen_s)
