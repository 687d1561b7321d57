"""A fault proxy without sockets. Held against the real driver in tests/contract/test_fake_ports."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from chaoskit.errors import AdapterError
from chaoskit.model import (
    DirectionCounters,
    LinkCounters,
    LinkSpec,
    LinkState,
    ProxyVersion,
    Toxic,
)
from tests.unit.fake_clock import VirtualClock

_NOTHING = DirectionCounters(seen=0, forwarded=0, dropped=0, delayed=0, bytes=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Harm:
    """What traffic of one link went through from `from_s` to `until_s` (None = still)."""

    link: str
    toxic: Toxic | None
    from_s: float
    until_s: float | None = None

    def covers(self, at_s: float) -> bool:
        return self.from_s <= at_s and (self.until_s is None or at_s < self.until_s)


class FakeProxy:
    """Keeps links and toxics in memory.

    `honest` False: it accepts and reports everything and touches no traffic (`harms` stays empty).
    `failing`: names of methods that answer with an error. `on_call` sees each change first.
    """

    def __init__(
        self, links: Sequence[LinkSpec], clock: VirtualClock, *, honest: bool = True
    ) -> None:
        self._clock = clock
        self.honest = honest
        self.failing: set[str] = set()
        self.stamps = True
        self.harms: list[Harm] = []
        self.calls: list[tuple[str, str, float | None]] = []
        self.on_call: Callable[[str, str], None] = lambda method, link: None
        self._states = {link.name: _fresh(link) for link in links}

    async def version(self) -> ProxyVersion:
        return ProxyVersion(version="2.12.0", server="chaoskit/fake")

    async def populate(self, links: Sequence[LinkSpec]) -> Mapping[str, LinkState]:
        made = {link.name: self._states.get(link.name) or _fresh(link) for link in links}
        self._states.update(made)
        return made

    async def links(self) -> Mapping[str, LinkState]:
        self._called("links", "")
        return dict(self._states)

    async def link(self, name: str) -> LinkState:
        return self._state(name)

    async def set_enabled(
        self, name: str, enabled: bool, *, ttl_s: float | None = None, reset: bool = False
    ) -> None:
        self._called("set_enabled" if enabled else "set_disabled", name, ttl_s)
        state = self._state(name)
        self._states[name] = replace(state, enabled=enabled)
        if enabled:
            self._end(name, None)
        elif state.enabled:
            self._begin(name, None)

    async def toxics(self, name: str) -> tuple[Toxic, ...]:
        return self._state(name).toxics

    async def add_toxic(self, name: str, toxic: Toxic, *, ttl_s: float | None = None) -> None:
        self._called("add_toxic", name, ttl_s)
        state = self._state(name)
        if any(t.name == toxic.name for t in state.toxics):
            raise AdapterError(f"{name}: toxic already exists")
        self._states[name] = replace(state, toxics=(*state.toxics, toxic))
        self._begin(name, toxic)

    async def remove_toxic(self, name: str, toxic_name: str) -> None:
        self._called("remove_toxic", name)
        state = self._state(name)
        if all(t.name != toxic_name for t in state.toxics):
            raise AdapterError(f"{name}: toxic not found")
        kept = tuple(t for t in state.toxics if t.name != toxic_name)
        self._states[name] = replace(state, toxics=kept)
        self._end(name, toxic_name)

    async def counters(self, name: str) -> LinkCounters:
        self._called("counters", name)
        state = self._state(name)
        last = next((h for h in reversed(self.harms) if h.link == name), None)
        first_s = None
        if self.stamps and last is not None:
            first_s = self._clock.origin_s + last.from_s
        return LinkCounters(
            name=name,
            transport=state.transport,
            enabled=state.enabled,
            open=0,
            accepted=0,
            refused=0,
            cut=0,
            up=_NOTHING,
            down=_NOTHING,
            first_effect_s=first_s,
            last_effect_s=first_s,
        )

    def _called(self, method: str, link: str, ttl_s: float | None = None) -> None:
        if method not in ("links", "counters"):
            self.calls.append((method, link, ttl_s))
        self.on_call(method, link)
        if method in self.failing:
            raise AdapterError(f"{link or 'the proxy'}: 500 to {method}")

    def _state(self, name: str) -> LinkState:
        if name not in self._states:
            raise AdapterError(f"{name}: proxy not found")
        return self._states[name]

    def _begin(self, link: str, toxic: Toxic | None) -> None:
        if self.honest:
            self.harms.append(Harm(link=link, toxic=toxic, from_s=self._clock.now()))

    def _end(self, link: str, toxic_name: str | None) -> None:
        now = self._clock.now()
        self.harms = [
            replace(h, until_s=now)
            if h.link == link
            and h.until_s is None
            and (None if h.toxic is None else h.toxic.name) == toxic_name
            else h
            for h in self.harms
        ]


def _fresh(link: LinkSpec) -> LinkState:
    return LinkState(
        name=link.name,
        transport=link.transport,
        listen="127.0.0.1:1",
        upstream=link.upstream,
        enabled=True,
    )
