"""Messages of the Janus API and of AudioBridge: both codecs, and how bad input is refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.wire import audiobridge as ask
from chaoskit.wire import audiobridge_answers as tell
from chaoskit.wire import janus_api
from chaoskit.wire.audiobridge import BridgeError
from chaoskit.wire.janus_api import CoreError, Request

pytestmark = pytest.mark.unit

rooms = st.integers(0, janus_api.MAX_ID - 1)
names = st.text(max_size=20)
texts = st.none() | names
participants = st.lists(
    st.builds(tell.RoomParticipant, rooms, texts, st.booleans(), st.booleans()), max_size=3
).map(tuple)
addresses = st.builds(ask.RtpAddress, st.just("127.64.0.1"), st.integers(1, 65_535))

requests = st.one_of(
    st.builds(
        ask.Create,
        room=rooms,
        description=texts,
        sampling_rate=st.sampled_from(ask.SAMPLING_RATES),
        allow_rtp_participants=st.booleans(),
        is_private=st.booleans(),
        secret=texts,
        pin=texts,
        permanent=st.booleans(),
        default_prebuffering=st.integers(0, ask.MAX_PREBUFFER),
    ),
    st.builds(ask.Exists, room=rooms),
    st.just(ask.ListRooms()),
    st.builds(
        ask.Join,
        room=rooms,
        id=rooms,
        display=texts,
        muted=st.booleans(),
        codec=st.just("pcmu"),
        prebuffer=st.none() | st.integers(0, ask.MAX_PREBUFFER),
        pin=texts,
        secret=texts,
        rtp=st.none() | addresses,
    ),
    st.builds(ask.Configure, muted=st.none() | st.booleans(), display=texts),
    st.just(ask.Leave()),
    st.just(ask.HangUp()),
    st.builds(ask.ListParticipants, room=rooms),
    st.builds(ask.Kick, room=rooms, id=rooms, secret=texts),
    st.builds(ask.KickAll, room=rooms, secret=texts),
    st.builds(ask.SetMuted, room=rooms, id=rooms, muted=st.booleans(), secret=texts),
    st.builds(ask.SetRoomMuted, room=rooms, muted=st.booleans(), secret=texts),
    st.builds(ask.Destroy, room=rooms, secret=texts, permanent=st.booleans()),
)

answers = st.one_of(
    st.builds(tell.Created, rooms, st.booleans()),
    st.builds(tell.RoomExists, rooms, st.booleans()),
    st.builds(
        tell.RoomList,
        st.lists(
            st.builds(
                tell.RoomSummary,
                rooms,
                names,
                st.sampled_from(ask.SAMPLING_RATES),
                st.booleans(),
                st.booleans(),
                st.integers(0, 9),
            ),
            max_size=2,
        ).map(tuple),
    ),
    st.builds(tell.Joined, rooms, rooms, participants, st.none() | addresses),
    st.just(tell.Configured()),
    st.builds(tell.Left, rooms, rooms),
    st.just(tell.HangingUp()),
    st.builds(tell.ParticipantList, rooms, participants),
    st.builds(tell.Done, st.none() | rooms),
    st.builds(tell.DestroyedRoom, rooms, st.booleans()),
    st.builds(tell.Failed, st.integers(480, 499), names),
    st.builds(tell.ParticipantsJoined, rooms, participants),
    st.builds(tell.ParticipantsChanged, rooms, participants),
    st.builds(tell.ParticipantLeaving, rooms, rooms),
    st.builds(tell.ParticipantKicked, rooms, rooms, st.booleans()),
    st.builds(tell.RoomMuted, rooms, st.booleans()),
    st.builds(tell.RoomDestroyed, rooms),
)


@given(requests)
def test_every_request_survives_json(request: ask.BridgeRequest) -> None:
    assert ask.parse_request(json.loads(json.dumps(ask.encode_request(request)))) == request


@given(answers)
def test_every_answer_and_announcement_survives_json(
    answer: tell.BridgeAnswer | tell.BridgeAnnouncement,
) -> None:
    assert tell.parse_answer(json.loads(janus_api.dumps(tell.encode_answer(answer)))) == answer


def test_what_is_outside_the_subset_is_kept_as_it_is() -> None:
    for data in ({"audiobridge": "talking", "room": 1, "id": 2}, {"audiobridge": "event"}):
        assert tell.parse_answer(data) == tell.Unfamiliar(data)


@pytest.mark.parametrize("data", [{}, {"audiobridge": "left"}, {"audiobridge": "joined", "id": 1}])
def test_data_that_lacks_a_member_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not AudioBridge data"):
        tell.parse_answer(data)


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        ({}, 483, "Missing mandatory element (request)"),
        ({"request": 5}, 484, "Invalid element type (request should be a string)"),
        ({"request": "frob"}, 482, "Unknown request 'frob'"),
        ({"request": "exists"}, 483, "Missing mandatory element (room)"),
        ({"request": "exists", "room": "x"}, 484,
         "Invalid element type (room should be a positive integer)"),
        ({"request": "exists", "room": True}, 484,
         "Invalid element type (room should be a positive integer)"),
        ({"request": "exists", "room": -1}, 484,
         "Invalid element type (room should be a positive integer)"),
        ({"request": "create", "is_private": "x"}, 484,
         "Invalid element type (is_private should be a boolean)"),
        ({"request": "join", "room": 1, "rtp": "x"}, 484,
         "Invalid element type (rtp should be an object)"),
        ({"request": "kick", "room": 1}, 483, "Missing mandatory element (id)"),
    ],
)  # fmt: skip
def test_bad_bodies_get_the_codes_and_words_of_janus(
    body: dict[str, Any], code: int, text: str
) -> None:
    with pytest.raises(BridgeError) as caught:
        ask.parse_request(body)
    assert (caught.value.code, caught.value.text) == (code, text)


def test_an_address_that_cannot_be_sent_to_is_no_error() -> None:
    for rtp in ({}, {"ip": "127.0.0.1"}, {"ip": 5, "port": 9}, {"ip": "127.0.0.1", "port": 70_000}):
        join = ask.parse_request({"request": "join", "room": 1, "rtp": rtp})
        assert isinstance(join, ask.Join)
        assert join.rtp == ask.NOWHERE


def test_a_prebuffer_that_is_too_long_leaves_the_default() -> None:
    join = ask.parse_request({"request": "join", "room": 1, "prebuffer": 51})
    create = ask.parse_request({"request": "create", "default_prebuffering": 51})
    assert isinstance(join, ask.Join)
    assert isinstance(create, ask.Create)
    assert (join.prebuffer, create.default_prebuffering) == (None, ask.DEFAULT_PREBUFFER)


def test_request_names_are_read_whatever_their_case() -> None:
    assert ask.parse_request({"request": "EXISTS", "room": 1}) == ask.Exists(room=1)


# --- envelope ------------------------------------------------------------------------------------


def test_a_request_survives_the_envelope() -> None:
    text = janus_api.encode_request(
        "message", "t", session_id=7, handle_id=8, members={"body": {"request": "list"}}
    )
    (request,) = janus_api.parse_requests(text)
    assert isinstance(request, Request)
    assert (request.keyword, request.transaction) == ("message", "t")
    assert (request.session_id, request.handle_id) == (7, 8)
    assert request.object_field("body") == {"request": "list"}


def test_one_message_may_hold_several_requests() -> None:
    text = '{"janus":"PING","transaction":"a"}\n {"janus":"info","transaction":"b"}  '
    keywords = [r.keyword for r in janus_api.parse_requests(text) if isinstance(r, Request)]
    assert keywords == ["ping", "info"]


@pytest.mark.parametrize(
    ("text", "code", "reason"),
    [
        ("", 454, "Invalid Janus API request"),
        ("nonsense", 454, "Invalid Janus API request"),
        ('"x"', 454, "Invalid Janus API request"),
        ("[" * 100_000, 454, "Invalid Janus API request"),
        ("[1]", 456, "Missing mandatory element (transaction)"),
        ('{"transaction":"t"}', 456, "Missing mandatory element (janus)"),
        ('{"janus":"ping","transaction":5}', 467,
         "Invalid element type (transaction should be a string)"),
        ('{"janus":"ping","transaction":"t","session_id":-1}', 467,
         "Invalid element type (session_id should be a positive integer)"),
    ],
)  # fmt: skip
def test_what_is_no_request_gets_the_codes_and_words_of_janus(
    text: str, code: int, reason: str
) -> None:
    (error,) = janus_api.parse_requests(text)
    assert isinstance(error, CoreError)
    assert error.code == code
    assert error.reason.startswith(reason)
    reply = json.loads(janus_api.encode_error(error))
    assert reply == {"janus": "error", "error": {"code": code, "reason": error.reason}}


def test_what_stands_behind_a_bad_request_is_still_read() -> None:
    first, second = janus_api.parse_requests('{}{"janus":"ping","transaction":"q"}')
    assert isinstance(first, CoreError)
    assert isinstance(second, Request)


@given(st.text(max_size=60))
def test_no_text_breaks_the_reader(text: str) -> None:
    for found in janus_api.parse_requests(text):
        assert isinstance(found, Request | CoreError)


def test_plugin_messages_are_read_by_clients() -> None:
    text = janus_api.encode_plugin_message(
        "event", session_id=1, sender=2, plugin=ask.PLUGIN, data='{"a":1}', transaction='t"'
    )
    message = janus_api.parse_server_message(text)
    assert (message.keyword, message.sender, message.transaction) == ("event", 2, 't"')
    assert message.data == {"a": 1}


def test_core_replies_are_read_by_clients() -> None:
    created = janus_api.encode_reply("success", transaction="t", members={"data": {"id": 5}})
    assert janus_api.parse_server_message(created).data == {"id": 5}
    refusal = CoreError(janus_api.CoreErrorCode.SESSION_NOT_FOUND, "No such session 5")
    assert janus_api.parse_server_message(janus_api.encode_error(refusal)).error == (
        458,
        "No such session 5",
    )


@pytest.mark.parametrize("text", ["[]", "{}", '{"janus":5}', "x"])
def test_what_no_server_says_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a message of the Janus API"):
        janus_api.parse_server_message(text)
