"""What a run came to, as plain JSON values: the judge's part of result.json (`chaoskit.run/v1`)."""

from collections.abc import Sequence
from math import isinf

import numpy as np

from chaoskit.checks.ages import ages
from chaoskit.checks.books import Ledger, keep_books
from chaoskit.checks.canary import canary_rows
from chaoskit.checks.canary_group import CANARY
from chaoskit.checks.clocks import Clock, Cohort, Episode, clocks, episodes
from chaoskit.checks.fresh import arrivals, first_generation, fresh_room
from chaoskit.checks.history import History
from chaoskit.checks.judging import judge_all, verdict_of
from chaoskit.checks.population import statistic
from chaoskit.checks.tracks import Span
from chaoskit.checks.validity import Validity, judge_validity
from chaoskit.model import SLOT_S, CheckResult, Json

_ROUND = 3


def summarise(history: History, results: Sequence[CheckResult] | None = None) -> dict[str, Json]:
    """Return the judge's keys of result.json.

    verdict, valid, invalid_because, checks, listeners, recovery, fresh_room, faults, harness.
    results: of the hypothesis' checks, judged here when not given. Times are seconds of run time;
    None stands for never and for what was not seen.
    """
    if results is None:
        results = judge_all(history.experiment.hypothesis.checks, history)
    ledger = keep_books(history)
    validity = judge_validity(history, ledger)
    return {
        "verdict": verdict_of(results, valid=validity.valid).value,
        "valid": validity.valid,
        "invalid_because": list(validity.reasons),
        "checks": [check_row(r) for r in results],
        "listeners": listeners(history, ledger),
        "recovery": recovery_rows(history),
        "fresh_room": fresh_room_row(history),
        "faults": fault_rows(history),
        "canary": canary_rows(history),
        "harness": harness_row(history, validity),
    }


def check_row(result: CheckResult) -> dict[str, Json]:
    """Return one check as result.json has it."""
    return {
        "name": result.name,
        "check": result.kind,
        "verdict": result.verdict.value,
        "observed": _number(result.observed),
        "threshold": result.threshold,
        "unit": result.unit,
        "population": result.population,
        "n": result.n,
        "note": result.note,
    }


def listeners(history: History, ledger: Ledger) -> dict[str, Json]:
    """Return the books of the listeners in listener-seconds, and how many were in and heard.

    `peak`: most in a room at once; `peak_hearing`: most of those that heard a planned speaker
    within the second before, at once; `never_heard`: never heard a planned speaker at all.
    """
    books = ledger.books

    def total(slots: np.ndarray[tuple[int], np.dtype[np.int64]]) -> float:
        return round(float(slots.sum()) * SLOT_S, _ROUND)

    inside = np.zeros((len(ledger.participants), history.slots), dtype=np.bool_)
    for i, k in enumerate(ledger.participants):
        for stay in history.tracks[k].stays:
            inside[i, history.slot(stay.from_s) : history.slot(stay.until_s)] = True
    heard_sum = np.cumsum(np.pad(ledger.slots.heard, ((0, 0), (50, 0))), axis=1, dtype=np.int32)
    lately = heard_sum[:, 50:] > heard_sum[:, :-50] if history.slots else inside
    return {
        "planned": len(ledger.participants),
        "joined": sum(1 for k in ledger.participants if history.tracks[k].stays),
        "peak": int(inside.sum(axis=0).max(initial=0)),
        "peak_hearing": int((inside & lately).sum(axis=0).max(initial=0)),
        "never_heard": int((books.heard == 0).sum()),
        "planned_listener_seconds": total(books.due),
        "heard_listener_seconds": total(books.heard),
        "silent_listener_seconds": total(books.silent),
        "howl_listener_seconds": total(books.howl),
        "unjudged_listener_seconds": total(books.unjudged),
        "silent_by_cause": {cause.value: total(n) for cause, n in ledger.causes.items()},
    }


def listener_books(history: History) -> list[dict[str, Json]]:
    """Return the books of each listener in frames; remainder 0 (oracle test 3)."""
    ledger = keep_books(history)
    books = ledger.books
    return [
        {
            "participant": k,
            "due": int(books.due[i]),
            "heard": int(books.heard[i]),
            "silent": int(books.silent[i]),
            "howl": int(books.howl[i]),
            "unjudged": int(books.unjudged[i]),
            "silent_by_cause": {c.value: int(n[i]) for c, n in ledger.causes.items() if n[i]},
        }
        for i, k in enumerate(ledger.participants)
    ]


def recovery_rows(history: History) -> list[dict[str, Json]]:
    """Return one row for each episode of faults, group and `from` (effect, heal).

    p50, p95 and max over all planned members, unaffected as 0 s, never as None; where n is below 20
    p95 is the maximum. `cohorts`: the same figures for each cohort apart; None where nobody is in
    it. `effect_s`, `heal_s`: run times that the clock counts from. Stages (`noticed_p50_s` …) are
    of those affected.
    """
    rows: list[dict[str, Json]] = []
    for episode in episodes(history):
        for group in history.experiment.crowd.groups:
            if group.role == CANARY:
                continue
            found = clocks(history, episode, tuple(group.members()))
            for from_ in ("effect", "heal"):
                if found and not (from_ == "heal" and isinf(episode.heal_s)):
                    rows.append(_recovery_row(episode, group.name, from_, found))
    return rows


def _recovery_row(
    episode: Episode, group: str, from_: str, found: Sequence[Clock]
) -> dict[str, Json]:
    affected = [c for c in found if c.affected]
    row: dict[str, Json] = {
        "fault": "+".join(episode.faults),
        "group": group,
        "from": from_,
        "effect_s": _number(episode.effect_s),
        "heal_s": _number(episode.heal_s),
        **_spread([c.hears_after(from_) for c in found]),
        "affected": len(affected),
        "unaffected": sum(1 for c in found if c.judged and not c.affected),
        "unjudged": sum(1 for c in found if not c.judged),
        "cohorts": {
            c.value: _spread([x.hears_after(from_) for x in found if x.cohort is c]) for c in Cohort
        },
    }
    stages = ("noticed", "signalling", "joined", "first_frame", "steady")
    for stage in stages if from_ == "effect" else ():
        times = [c.since_effect(getattr(c, f"{stage}_s")) for c in affected]
        reached = [t for t in times if t is not None]
        row[f"{stage}_p50_s"] = _number(float(np.median(reached))) if reached else None
    return row


def _spread(values: Sequence[float]) -> dict[str, Json]:
    """Return p50, p95 and max of recovery times, how many never heard again, and n."""
    return {
        "p50_s": _number(statistic(values, "p50").value) if values else None,
        "p95_s": _number(statistic(values, "p95").value) if values else None,
        "max_s": _number(max(values)) if values else None,
        "never": sum(1 for v in values if isinf(v)),
        "n": len(values),
    }


def fresh_room_row(history: History) -> dict[str, Json] | None:
    """Return who of the first room heard somebody in a fresh one, and when; None without one.

    Times count from the fresh room's opening; `share` is by identity of all who were in the first.
    """
    old = first_generation(history)
    fresh = fresh_room(history, old)
    if fresh is None:
        return None
    first = [a for a in arrivals(history, history.listeners, old) if a.was_in_first]
    times = [
        float("inf") if a.heard_s is None else max(0.0, a.heard_s - fresh.opened_s) for a in first
    ]
    reached = [t for t in times if not isinf(t)]
    return {
        "room": fresh.room,
        "node": fresh.node,
        "generation": fresh.generation,
        "opened_s": _number(fresh.opened_s),
        "n": len(first),
        "share": len(reached) / len(first) if first else None,
        "first_s": _number(min(reached)) if reached else None,
        "p95_s": _number(statistic(times, "p95").value) if times else None,
        "never": len(times) - len(reached),
    }


def fault_rows(history: History) -> list[dict[str, Json]]:
    """Return every fault of the method with its proof and its healing."""
    rows: list[dict[str, Json]] = []
    for fault in history.faults.values():
        effect = fault.effect
        rows.append(
            {
                "id": fault.id,
                "kind": fault.spec.kind,
                "target": fault.target or ", ".join(fault.spec.target.patterns),
                "injected_s": _number(fault.injecting_s),
                "effect_s": _number(fault.effect_s),
                "healed_s": _number(fault.healed_s),
                "effect": {} if effect is None else dict(effect.measures),
                "witness": "" if effect is None else effect.witness,
                "affected": 0 if effect is None else effect.affected,
                "targeted": 0 if effect is None else effect.targeted,
                "unit": "" if effect is None else effect.unit,
                "healed": fault.confirmed,
            }
        )
    return rows


def harness_row(history: History, validity: Validity) -> dict[str, Json]:
    """Return how the harness kept up, with the age of the audio that ears really met."""
    harness = validity.harness
    met = ages(history, [Span(from_s=0.0, until_s=history.end_s)])
    pooled = [age for values in met.values() for age in values]
    return {
        "unjudged_share": round(harness.unjudged_share, 6),
        "sentinel_clean": harness.sentinel_clean,
        "sentinel_gap_s": _number(harness.sentinel_gap_s),
        "max_lag_ms": _number(harness.max_lag_ms),
        "late_frames": harness.late_frames,
        "unsent_frames": harness.unsent_frames,
        "relay_lag_ms": _number(harness.relay_lag_ms),
        "shards": harness.shards,
        "dead_shards": list(harness.dead_shards),
        "ear_delay_s": history.ear_delay_s,
        "audio_age_p50_s": _number(float(np.median(pooled))) if pooled else None,
        "audio_age_p95_s": _number(float(np.quantile(pooled, 0.95))) if pooled else None,
    }


def _number(value: float | None) -> float | None:
    """Return a number fit for JSON: rounded to milliseconds, None for never."""
    return None if value is None or isinf(value) else round(value, _ROUND)
