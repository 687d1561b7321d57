"""How a client learns where its event is: a watch stream or a poll, each reconnecting by itself."""

import asyncio
import random
from collections.abc import Callable

from chaoskit.services.crowd.directory_client import DirectoryClient
from chaoskit.services.crowd.hops import HopFailed, Refused
from chaoskit.services.crowd.telling import Teller
from chaoskit.wire.crowd import GroupPlan
from chaoskit.wire.directory import EventState


class Whereabouts:
    """What one participant knows of its event. `on_news` is called when it learns more."""

    def __init__(self, identity: str, tell: Teller, on_news: Callable[[], None]) -> None:
        """Know nothing: generation 0."""
        self.generation = 0
        self._on_stage: bool | None = None
        self._identity = identity
        self._tell = tell
        self._on_news = on_news

    def learn_generation(self, generation: int, how: str) -> None:
        """Take note of a generation, found by `how`: watch | poll | join."""
        if generation > self.generation:
            self.generation = generation
            self._tell.found(generation, how)
            self._on_news()

    def learn_state(self, state: EventState, how: str) -> None:
        """Take note of a state, and of a right to speak that is gone."""
        if state.status == "open":
            self.learn_generation(state.generation, how)
        if self._on_stage and self._identity not in state.stage:
            self.learn_stage(False)

    def learn_stage(self, granted: bool) -> None:
        """Take note of the right to speak."""
        if granted != self._on_stage:
            self._on_stage = granted
            self._tell.stage(granted)


async def follow(
    where: Whereabouts,
    directory: DirectoryClient,
    rule: GroupPlan,
    *,
    seed: int,
    participant: int,
    tell: Teller,
) -> None:
    """Keep `where` up to date until cancelled, the way of the participant's product."""
    rng = random.Random(f"{seed}/{participant}/find")
    if rule.find == "watch":
        await _watch(where, directory, rule, rng, tell)
    else:
        await _poll(where, directory, rule, rng, tell)


async def _watch(
    where: Whereabouts,
    directory: DirectoryClient,
    rule: GroupPlan,
    rng: random.Random,
    tell: Teller,
) -> None:
    failures = 0
    while True:
        watching = False
        try:
            async for state in directory.watch():
                watching, failures = True, 0
                where.learn_state(state, "watch")
        except HopFailed as failed:
            if watching:
                tell.lost(failed.hop, failed.why)
            else:
                tell.failed(failed)
        except Refused:
            pass  # no such event yet: ask again
        failures += 1
        # A stream that ended by itself comes back like any other connection, jitter included.
        grown = min(rule.cap_s, rule.base_s * 2.0 ** min(failures - 1, 32))
        await asyncio.sleep(rng.uniform(0.0, grown))


async def _poll(
    where: Whereabouts,
    directory: DirectoryClient,
    rule: GroupPlan,
    rng: random.Random,
    tell: Teller,
) -> None:
    loop = asyncio.get_running_loop()
    due_s = loop.time() + rng.uniform(0.0, rule.poll_s)
    while True:
        await asyncio.sleep(due_s - loop.time())
        try:
            where.learn_state(await directory.state(), "poll")
        except HopFailed as failed:
            tell.failed(failed)
        except Refused:
            pass  # no such event yet: ask again
        due_s = max(due_s + rule.poll_s, loop.time())
