"""Measures that ask ears: who was heard, by how many, from when to when.

Each takes a Scene and its parameters and returns a Measured. Times are run time at the mouth: what
ears heard, less the stack's ear delay.
"""

from math import ceil, inf

import numpy as np

from chaoskit.audio.gaps import Mask
from chaoskit.checks.fresh import first_word_s
from chaoskit.checks.tracks import Span
from chaoskit.model import SLOT_S
from chaoskit.replay.scene import Measured, Params, Scene

NEARLY_ALL = 0.95
"""Share of the audience that has to hear something for it to count as heard."""
STEADY = 0.9
"""Share of the time between first and last hearing in which it has to be heard."""


def heard_span(scene: Scene, params: Params) -> Measured:
    """`group` is heard by `share` of the audience within the span: from when, and for how long."""
    return _heard(scene, params, scene.bits_of(str(params["group"])), "heard")


def private_source_heard(scene: Scene, params: Params) -> Measured:
    """The private source of `group` (a hot microphone) is heard by `share` of the audience."""
    bits = scene.bits_of(str(params["group"]), private=True)
    return _heard(scene, params, bits, "private source heard")


def silence_span(scene: Scene, params: Params) -> Measured:
    """The longest stretch in which `share` of the audience is in a room and hears no voice."""
    share = float(params.get("share", NEARLY_ALL))
    silent: Mask = scene.share_in_silence() >= share
    span = scene.span(params)
    found = scene.stretches(silent, span)
    if not found:
        return Measured(happened=False, text="no silence", evidence=(scene.ears(span),))
    longest = max(found, key=lambda s: s.until_s - s.from_s)
    return _spoken(scene, longest, "silence", share)


def first_word(scene: Scene, params: Params) -> Measured:
    """When `share` of the audience has heard `group` for the first time, counted `since`."""
    span = scene.span(params)
    share = float(params.get("share", NEARLY_ALL))
    listeners = scene.members({}, "groups")
    heard = first_word_s(
        scene.history,
        listeners,
        scene.bits_of(str(params["group"])),
        from_s=span.from_s,
        until_s=span.until_s,
    )
    times = sorted(inf if t is None else t for t in heard)
    at_s = times[ceil(share * len(times)) - 1] if times else inf
    ever = sum(1 for t in times if t < inf)
    if at_s == inf:
        return Measured(
            happened=False,
            text=f"never: {ever} of {len(times)} heard it",
            evidence=(scene.ears(span),),
        )
    since_s = scene.moment(params["since"]) if "since" in params else scene.pace.to_run(0.0)
    return Measured(
        happened=True,
        text=f"heard by {ever} of {len(times)}",
        at_s=at_s,
        value=scene.incident_seconds(since_s, at_s),
        unit="s",
        evidence=(scene.ears(Span(from_s=times[0], until_s=at_s + 0.1)),),
    )


def still_audible(scene: Scene, params: Params) -> Measured:
    """The share of the audience's time within the span in which it hears `group`."""
    span = scene.span(params)
    heard = scene.share_hearing(scene.bits_of(str(params["group"])))[scene.window(span)]
    value = float(heard.mean()) if heard.size else 0.0
    at_least = float(params.get("share", STEADY))
    return Measured(
        happened=value >= at_least,
        text=f"{value:.1%} heard",
        at_s=span.from_s,
        value=value,
        unit="share",
        evidence=(scene.ears(span),),
    )


def _heard(scene: Scene, params: Params, bits: int, word: str) -> Measured:
    share = float(params.get("share", NEARLY_ALL))
    enough: Mask = scene.share_hearing(bits) >= share
    span = scene.span(params)
    found = scene.stretches(enough, span)
    if not found:
        best = scene.share_hearing(bits)[scene.window(span)]
        most = float(best.max()) if best.size else 0.0
        text = f"never {word} by {share:.0%}, at most by {most:.0%}"
        return Measured(happened=False, text=text, evidence=(scene.ears(span),))
    whole = Span(from_s=found[0].from_s, until_s=found[-1].until_s)
    steady = float(np.mean(enough[scene.window(whole)]))
    measured = _spoken(scene, whole, word, share)
    wanted = float(params.get("steady", STEADY))
    if steady >= wanted:
        return measured
    return Measured(
        happened=False,
        text=f"{word} in {steady:.0%} of {_run(whole)} only",
        at_s=measured.at_s,
        value=measured.value,
        unit=measured.unit,
        evidence=measured.evidence,
    )


def _spoken(scene: Scene, span: Span, word: str, share: float) -> Measured:
    return Measured(
        happened=True,
        text=f"{word} {_run(span)} by at least {share:.0%}",
        at_s=span.from_s,
        value=scene.incident_seconds(span.from_s, span.until_s),
        unit="s",
        evidence=(scene.ears(span),),
    )


def _run(span: Span) -> str:
    return f"{round((span.until_s - span.from_s) / SLOT_S) * SLOT_S:.1f} s run"
