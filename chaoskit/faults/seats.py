"""Where participants sit, and whom the room servers list there (the room observer's view)."""

from collections.abc import Iterable, Mapping, Sequence

from chaoskit.model import Json
from chaoskit.ports import Tools


def seats(participants: Iterable[int], tools: Tools) -> list[list[Json]]:
    """Return the distinct [node, room] in which `participants` are joined now, as JSON."""
    presence = tools.need_facts().presence()
    found = {
        (presence[k].node, presence[k].room)
        for k in participants
        if k in presence and presence[k].state == "joined"
    }
    return [[node, room] for node, room in sorted(found, key=str) if node is not None]


async def listed(where: Sequence[Sequence[Json]], tools: Tools) -> Mapping[int, bool]:
    """Return participant → muted of everybody listed in the rooms `where`. Raises AdapterError."""
    observer = tools.need_observer()
    people: dict[int, bool] = {}
    for node, room in where:
        people.update(await observer.participants(node, room))
    return people
