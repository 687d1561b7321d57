"""Undoes faults from the journal alone: heal in place, read back, read back again.

Faults that could not be healed in place are over when all that carried them is gone: `needs` of a
fault's class says which ports it acts through, and those of a run of our own are its processes.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from chaoskit.faults.protocol import Fault
from chaoskit.model import Undo
from chaoskit.ports import Tools

PORTS_OF_THE_STACK = frozenset({"services", "control", "facts", "observer", "directory"})
_ATTEMPT_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one undo. `confirmed`: read back as healed, twice. `why`: what was in the way.

    `reached`: what carries the fault answered. `needs`: the ports that its fault acts through; None
    when its kind is unknown here.
    """

    undo: Undo
    confirmed: bool
    reached: bool = False
    why: str = ""
    needs: tuple[str, ...] | None = None

    def ends_with(self, ports: Collection[str]) -> bool:
        """Return whether the fault is over once everything behind `ports` is gone."""
        return self.needs is not None and set(self.needs) <= set(ports)


async def heal_undos(
    undos: Iterable[Undo],
    tools: Tools,
    find: Callable[[str], type[Fault]],
    *,
    within_s: float,
    read_again_after_s: float,
) -> list[Outcome]:
    """Heal `undos` in their order, then, after a while, read each back and heal it once more.

    Never raises for a fault: what is not confirmed after `within_s` is told in its outcome.
    """
    undos = list(undos)
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + within_s
    first = [await _attempt(undo, tools, find, deadline_s) for undo in undos]
    if not any(outcome.reached for outcome in first):
        return first
    # A write that was under way when its writer died may land after the first read.
    await asyncio.sleep(min(read_again_after_s, max(0.0, deadline_s - loop.time())))
    return [await _attempt(undo, tools, find, deadline_s) for undo in undos]


async def _attempt(
    undo: Undo, tools: Tools, find: Callable[[str], type[Fault]], deadline_s: float
) -> Outcome:
    try:
        fault = find(undo.kind)
    except Exception as error:
        return Outcome(undo=undo, confirmed=False, why=f"no fault kind {undo.kind!r}: {error}")
    # Whatever one fault raises, the others must still be healed.
    try:
        # One that hangs must leave the others their time.
        longest_s = asyncio.get_running_loop().time() + _ATTEMPT_S
        async with asyncio.timeout_at(min(deadline_s, longest_s)):
            await fault.heal(undo, tools)
            healed = await fault.is_healed(undo, tools)
    except TimeoutError:
        return Outcome(undo=undo, confirmed=False, why="not healed in time", needs=fault.needs)
    except Exception as error:
        why = str(error) or type(error).__name__
        return Outcome(undo=undo, confirmed=False, why=why, needs=fault.needs)
    why = "" if healed else "still there when read back"
    return Outcome(undo=undo, confirmed=healed, reached=True, why=why, needs=fault.needs)
