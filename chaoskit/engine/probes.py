"""Looks at the event and its rooms once in a while and writes down what it sees.

The probes feed checks such as `no_ghosts`; nothing in the run depends on them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from chaoskit.engine.steps import Emit
from chaoskit.errors import ChaosKitError
from chaoskit.model import Json, Observed
from chaoskit.ports import Tools

EVENT_PROBE = "event"
"""Name of the probe whose value is the directory's state of the event."""
LOOK_S = 1.0
_CROWD_A_SECOND = 300
_ROOMS_WATCHED = 3


@dataclass(frozen=True, slots=True)
class _Room:
    node: str
    room: int

    @property
    def probe(self) -> str:
        return f"participants:{self.node}:{self.room}"


class Probes:
    """Emits the event's state when it changes, and who is listed in its latest rooms, each time.

    A probe that fails is written down once, with its error, until it answers again.
    """

    def __init__(self, tools: Tools, emit: Emit) -> None:
        self._tools, self._emit = tools, emit
        self._state: Json = None
        self._rooms: list[_Room] = []
        self._failing: set[str] = set()
        count = sum(group.count for group in tools.crowd.groups)
        # A large crowd is listed more rarely, so that the journal stays small.
        self._period_s = LOOK_S * max(1.0, count / _CROWD_A_SECOND)

    async def run(self) -> None:
        """Look until cancelled."""
        clock = self._tools.clock
        if self._tools.directory is None:
            return
        while True:
            await self._look()
            await clock.sleep_until(clock.now() + self._period_s)

    async def _look(self) -> None:
        directory, observer = self._tools.directory, self._tools.observer
        if directory is not None:
            try:
                state: Mapping[str, Json] = await directory.state()
            except ChaosKitError as error:
                self._failed(EVENT_PROBE, error)
            else:
                self._failing.discard(EVENT_PROBE)
                self._keep(state)
        if observer is None:
            return
        for room in tuple(self._rooms):
            try:
                people = await observer.participants(room.node, room.room)
            except ChaosKitError as error:
                self._failed(room.probe, error)
            else:
                self._failing.discard(room.probe)
                self._write(room.probe, {f"p{k}": muted for k, muted in sorted(people.items())})

    def _keep(self, state: Mapping[str, Json]) -> None:
        if state != self._state:
            self._state = dict(state)
            self._write(EVENT_PROBE, dict(state))
        if state.get("status", "open") == "open" and state.get("room") is not None:
            room = _Room(str(state.get("node", "")), int(state["room"]))
            if room not in self._rooms:
                self._rooms = [*self._rooms, room][-_ROOMS_WATCHED:]

    def _failed(self, probe: str, error: ChaosKitError) -> None:
        if probe not in self._failing:
            self._failing.add(probe)
            at_s = self._tools.clock.now()
            self._emit(Observed(at_s=at_s, probe=probe, value=None, error=str(error)))

    def _write(self, probe: str, value: Json) -> None:
        self._emit(Observed(at_s=self._tools.clock.now(), probe=probe, value=value))
