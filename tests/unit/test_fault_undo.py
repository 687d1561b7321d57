"""Undo is data: it heals in another process, twice, and restores what was there before."""

import json
from dataclasses import replace

import pytest

from chaoskit.errors import AdapterError, PlanRefused
from chaoskit.faults.registry import KINDS, fault_class, heal, parse_fault
from chaoskit.model import Undo
from tests.unit.fake_proxy import FakeProxy
from tests.unit.fake_run import GUEST, HOST, fake_run
from tests.unit.test_fault_effects import EVERY_KIND, fault, inject

pytestmark = pytest.mark.unit


def through_a_journal(undo: Undo) -> Undo:
    """Return `undo` as another process reads it."""
    return Undo(
        fault_id=undo.fault_id, kind=undo.kind, handle=json.loads(json.dumps(dict(undo.handle)))
    )


@pytest.mark.parametrize("kind", KINDS)
async def test_a_fault_reads_back_as_active_then_as_healed(kind: str) -> None:
    run = fake_run()
    cls = fault_class(kind)
    before = await run.proxy.links()
    undo = await inject(run, EVERY_KIND[kind])
    await run.clock.advance(0.5)
    assert await cls.is_active(undo, run.tools)
    assert not await cls.is_healed(undo, run.tools)
    assert await heal(through_a_journal(undo), run.tools)
    await run.clock.advance(0.5)
    assert not await cls.is_active(undo, run.tools)
    assert await run.proxy.links() == before


@pytest.mark.parametrize("kind", KINDS)
async def test_healing_twice_is_healing_once(kind: str) -> None:
    run = fake_run()
    undo = through_a_journal(await inject(run, EVERY_KIND[kind]))
    assert await heal(undo, run.tools)
    assert await heal(undo, run.tools)


@pytest.mark.parametrize("kind", KINDS)
async def test_an_effect_can_be_asked_for_from_the_undo_alone(kind: str) -> None:
    run = fake_run()
    undo = through_a_journal(await inject(run, EVERY_KIND[kind]))
    await run.clock.advance(10.0)
    assert (await fault_class(kind).effect(undo, run.tools)).share >= 0.9


@pytest.mark.parametrize("kind", KINDS)
async def test_an_undo_written_but_never_injected_heals_to_nothing(kind: str) -> None:
    run = fake_run()
    await run.clock.advance(12.0)
    undo = await parse_fault(EVERY_KIND[kind]).prepare(run.tools)
    assert await heal(through_a_journal(undo), run.tools)
    assert all(state.enabled and not state.toxics for state in (await run.proxy.links()).values())
    assert run.services.signals == []


@pytest.mark.parametrize("kind", ["drop", "blackhole", "latency", "loss", "mute", "leave"])
async def test_every_fault_at_a_door_with_time_limits_carries_one(kind: str) -> None:
    run = fake_run()
    await inject(run, EVERY_KIND[kind])
    limits = [ttl for _, _, ttl in [*run.proxy.calls, *run.crowd.commands]]
    assert limits
    assert set(limits) == {22.0}


async def test_a_fault_without_an_end_still_has_a_time_limit() -> None:
    run = fake_run()
    await inject(run, fault("drop", "host.*", duration_s=None))
    assert {ttl for _, _, ttl in run.proxy.calls} == {602.0}


async def test_a_link_that_was_cut_before_stays_cut_afterwards() -> None:
    run = fake_run()
    await run.proxy.set_enabled("host.signal.room-b", False)
    undo = await inject(run, EVERY_KIND["drop"])
    assert await heal(undo, run.tools)
    states = await run.proxy.links()
    assert not states["host.signal.room-b"].enabled
    assert states["host.signal.room-a"].enabled


async def test_a_half_healed_drop_is_neither_active_nor_healed() -> None:
    run = fake_run()
    undo = await inject(run, EVERY_KIND["drop"])
    await run.proxy.set_enabled("host.api.directory", True)
    cls = fault_class("drop")
    assert not await cls.is_active(undo, run.tools)
    assert not await cls.is_healed(undo, run.tools)


async def test_other_peoples_toxics_are_left_alone() -> None:
    run = fake_run()
    first = await inject(run, fault("latency", "host.signal.*", params={"latency_ms": 50.0}))
    second = await inject(run, fault("blackhole", "host.signal.*"))
    assert await heal(second, run.tools)
    assert [t.name for t in await run.proxy.toxics("host.signal.room-a")] == [
        "ck-the-latency-up",
        "ck-the-latency-down",
    ]
    assert await heal(first, run.tools)


async def test_a_service_that_was_stopped_before_stays_stopped() -> None:
    run = fake_run()
    await run.services.signal("room-a", 19)
    undo = await inject(run, fault("pause", "room-*"))
    assert await heal(undo, run.tools)
    assert (await run.services.status("room-a")).state == "stopped"
    assert (await run.services.status("room-b")).state == "running"


async def test_a_restarted_service_is_not_restarted_again() -> None:
    run = fake_run()
    undo = await inject(run, EVERY_KIND["kill"])
    await run.services.restart("room-a")
    pid = (await run.services.status("room-a")).pid
    assert await heal(undo, run.tools)
    assert (await run.services.status("room-a")).pid == pid


async def test_who_was_muted_before_stays_muted() -> None:
    run = fake_run()
    run.crowd.muted = {HOST}
    undo = await inject(run, fault("mute", "host", "guest"))
    assert run.crowd.muted == {HOST, GUEST}
    assert await heal(undo, run.tools)
    assert run.crowd.muted == {HOST}


async def test_a_heal_that_changed_nothing_is_not_confirmed() -> None:
    run = fake_run()
    undo = await inject(run, EVERY_KIND["pause"])
    run.services.deaf = True
    assert not await heal(undo, run.tools)


async def test_a_door_that_refuses_says_so() -> None:
    run = fake_run()
    undo = await inject(run, EVERY_KIND["loss"])
    run.proxy.failing.add("remove_toxic")
    with pytest.raises(AdapterError, match="500"):
        await heal(undo, run.tools)


async def test_a_toxic_that_ends_by_itself_while_it_is_removed_is_healed() -> None:
    run = fake_run()
    undo = await inject(run, EVERY_KIND["loss"])
    remove = run.proxy.remove_toxic

    async def too_late(name: str, toxic_name: str) -> None:
        await remove(name, toxic_name)
        raise AdapterError("404: toxic not found")

    run.proxy.remove_toxic = too_late  # type: ignore[method-assign]
    assert await heal(undo, run.tools)


async def test_a_link_that_the_proxy_does_not_have_is_found_before_injection() -> None:
    run = fake_run()
    with pytest.raises(PlanRefused, match="no link matches"):
        await parse_fault(fault("drop", "ghost.*")).prepare(run.tools)
    tools = replace(run.tools, proxy=FakeProxy((), run.clock))
    with pytest.raises(AdapterError, match="has no link"):
        await parse_fault(EVERY_KIND["drop"]).prepare(tools)
