"""Healing undoes what it can in order, whatever single faults do, and reads back twice."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from chaoskit.errors import AdapterError
from chaoskit.faults.protocol import Fault
from chaoskit.guardian.healing import Outcome, heal_undos
from chaoskit.model import Crowd, Undo
from chaoskit.ports import Tools

pytestmark = pytest.mark.unit


class Stopped:
    """A clock that nobody asks."""

    def now(self) -> float:
        return 0.0

    async def sleep_until(self, at_s: float) -> None:
        raise AssertionError("healing does not wait by run time")

    def to_run(self, monotonic_s: float) -> float:
        return monotonic_s


TOOLS = Tools(clock=Stopped(), crowd=Crowd(groups=()))


class Kinds:
    """Fault kinds by name. `calls` lists the heals in order; a kind's reads are used up in turn."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self._kinds: dict[str, type[Fault]] = {}

    def add(
        self,
        name: str,
        *,
        reads: tuple[bool, ...] = (True, True),
        error: Exception | None = None,
        hangs: bool = False,
        needs: tuple[str, ...] = ("proxy",),
    ) -> None:
        calls, left = self.calls, list(reads)

        class Kind:
            @classmethod
            async def heal(cls, undo: Undo, tools: Tools) -> None:
                calls.append(undo.fault_id)
                if hangs:
                    await asyncio.Event().wait()
                if error is not None:
                    raise error

            @classmethod
            async def is_healed(cls, undo: Undo, tools: Tools) -> bool:
                return left.pop(0)

        cast(Any, Kind).needs = needs
        self._kinds[name] = cast(type[Fault], Kind)

    def __getitem__(self, kind: str) -> type[Fault]:
        return self._kinds[kind]


def undo(fault: str, kind: str = "") -> Undo:
    return Undo(fault_id=fault, kind=kind or fault, handle={})


@pytest.fixture
def kinds() -> Kinds:
    return Kinds()


async def heal(kinds: Kinds, *undos: Undo, within_s: float = 60.0) -> dict[str, Outcome]:
    find: Callable[[str], type[Fault]] = kinds.__getitem__
    outcomes = await heal_undos(undos, TOOLS, find, within_s=within_s, read_again_after_s=0.0)
    return {outcome.undo.fault_id: outcome for outcome in outcomes}


async def test_every_fault_is_healed_in_the_given_order_and_then_once_more(kinds: Kinds) -> None:
    kinds.add("newer")
    kinds.add("older")

    outcomes = await heal(kinds, undo("newer"), undo("older"))

    assert kinds.calls == ["newer", "older", "newer", "older"]
    assert all(outcome.confirmed and outcome.why == "" for outcome in outcomes.values())


async def test_a_fault_that_cannot_be_healed_does_not_keep_the_others(kinds: Kinds) -> None:
    kinds.add("broken", error=AdapterError("toxiproxy: 500"))
    kinds.add("odd", error=RuntimeError())
    kinds.add("fine")

    outcomes = await heal(kinds, undo("broken"), undo("odd"), undo("alien"), undo("fine"))

    assert {name: (o.confirmed, o.why) for name, o in outcomes.items()} == {
        "broken": (False, "toxiproxy: 500"),
        "odd": (False, "RuntimeError"),
        "alien": (False, "no fault kind 'alien': 'alien'"),
        "fine": (True, ""),
    }


async def test_only_the_last_read_counts(kinds: Kinds) -> None:
    kinds.add("late", reads=(False, True))
    kinds.add("back", reads=(True, False))

    outcomes = await heal(kinds, undo("late"), undo("back"))

    assert outcomes["late"].confirmed
    assert not outcomes["back"].confirmed
    assert outcomes["back"].why == "still there when read back"


async def test_a_fault_that_hangs_ends_with_the_time_given(kinds: Kinds) -> None:
    kinds.add("hangs", hangs=True)

    outcomes = await heal(kinds, undo("hangs"), within_s=0.02)

    assert not outcomes["hangs"].confirmed
    assert outcomes["hangs"].why == "not healed in time"


async def test_nothing_is_read_again_when_nothing_answered(kinds: Kinds) -> None:
    kinds.add("gone", error=AdapterError("no answer"))

    await heal(kinds, undo("gone"))

    assert kinds.calls == ["gone"]
    assert await heal(kinds) == {}


async def test_a_fault_ends_with_the_ports_it_acts_through_and_an_unknown_one_with_none(
    kinds: Kinds,
) -> None:
    kinds.add("cut", error=AdapterError("no answer"), needs=("proxy", "facts"))

    outcomes = await heal(kinds, undo("cut"), undo("alien"))

    assert outcomes["cut"].ends_with({"proxy", "facts", "services"})
    assert not outcomes["cut"].ends_with({"facts", "services"})
    assert not outcomes["alien"].ends_with({"proxy", "facts", "services"})
