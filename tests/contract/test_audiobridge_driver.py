"""The AudioBridge driver at both servers: what it tells its caller, and how connections end."""

import asyncio
import socket
from collections.abc import Callable

import pytest

from chaoskit.rooms import driver
from chaoskit.rooms.audiobridge import AudioBridgeClient
from chaoskit.rooms.driver import LossReason, RoomError, RoomEvent, RoomUnavailable
from chaoskit.wire.identity import source_address
from tests.contract.audiobridge_cable import Cable
from tests.contract.audiobridge_phone import wait_until
from tests.contract.audiobridge_rig import Party, event_of
from tests.contract.audiobridge_servers import Server

pytestmark = pytest.mark.contract


async def test_without_presence_only_what_concerns_oneself_is_told(party: Party) -> None:
    events: list[RoomEvent] = []
    phone = await party.phone(on_event=events.append)
    await phone.join(party.room)
    (other,) = await party.joined(1)
    await party.admin.set_muted(party.room, other.k + 1, True)
    await party.admin.set_muted(party.room, phone.k + 1, True)
    await party.admin.kick(party.room, phone.k + 1)
    await wait_until(lambda: None if len(events) >= 2 else f"only {events}")
    assert [type(event) for event in events] == [driver.MutedByRoom, driver.Kicked]


async def test_signalling_comes_from_the_participants_own_address(party: Party) -> None:
    phone = await party.phone()
    name = phone.client._session._socket.get_extra_info("sockname")
    assert name[0] == source_address(phone.k)


async def test_the_driver_refuses_a_second_join_and_what_needs_a_place(party: Party) -> None:
    phone = await party.phone()
    for request in (phone.client.leave(), phone.client.configure(muted=True)):
        with pytest.raises(RoomError) as outside:
            await request
        assert outside.value.code == 487
    await phone.join(party.room)
    with pytest.raises(RoomError) as twice:
        await phone.join(party.room)
    assert twice.value.code == 491


async def test_the_round_trip_is_measured(party: Party) -> None:
    assert 0 < await party.admin.ping() < 10
    assert party.admin.rtt_s is not None


async def test_answers_are_found_by_transaction_when_many_are_asked_at_once(party: Party) -> None:
    numbers = range(50_000, 50_040)
    found = await asyncio.gather(*(party.admin.exists(n) for n in [*numbers, party.room]))
    assert found == [False] * len(numbers) + [True]


# --- endings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pull", "reason"), [(Cable.cut, LossReason.EOF), (Cable.reset, LossReason.RESET)]
)
async def test_a_connection_that_ends_is_told_once_with_how(
    room_server: Server, pull: Callable[[Cable], None], reason: LossReason
) -> None:
    async with Cable.to(room_server.url) as cable:
        client = await AudioBridgeClient.connect(cable.url)
        pull(cable)
        assert (await event_of(client, driver.ConnectionLost)).reason is reason
        assert client.lost is reason
        with pytest.raises(RoomUnavailable) as refused:
            await client.exists(1)
        assert refused.value.reason is reason
        await client.close()
        assert client._queue.empty()


async def test_an_answer_under_way_fails_with_the_connection(room_server: Server) -> None:
    async with Cable.to(room_server.url) as cable:
        client = await AudioBridgeClient.connect(cable.url)
        await client.exists(1)
        cable.frozen.set()
        asking = asyncio.create_task(client.exists(1))
        await asyncio.sleep(0)
        cable.reset()
        with pytest.raises(RoomUnavailable) as refused:
            await asking
        assert refused.value.reason is LossReason.RESET
        await client.close()


async def test_a_dead_path_is_noticed_by_the_keepalive(room_server: Server) -> None:
    async with Cable.to(room_server.url) as cable:
        client = await AudioBridgeClient.connect(cable.url, keepalive_s=0.05, answer_s=1.0)
        assert (await event_of(client, driver.RoundTrip)).rtt_s > 0
        cable.frozen.set()
        assert (await event_of(client, driver.ConnectionLost)).reason is LossReason.TIMEOUT
        await client.close()


async def test_a_slow_answer_fails_alone(room_server: Server) -> None:
    async with Cable.to(room_server.url) as cable:
        client = await AudioBridgeClient.connect(cable.url, answer_s=0.3)
        cable.frozen.set()
        with pytest.raises(RoomUnavailable) as refused:
            await client.exists(1)
        assert refused.value.reason is LossReason.TIMEOUT
        assert client.lost is None
        cable.frozen.clear()
        assert await client.exists(1) is False
        await client.close()


async def test_a_session_that_the_server_ended_is_a_lost_connection(
    impatient_room_server: Server,
) -> None:
    client = await AudioBridgeClient.connect(impatient_room_server.url)
    assert (await event_of(client, driver.ConnectionLost)).reason is LossReason.EXPIRED
    await client.close()


async def test_where_nobody_listens_a_connection_is_refused() -> None:
    with pytest.raises(RoomUnavailable) as refused:
        await AudioBridgeClient.connect("ws://127.0.0.1:9/")
    assert refused.value.reason is LossReason.REFUSED


async def test_a_server_that_says_nothing_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host, port = silent.getsockname()
        with pytest.raises(RoomUnavailable) as refused:
            await AudioBridgeClient.connect(f"ws://{host}:{port}/", timeout_s=0.2)
        assert refused.value.reason is LossReason.TIMEOUT


async def test_closing_is_no_loss_and_may_be_repeated(party: Party) -> None:
    client = await AudioBridgeClient.connect(party.server.url)
    await client.close()
    await client.close()
    assert client.lost is LossReason.CLOSED
    assert client._queue.empty()
