"""Turns an experiment's crowd into shard plans: who lives in which process, with what rules."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chaoskit.model import Experiment, Group, LinkState, Plane, Stack
from chaoskit.wire.crowd import (
    CROWD_PLAN_VERSION,
    GroupPlan,
    MicPlan,
    ParticipantPlan,
    ShardPlan,
)

LISTENERS_A_SHARD = 450
SPEAKERS_SHARD = "crowd-speakers"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardShare:
    """The participants of one shard, by group. `ears`: the shard has a sentinel pair of its own."""

    name: str
    index: int
    members: Mapping[str, Sequence[int]]
    ears: bool

    def participants(self) -> list[int]:
        """Return all participant numbers, ascending."""
        return sorted(k for ks in self.members.values() for k in ks)

    @property
    def sentinel_link(self) -> str:
        """Name of the sentinel's link."""
        return f"sentinel-{self.index}.media.loop"


def share_out(experiment: Experiment) -> tuple[ShardShare, ...]:
    """Return the shards: one for all who speak, at least two for a crowd of 40 or more listeners.

    Coupled devices must be in one shard (DESIGN §6), so speakers are never split.
    """
    speakers = {g.name: list(g.members()) for g in experiment.crowd.groups if g.speaker is not None}
    others = [g for g in experiment.crowd.groups if g.speaker is None]
    total = sum(g.count for g in others)
    shards = max(-(-total // LISTENERS_A_SHARD), 2 if total >= 40 else 1)
    shares = []
    if speakers:
        shares.append(ShardShare(name=SPEAKERS_SHARD, index=0, members=speakers, ears=False))
    for i in range(shards):
        members = {g.name: list(g.members())[i::shards] for g in others}
        shares.append(
            ShardShare(
                name=f"crowd-listeners-{i}",
                index=i + 1,
                members={name: ks for name, ks in members.items() if ks},
                ears=True,
            )
        )
    return tuple(s for s in shares if s.participants())


def arrival_s(group: Group, k: int, seed: int) -> float:
    """Return the run time at which participant `k` arrives: even spacing, jittered inside its step.

    Keyed by seed and participant, so that neither sharding nor order changes it.
    """
    step = group.arrive_over_s / max(1, group.count)
    jitter = random.Random(f"arrival/{seed}/{k}").random()
    return group.arrive_from_s + step * (k - group.first + jitter)


def shard_plan(
    share: ShardShare,
    experiment: Experiment,
    stack: Stack,
    links: Mapping[str, LinkState],
    *,
    origin_s: float,
) -> ShardPlan:
    """Return everything `share` needs for the whole run (DESIGN §10, engine out of the loop)."""
    groups = {g.name: g for g in experiment.crowd.groups if g.name in share.members}
    mine = set(share.participants())
    return ShardPlan(
        version=CROWD_PLAN_VERSION,
        shard=share.name,
        index=share.index,
        origin_s=origin_s,
        end_s=experiment.end_s,
        seed=experiment.seed,
        event=experiment.id,
        groups=[_group_plan(g, stack, links) for g in groups.values()],
        participants=[
            ParticipantPlan(
                k=k,
                group=name,
                arrive_s=round(arrival_s(groups[name], k, experiment.seed), 4),
                band=groups[name].speaker,
                candidate=groups[name].candidate,
                leave_s=_leave_s(groups[name], k, experiment.seed),
                every_s=groups[name].every_s,
            )
            for name, ks in share.members.items()
            for k in ks
        ],
        script=[
            MicPlan(at_s=cue.at_s, k=k, mic=cue.mic.value)
            for cue in experiment.script
            for g in experiment.crowd.groups
            if g.name == cue.group
            for k in g.members()
            if k in mine
        ],
        sentinel=links[share.sentinel_link].listen if share.ears else "",
        facts=f"facts-{share.name}.jsonl",
        control=f"ctl/{share.name}.sock",
    )


def _leave_s(group: Group, k: int, seed: int) -> float | None:
    if group.stay_s is None:
        return None
    return round(arrival_s(group, k, seed) + group.stay_s, 4)


def _group_plan(group: Group, stack: Stack, links: Mapping[str, LinkState]) -> GroupPlan:
    def hops(plane: Plane) -> dict[str, str]:
        names = (p.services for p in stack.planes if p.plane is plane)
        return {s: f"{group.name}.{plane}.{s}" for services in names for s in services}

    api = next(iter(hops(Plane.API).values()))
    signal, media, rules = hops(Plane.SIGNAL), hops(Plane.MEDIA), group.client
    return GroupPlan(
        name=group.name,
        role=group.role,
        api=f"http://{links[api].listen}",
        api_link=api,
        signal={node: f"ws://{links[name].listen}" for node, name in signal.items()},
        signal_links=signal,
        media={node: links[name].listen for node, name in media.items()},
        media_links=media,
        reconnect=rules.reconnect.kind.value,
        base_s=rules.reconnect.base_s,
        cap_s=rules.reconnect.cap_s,
        attempts=rules.reconnect.attempts,
        find=rules.find.value,
        poll_s=rules.poll_s,
        join_timeout_s=rules.join_timeout_s,
        media_timeout_s=rules.media_timeout_s,
        heartbeat_s=rules.heartbeat_s,
    )
