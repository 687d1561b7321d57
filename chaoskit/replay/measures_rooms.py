"""Measures that ask participants and services: who was in which room, who left it, who found the
next.

Each takes a Scene and its parameters and returns a Measured.
"""

from collections.abc import Sequence
from math import ceil, inf

from chaoskit.checks.fresh import arrivals, first_generation
from chaoskit.checks.no_ghosts import PROBE
from chaoskit.checks.tracks import Span
from chaoskit.model import Observed
from chaoskit.replay.scene import Measured, Params, Scene
from chaoskit.wire.facts import Attempt, ConnectFailed, Found, Lost, Stage

NEARLY_ALL = 0.95
_PLANNED = frozenset({"end", "command"})


def joined_by(scene: Scene, params: Params) -> Measured:
    """So many of `groups` are in a room at the moment `by`; since when that holds."""
    by_s = scene.moment(params["by"])
    who = scene.members(params)
    at_least = float(params.get("share", NEARLY_ALL))
    inside = [k for k in who if any(s.covers(by_s) for s in scene.stays(k))]
    since = sorted(scene.stays(k)[0].from_s for k in inside)
    needed = max(1, ceil(at_least * len(who)))
    return Measured(
        happened=len(inside) >= needed,
        text=f"{len(inside)} of {len(who)} in a room",
        at_s=since[needed - 1] if len(inside) >= needed else None,
        value=len(inside) / len(who) if who else 0.0,
        unit="share",
        evidence=(scene.facts("joined", inside),),
    )


def peak_joined(scene: Scene, params: Params) -> Measured:
    """Most of `groups` at once in the first room (`room: fresh`: in later ones), times scale."""
    first = first_generation(scene.history)
    fresh = params.get("room", "first") == "fresh"
    who = scene.members(params)
    steps: list[tuple[float, int]] = []
    for k in who:
        for stay in scene.stays(k):
            if (stay.generation > first) is fresh:
                steps += [(stay.from_s, 1), (stay.until_s, -1)]
    now = peak = 0
    at_s: float | None = None
    # At equal stamps leaving comes first: nobody is counted twice.
    for step_s, change in sorted(steps):
        now += change
        if now > peak:
            peak, at_s = now, step_s
    return Measured(
        happened=peak > 0,
        text=f"{peak} of {len(who)} real listeners at once",
        at_s=at_s,
        value=peak * scene.scale,
        unit="listeners",
        evidence=(scene.facts("joined", who), scene.facts("left", who)),
    )


def appeared(scene: Scene, params: Params) -> Measured:
    """All of `groups` come into a room within the span; when the last of them is in."""
    span = scene.span(params)
    who = scene.members(params)
    stays = [
        next((s for s in scene.stays(k) if span.from_s <= s.from_s < span.until_s), None)
        for k in who
    ]
    found = [s for s in stays if s is not None]
    return Measured(
        happened=bool(who) and len(found) == len(who),
        text=f"{len(found)} of {len(who)}",
        at_s=max((s.from_s for s in found), default=None),
        value=float(len(found)),
        unit="participants",
        evidence=tuple(scene.fact(s.joined) for s in found),
    )


def vanished(scene: Scene, params: Params) -> Measured:
    """All of `groups` are in a room after the moment `after` and then out of it, with no fault on
    them.

    When the last of them is gone. Leaving by command or with the run's end does not count.
    """
    span = scene.span(params)
    who = scene.members(params)
    gone: list[float] = []
    evidence: list[str] = []
    for k in who:
        track = scene.history.tracks[k]
        for fault in scene.history.faults.values():
            if any(fault.hits_links_of(track.group, s.node) for s in track.stays):
                text = f"{fault.id} acts on {track.group.name} itself"
                return Measured(happened=False, text=text)
        for stay in track.stays:
            if stay.end in _PLANNED or not span.from_s < stay.until_s < span.until_s:
                continue
            gone.append(stay.until_s)
            told = [
                f
                for at_s, f in track.facts
                if isinstance(f, Lost | Stage) and abs(at_s - stay.until_s) < 1.0
            ]
            evidence += [scene.fact(f) for f in told]
            break
    evidence += _lease_evidence(scene, span)
    return Measured(
        happened=bool(who) and len(gone) == len(who),
        text=f"{len(gone)} of {len(who)}",
        at_s=max(gone, default=None),
        value=float(len(gone)),
        unit="participants",
        evidence=tuple(evidence),
    )


def retries(scene: Scene, params: Params) -> Measured:
    """`groups` try to come back within the span, in vain; how often they tried."""
    span = scene.span(params)
    at_least = int(params.get("times", 1))
    tries: list[float] = []
    evidence: list[str] = []
    back = 0
    for k in scene.members(params):
        track = scene.history.tracks[k]
        mine = [(t, f) for t, f in track.of(Attempt) if span.from_s < t < span.until_s]
        tries += [t for t, _ in mine]
        evidence += [scene.fact(f) for _, f in mine[:3]]
        failed = [f for t, f in track.of(ConnectFailed) if span.from_s < t < span.until_s]
        evidence += [scene.fact(f) for f in failed[:2]]
        back += sum(1 for s in track.stays if span.from_s < s.from_s < span.until_s)
    text = f"{len(tries)} tries, {back} of them successful"
    return Measured(
        happened=len(tries) >= at_least and not back,
        text=text,
        at_s=min(tries, default=None),
        value=float(len(tries)),
        unit="attempts",
        evidence=tuple(evidence),
    )


def room_opened(scene: Scene, params: Params) -> Measured:
    """A room follows the first one: when, where, under which account (`account`: that one)."""
    fresh = scene.fresh()
    if fresh is None:
        return Measured(happened=False, text="no other room was opened")
    wanted = params.get("account")
    by = f" under {fresh.account}" if fresh.account else ""
    return Measured(
        happened=wanted is None or fresh.account == wanted,
        text=f"on {fresh.node}{by}",
        at_s=fresh.opened_s,
        value=scene.pace.to_incident(fresh.opened_s),
        unit="s",
        evidence=(fresh.evidence,),
    )


def lookup_of_fresh_room(scene: Scene, params: Params) -> Measured:
    """The share of those in the first room that learn of the next by asking the directory."""
    fresh = scene.fresh()
    if fresh is None:
        return Measured(happened=False, text="there is no other room")
    first = first_generation(scene.history)
    who = [k for k in scene.members(params) if any(s.generation <= first for s in scene.stays(k))]
    found: dict[int, float] = {}
    for k in who:
        for at_s, fact in scene.history.tracks[k].of(Found):
            if fact.generation >= fresh.generation:
                found.setdefault(k, at_s)
    return _reached(scene, params, who, list(found.values()), "found", list(found))


def retention(scene: Scene, params: Params) -> Measured:
    """The share of those in the first room that hear a speaker in a later one by `by`."""
    first = first_generation(scene.history)
    by_s = scene.moment(params.get("by", "end"))
    delay_s = scene.history.ear_delay_s
    here = [a for a in arrivals(scene.history, scene.members(params), first) if a.was_in_first]
    heard = {
        a.participant: a.heard_s - delay_s
        for a in here
        if a.heard_s is not None and a.heard_s - delay_s <= by_s
    }
    who = [a.participant for a in here]
    return _reached(scene, params, who, list(heard.values()), "hear there", list(heard))


def rejoined(scene: Scene, params: Params) -> Measured:
    """All of `groups` come into a later room, where `with` is too; when the last is in."""
    first = first_generation(scene.history)
    hosts = scene.members(params, "with") if "with" in params else ()
    who = scene.members(params)
    found = []
    for k in who:
        for stay in scene.stays(k):
            beside = not hosts or any(
                s.generation == stay.generation and s.until_s > stay.from_s
                for h in hosts
                for s in scene.stays(h)
            )
            if stay.generation > first and beside:
                found.append(stay)
                break
    together_s = max((s.from_s for s in found), default=None)
    for h in hosts:
        joined = [s.from_s for s in scene.stays(h) if s.generation > first]
        if together_s is not None and joined:
            together_s = max(together_s, joined[0])
    return Measured(
        happened=bool(who) and len(found) == len(who),
        text=f"{len(found)} of {len(who)}",
        at_s=together_s,
        value=float(len(found)),
        unit="participants",
        evidence=tuple(scene.fact(s.joined) for s in found),
    )


def present(scene: Scene, params: Params) -> Measured:
    """All of `groups` are in a room at the moment `at`, as they and the room's list say.

    Nobody is present by the room's list when nobody looked at it within 3 s of the moment.
    """
    at_s = scene.moment(params["at"])
    who = scene.members(params)
    here = {k: s for k in who for s in scene.stays(k) if s.covers(at_s)}
    evidence = [scene.fact(s.joined) for s in here.values()]
    missing = {s.room for s in here.values()}
    listed = True
    for look in _looks_near(scene, at_s):
        names = {int(str(k).lstrip("p")) for k in look.value}
        room = int(look.probe.rsplit(":", 1)[1])
        expected = {k for k, s in here.items() if s.room == room}
        listed = listed and expected <= names
        missing.discard(room)
        evidence.append(f"journal observed {look.probe} at {look.at_s:.3f} s")
    return Measured(
        happened=bool(who) and len(here) == len(who) and listed and not missing,
        text=f"{len(here)} of {len(who)}"
        + ("" if listed else ", not all listed by the room")
        + (", and nobody looked at the room's list" if missing else ""),
        at_s=at_s,
        value=float(len(here)),
        unit="participants",
        evidence=tuple(evidence),
    )


def _reached(
    scene: Scene,
    params: Params,
    who: Sequence[int],
    times: Sequence[float],
    word: str,
    named: Sequence[int],
) -> Measured:
    """Return the share of `who` that reached something, and when `share` of them had."""
    needed = max(1, ceil(float(params.get("share", NEARLY_ALL)) * len(who)))
    ordered = sorted(times)
    enough = len(ordered) >= needed
    spread = f", within {ordered[-1] - ordered[0]:.1f} s run" if ordered else ""
    kind = "found" if word == "found" else "ear"
    return Measured(
        happened=bool(who) and enough,
        text=f"{len(ordered)} of {len(who)} {word}{spread}",
        at_s=ordered[needed - 1] if enough else None,
        value=len(ordered) / len(who) if who else 0.0,
        unit="share",
        evidence=(scene.facts(kind, named),),
    )


def _lease_evidence(scene: Scene, span: Span) -> list[str]:
    for event in scene.history.of(Observed):
        if event.probe != "event" or not span.from_s < event.at_s < span.until_s:
            continue
        if isinstance(event.value, dict) and event.value.get("host") == "":
            return [f"journal observed event, no host, at {event.at_s:.3f} s"]
    return []


def _looks_near(scene: Scene, at_s: float) -> list[Observed]:
    """Return the look at each room that is nearest to `at_s`, within 3 s."""
    best: dict[str, Observed] = {}
    for event in scene.history.of(Observed):
        if not event.probe.startswith(PROBE) or not isinstance(event.value, dict):
            continue
        known = best.get(event.probe)
        distance = abs(event.at_s - at_s)
        if distance <= 3.0 and distance < (inf if known is None else abs(known.at_s - at_s)):
            best[event.probe] = event
    return list(best.values())
