"""A launch night by hand: what the facts and ears of a run of any replay map look like.

`ideal_night` writes what participants and directory would report when everything goes as the map
says; ears are then worked out from who was in which room, whose line was cut, and the script.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from chaoskit.checks.history import History
from chaoskit.checks.tracks import Span, Stay, follow
from chaoskit.model import ActionDone, At, Mic, Observed
from chaoskit.replay.compiling import Replay
from chaoskit.wire.facts import Attempt, ConnectFailed, Found, Left, Lost, Rejected, Stage
from tests.unit.histories import ORIGIN_S, HandMade


@dataclass(slots=True)
class Night:
    """What may go otherwise than the map wants. Times are run time, seconds after their cause."""

    lease_s: float = 4.0
    vanish: bool = True
    retries: int = 8
    fresh_late_s: float = 0.0
    poll_s: float = 8.0
    lost_listeners: int = 0
    host_back_s: float = 1.5
    speakers_back_s: float = 3.0
    told_account: str = "host"
    silence_broken: bool = False
    change: Callable[[HandMade], None] = field(default=lambda run: None)


def ideal_night(replay: Replay, night: Night | None = None) -> History:
    """Return the history of a run of `replay` in which everything but `night` goes as it should."""
    night = night or Night()
    experiment = replay.experiment
    run = HandMade.of(experiment)
    groups = {g.name: g for g in experiment.crowd.groups}
    host, guest, owner = (groups[n].first for n in ("host", "guest", "owner"))
    fault, action = experiment.method[0], experiment.actions[0]
    assert isinstance(fault.trigger, At)
    assert isinstance(action.trigger, At)
    cut_s = fault.trigger.at_s + 0.02
    healed_s = cut_s + (fault.duration_s or 0.0)
    fresh_s = action.trigger.at_s + 0.05 + night.fresh_late_s

    for k in run.everyone:
        group = experiment.crowd.group_of(k)
        arrive_s = group.arrive_from_s + group.arrive_over_s * (k - group.first) / group.count
        run.join([k], arrive_s + 0.01, took_s=0.1)

    run.inject(fault.id, cut_s, healed_s)
    run.lose([host], cut_s + 0.05, link="host.signal.room-a", why="reset")
    gap_s = (fresh_s - cut_s - 1.0) / max(1, night.retries)
    for n in range(night.retries):
        t = ORIGIN_S + cut_s + 0.5 + n * gap_s
        run.fact(Attempt(t=t, p=host, n=n + 2, why="lost"))
        failed = ConnectFailed(
            t=t + 0.01, p=host, plane="api", link="host.api.directory", why="refused"
        )
        run.fact(failed)
    if night.vanish:
        lapse_s = cut_s + night.lease_s
        run.events.append(
            Observed(at_s=lapse_s + 0.5, probe="event", value={"host": "", "generation": 1})
        )
        for k in (guest, owner):
            t = ORIGIN_S + lapse_s + 0.1
            link = "guest.signal.room-a"
            run.fact(Lost(t=t, p=k, plane="signal", link=link, why="kicked", room=1001))
            run.fact(Left(t=t, p=k, why="lost"))
            run.fact(Stage(t=t + 0.3, p=k, granted=False))
            run.fact(Attempt(t=t + 1.0, p=k, n=2, why="lost"))
            run.fact(Rejected(t=t + 1.1, p=k, by="directory", status=403, why="no_host"))

    state = {
        "event": experiment.id,
        "generation": 2,
        "status": "open",
        "room": 1002,
        "node": "room-b",
        "account": night.told_account,
        "host": "",
        "stage": [],
        "opened_s": ORIGIN_S + fresh_s,
    }
    run.events.append(
        ActionDone(at_s=fresh_s + 0.05, action_id=action.id, kind=action.kind, result=state)
    )
    finders = run.listeners[night.lost_listeners :]
    for i, k in enumerate(finders):
        found_s = fresh_s + 0.05 + night.poll_s * i / len(finders)
        run.fact(Found(t=ORIGIN_S + found_s, p=k, generation=2, how="poll"))
        run.leave([k], found_s + 0.01, "moved")
        run.join([k], found_s + 0.02, generation=2, took_s=0.1, why="moved")
    run.join([host], healed_s + night.host_back_s, generation=2, why="lost")
    back_s = healed_s + night.speakers_back_s
    for k in (guest, owner):
        if not night.vanish:
            run.leave([k], back_s - 0.1, "moved")
        run.join([k], back_s, generation=2, why="lost")
    stays = {k: _stays(run, k) for k in run.everyone}
    for second in range(1, int(run.end_s)):
        listed = {
            f"p{k}": False
            for k in run.everyone
            if any(s.generation == 2 and s.covers(second) for s in stays[k])
        }
        run.events.append(
            Observed(at_s=float(second), probe="participants:room-b:1002", value=listed)
        )
    run.leave(run.everyone, run.end_s - 0.05, "end")
    night.change(run)
    _listen(run, Span(from_s=cut_s, until_s=healed_s))
    if night.silence_broken:
        _talk_over_silence(run)
    return run.history()


def _stays(run: HandMade, participant: int) -> tuple[Stay, ...]:
    facts = [(f.t - ORIGIN_S, f) for f in run.facts if getattr(f, "p", None) == participant]
    return follow(participant, run.experiment.crowd.group_of(participant), facts).stays


def _listen(run: HandMade, cut: Span) -> None:
    """Work out every listener's ear from stays, the cut of the host's line and the script."""
    slots = round(run.end_s / 0.02)
    delay = round(run.ear_delay_s / 0.02)
    speaking: dict[int, np.ndarray[tuple[int], np.dtype[np.uint8]]] = {}
    for group in run.experiment.crowd.groups:
        if group.speaker is None:
            continue
        sends = np.zeros(slots, dtype=np.uint8)
        for cue in run.experiment.script:
            if cue.group == group.name:
                kind = {Mic.BEACON: 1, Mic.PRIVATE: 8}.get(cue.mic, 0)
                sends[round(cue.at_s / 0.02) :] = kind << group.speaker
        if group.name == "host":
            sends[round(cut.from_s / 0.02) : round(cut.until_s / 0.02)] = 0
        for stay in _stays(run, group.first):
            heard = speaking.setdefault(stay.generation, np.zeros(slots, dtype=np.uint8))
            part = slice(round(stay.from_s / 0.02), round(min(stay.until_s, run.end_s) / 0.02))
            heard[part] |= sends[part]
    for k in run.listeners:
        for stay in _stays(run, k):
            sound = np.roll(speaking.get(stay.generation, np.zeros(slots, np.uint8)), delay)
            sound[:delay] = 0
            part = slice(round(stay.from_s / 0.02), round(min(stay.until_s, run.end_s) / 0.02))
            run.codes[k][part] = sound[part]


def _talk_over_silence(run: HandMade) -> None:
    """Let the owner be heard in the middle of every silence of the first words."""
    changes = [c for c in run.experiment.script if c.mic is Mic.SILENCE]
    middle_s = changes[0].at_s + 2.0
    run.hear(run.listeners, middle_s, middle_s + 0.5, 4)
