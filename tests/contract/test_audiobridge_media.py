"""The AudioBridge contract, media: who hears whom, from when on, and until when."""

import pytest

from chaoskit.rooms import driver
from chaoskit.rooms.driver import RoomError
from chaoskit.wire.audiobridge_answers import RoomParticipant
from tests.contract.audiobridge_phone import SILENCE, Phone, tone, wait_until
from tests.contract.audiobridge_rig import HIGH, LOW, MIDDLE, Party, Wire, event_of, room_numbers

pytestmark = pytest.mark.contract


# --- media ---------------------------------------------------------------------------------------


async def test_media_starts_with_ones_own_first_packet_and_is_silence(party: Party) -> None:
    quiet, speaking = await party.phone(), await party.phone()
    await quiet.join(party.room, talk_first=False)
    await speaking.join(party.room)
    await speaking.gets(20)
    assert quiet.heard == []
    assert (await party.listed())[quiet.k + 1].setup is False
    quiet.say(SILENCE)
    await quiet.gets(20)
    assert (await party.listed())[quiet.k + 1].setup is True
    headers = [packet.header for packet in quiet.heard]
    assert [(h.sequence, h.timestamp) for h in headers] == [
        (1 + n, 160 * n) for n in range(len(headers))
    ]
    assert {h.payload_type for h in headers} == {0}
    assert len({h.ssrc for h in headers + [p.header for p in speaking.heard]}) == 1
    assert {packet.payload for packet in quiet.heard} == {SILENCE}


async def test_a_first_packet_is_told_to_the_others(party: Party) -> None:
    first, second = await party.phone(), await party.phone()
    await first.join(party.room, talk_first=False)
    await second.join(party.room)
    event = await event_of(first.client, driver.ParticipantChanged)
    assert event.participant == RoomParticipant(second.k + 1, f"p{second.k}", True, False)


async def test_a_speaker_is_heard_by_the_others_and_not_by_itself(party: Party) -> None:
    speaker, first, second = await party.joined(3)
    speaker.talk(MIDDLE)
    await first.hears(MIDDLE)
    await second.hears(MIDDLE)
    assert {packet.payload for packet in speaker.heard} == {SILENCE}


async def test_two_speakers_are_both_heard_and_hear_each_other(party: Party) -> None:
    low, high, listener = await party.joined(3)
    low.talk(LOW)
    high.talk(HIGH)
    await listener.hears(LOW, HIGH, frames=25)
    await low.hears(HIGH)
    await high.hears(LOW)
    assert not any(LOW in tones for tones in low.tones())


async def test_who_joined_muted_is_not_heard_until_unmuted(party: Party) -> None:
    listener, loud = await party.joined(2)
    quiet = await party.phone()
    await quiet.join(party.room, muted=True)
    quiet.talk(LOW)
    loud.talk(HIGH)
    await listener.hears(HIGH, frames=25)
    assert not any(LOW in tones for tones in listener.tones())
    await quiet.client.configure(muted=False)
    await listener.hears(LOW, HIGH)
    await quiet.client.configure(muted=True)
    await wait_until(lambda: None if (listener.tones() or [set()])[-1] == {HIGH} else "still heard")
    listener.forget()
    await listener.hears(HIGH, frames=25)
    assert not any(LOW in tones for tones in listener.tones())


async def test_a_moderator_mutes_one_and_then_all(party: Party) -> None:
    listener, low, high = await party.joined(3)
    low.talk(LOW)
    high.talk(HIGH)
    await listener.hears(LOW, HIGH)
    await party.admin.set_muted(party.room, low.k + 1, True)
    event = await event_of(low.client, driver.MutedByRoom)
    assert (event.room, event.muted) == (party.room, True)
    await listener.hears(HIGH, frames=25)
    assert (await party.listed())[low.k + 1].muted is True
    await party.admin.set_room_muted(party.room, True)
    await wait_until(lambda: None if (listener.tones() or [{1}])[-1] == set() else "still heard")
    listener.forget()
    await listener.gets(25)
    assert {packet.payload for packet in listener.heard} == {SILENCE}
    await party.admin.set_room_muted(party.room, False)
    await listener.hears(HIGH)


async def test_a_speaker_enters_the_mix_with_its_seventh_packet(party: Party) -> None:
    speaker, listener = await party.phone(), (await party.joined(1))[0]
    await speaker.join(party.room, talk_first=False)
    speaker.say(*[tone(MIDDLE)] * 6)
    await wait_until(lambda: None if speaker.heard else "the speaker has no media yet")
    listener.forget()
    await listener.gets(15)
    assert listener.tones().count({MIDDLE}) == 0
    speaker.say(tone(MIDDLE))
    await listener.hears(MIDDLE, frames=7)
    listener.forget()
    speaker.say(tone(MIDDLE))
    await listener.hears(MIDDLE, frames=1)
    await listener.gets(10)
    assert listener.tones().count({MIDDLE}) == 1, "no new prebuffering after a pause"


async def test_a_queue_that_grows_too_long_is_cut_to_its_newest(party: Party) -> None:
    speaker, listener = await party.joined(2)
    speaker.say(*[tone(LOW)] * 24, *[tone(HIGH)] * 6)
    await listener.hears(HIGH, frames=6)
    await listener.gets(len(listener.heard) + 10)
    assert listener.tones().count({HIGH}) == 6
    # The mixer may take a few while the burst arrives; cut nothing and it would play all 24.
    assert listener.tones().count({LOW}) <= 10


async def test_late_repeated_and_misshapen_packets_are_dropped(party: Party) -> None:
    speaker, listener = await party.joined(2)
    speaker.say(*[SILENCE] * 7, sequence=994)
    newest = 1_000
    for late in (newest, newest - 1, newest - 50):
        speaker.say(tone(LOW), sequence=late)
    speaker.say(tone(LOW)[:80], sequence=newest + 1)
    speaker.say(tone(HIGH), sequence=newest + 2)
    await listener.hears(HIGH, frames=1)
    speaker.say(tone(HIGH), sequence=newest + 1_000, ssrc=99)
    await listener.hears(HIGH, frames=2)
    await listener.gets(len(listener.heard) + 5)
    assert listener.tones().count({LOW}) == 0


async def test_packets_of_others_to_ones_port_are_dropped(party: Party) -> None:
    speaker, listener = await party.phone(), (await party.joined(1))[0]
    place = await speaker.join(party.room)
    intruder = await party.phone()
    intruder.connect_to(place.rtp_ip, place.rtp_port)
    intruder.talk(LOW)
    speaker.talk(HIGH)
    await listener.hears(HIGH, frames=25)
    assert not any(LOW in tones for tones in listener.tones())


async def test_each_join_gets_a_port_of_its_own(party: Party) -> None:
    phone, ports = await party.phone(), []
    for _ in range(4):
        ports.append((await phone.join(party.room)).rtp_port)
        await phone.client.leave()
    assert len(set(ports)) == 4
    assert all(port % 2 == 0 for port in ports)


# --- endings -------------------------------------------------------------------------------------


async def test_a_lost_connection_is_told_as_leaving_and_ends_the_media(party: Party) -> None:
    gone, other = await party.joined(2)
    gone.client._session._socket.get_extra_info("socket").shutdown(2)
    event = await event_of(other.client, driver.ParticipantGone)
    assert event.participant_id == gone.k + 1
    assert (await party.listed()).keys() == {other.k + 1}
    await stays_silent(gone, beside=other)


async def stays_silent(phone: Phone, *, beside: Phone) -> None:
    """Wait until no packet comes to `phone` while half a second of them comes to `beside`."""
    for _ in range(20):
        phone.forget()
        beside.forget()
        await beside.gets(25)
        if not phone.heard:
            return
    raise AssertionError("media did not stop")


async def test_a_closed_port_is_noticed_and_told_as_leaving(party: Party) -> None:
    gone, other = await party.joined(2)
    await gone.unplug()
    event = await event_of(other.client, driver.ParticipantGone)
    assert event.participant_id == gone.k + 1
    assert gone.client.lost is None


async def test_who_is_kicked_is_told_and_returns_on_a_new_handle(party: Party) -> None:
    kicked, other = await party.joined(2)
    kicked.talk(MIDDLE)
    await other.hears(MIDDLE)
    await party.admin.kick(party.room, kicked.k + 1)
    event = await event_of(kicked.client, driver.Kicked)
    assert event.room == party.room
    await event_of(other.client, driver.ParticipantGone)
    with pytest.raises(RoomError) as refused:
        await kicked.client.leave()
    assert refused.value.code == 487
    await stays_silent(kicked, beside=other)
    await kicked.join(party.room)
    other.forget()
    await other.hears(MIDDLE)


async def test_a_handle_that_was_kicked_joins_again_and_never_gets_media(
    party: Party, wire: Wire
) -> None:
    (other,) = await party.joined(1)
    phone = await party.phone()
    host, port = phone.address
    body = {"request": "join", "room": party.room, "id": 77, "codec": "pcmu"}
    body["rtp"] = {"ip": host, "port": port}
    handle = await wire.open()
    await wire.request(handle, **body)
    await party.admin.kick(party.room, 77)
    await event_of(other.client, driver.ParticipantGone)
    local = (await wire.request(handle, **body))["rtp"]
    phone.connect_to(local["ip"], local["port"])
    for _ in range(3):
        phone.say(SILENCE)
        other.forget()
        await other.gets(10)
    assert phone.heard == []
    assert (await party.listed())[77].setup is False
    await party.admin.kick(party.room, 77)
    other.forget()
    await other.gets(60)
    assert 77 in await party.listed(), "a second kick finds nothing to hang up"
    assert (await wire.request(handle, request="leave"))["audiobridge"] == "left"


async def test_a_handle_that_left_joins_again_and_its_stream_goes_on(
    party: Party, wire: Wire
) -> None:
    phone = await party.phone()
    host, port = phone.address
    body = {"request": "join", "room": party.room, "id": 77, "codec": "pcmu"}
    body["rtp"] = {"ip": host, "port": port}
    handle = await wire.open()
    local = (await wire.request(handle, **body))["rtp"]
    phone.connect_to(local["ip"], local["port"])
    phone.say(SILENCE)
    await phone.gets(5)
    await wire.request(handle, request="leave")
    phone.forget()
    again = (await wire.request(handle, **body))["rtp"]
    phone.connect_to(again["ip"], again["port"])
    await phone.gets(5)
    assert phone.heard[0].header.sequence > 5
    assert phone.heard[0].header.timestamp > 4 * 160


async def test_a_destroyed_room_is_told_to_all_and_its_media_ends(party: Party) -> None:
    first, second = await party.joined(2)
    await party.admin.destroy_room(party.room)
    for phone in (first, second):
        event = await event_of(phone.client, driver.RoomGone)
        assert event.room == party.room
    assert await party.admin.exists(party.room) is False
    party.room = next(room_numbers)
    await party.admin.create_room(party.room)
    (other,) = await party.joined(1)
    await stays_silent(first, beside=other)
    await first.join(party.room)
    first.talk(LOW)
    await other.hears(LOW)
