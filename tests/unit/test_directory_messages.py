"""The directory's messages: their codecs, their description, and the config file."""

import dataclasses
import json
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
import yaml
from openapi_core import OpenAPI

from chaoskit.errors import InvalidInput
from chaoskit.services.directory.config import load_config
from chaoskit.wire.directory import (
    DirectoryConfig,
    EventRequest,
    EventState,
    FreshRoomRequest,
    Health,
    JoinReply,
    JoinRequest,
    LeaseReply,
    LeaseRequest,
    NodeConfig,
    Remedies,
)
from chaoskit.wire.directory_codec import Message, encode_message, parse_message
from tools import openapi_json

pytestmark = pytest.mark.unit

DESCRIPTION = openapi_json.FOLDER / "openapi.yaml"

MESSAGES: list[Message] = [
    EventRequest(event="night", account="a b".replace(" ", "-"), candidates=["p0"], speakers=[]),
    EventState(
        event="night", generation=2, status="open", room=7, node="room-b", account="own",
        host="p2", stage=["p1"], opened_s=12.5,
    ),
    JoinRequest(identity="p5"),
    JoinReply(event="n", generation=1, room=1, node="room-a", token="t", stage=False),
    LeaseRequest(identity="p0"),
    LeaseReply(holder=True, lease_s=4.0, generation=1),
    FreshRoomRequest(account="own", node="room-b"),
    Health(status="ok", nodes={"room-a": True}, counters={"joined": 3}),
    DirectoryConfig(
        nodes=[NodeConfig(name="room-a", signal_url="ws://127.0.0.1:1")],
        remedies=Remedies(redirect=True),
    ),
]  # fmt: skip


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_survives_the_wire(message: Message) -> None:
    assert parse_message(type(message), encode_message(message)) == message


@pytest.mark.parametrize(
    ("kind", "text", "says"),
    [
        (JoinRequest, "", "Invalid JSON"),
        (JoinRequest, "[]", "should be an object"),
        (JoinRequest, "{}", "identity: Field required"),
        (JoinRequest, '{"identity": 5}', "identity: Input should be a valid string"),
        (JoinRequest, '{"identity": "p 5"}', "identity: 'p 5' is not 1 to 64 printable"),
        (JoinRequest, '{"identity": "p5\\n"}', "is not 1 to 64 printable"),
        (JoinRequest, '{"identity": "p5", "name": "x"}', "name: Unexpected keyword argument"),
        (
            EventRequest,
            '{"event": "a/b", "account": "a", "candidates": [], "speakers": []}',
            "event: 'a/b' does not match",
        ),
        (
            EventRequest,
            '{"event": "a", "account": "a", "candidates": ["p1", "p1"], "speakers": []}',
            "candidates: each identity once",
        ),
        (DirectoryConfig, '{"nodes": []}', "nodes: at least one"),
    ],
)
def test_a_message_that_cannot_be_used_says_why(kind: type[Message], text: str, says: str) -> None:
    with pytest.raises(ValueError, match=r".") as raised:
        parse_message(kind, text)
    assert says in str(raised.value)


def test_all_findings_come_at_once() -> None:
    with pytest.raises(ValueError, match=r".") as raised:
        parse_message(EventRequest, '{"event": 1, "extra": 2}')
    assert len(str(raised.value).splitlines()) == 5


def test_a_bad_config_file_is_named_with_every_finding(tmp_path: Path) -> None:
    path = tmp_path / "directory.json"
    path.write_text('{"nodes": [{"name": "room-a"}], "lease": 4}')
    with pytest.raises(InvalidInput) as raised:
        load_config(path)
    assert raised.value.message.splitlines() == [
        f"{path}: nodes.0.signal_url: Field required",
        f"{path}: lease: Unexpected keyword argument",
    ]
    assert raised.value.hint
    with pytest.raises(InvalidInput, match="No such file"):
        load_config(tmp_path / "nowhere.json")


def test_the_served_description_is_the_written_one() -> None:
    served = (openapi_json.FOLDER / "openapi.json").read_text(encoding="utf-8")
    assert served == openapi_json.as_json(), "run: python -m tools.openapi_json"
    OpenAPI.from_file_path(str(DESCRIPTION))  # raises when it is not OpenAPI


DESCRIBED: dict[str, type[Any]] = {
    "EventRequest": EventRequest,
    "EventState": EventState,
    "JoinReply": JoinReply,
    "LeaseReply": LeaseReply,
    "FreshRoomRequest": FreshRoomRequest,
    "Health": Health,
    "IdentityRequest": JoinRequest,
}


@pytest.mark.parametrize("name", DESCRIBED)
def test_the_description_has_the_members_of_the_message(name: str) -> None:
    schema = yaml.safe_load(DESCRIPTION.read_text())["components"]["schemas"][name]
    members = dataclasses.fields(DESCRIBED[name])
    assert list(schema["properties"]) == [member.name for member in members]
    if name.endswith("Request"):
        optional = {m.name for m in members if m.default is not dataclasses.MISSING}
        assert set(schema["required"]) == {m.name for m in members} - optional
    else:
        assert set(schema["required"]) == {m.name for m in members}  # replies leave nothing out


def test_every_message_has_a_codec() -> None:
    assert {type(message) for message in MESSAGES} <= set(get_args(Message))


def test_the_names_that_the_description_allows_are_those_that_the_codec_allows() -> None:
    schemas = yaml.safe_load(DESCRIPTION.read_text())["components"]["schemas"]
    for name in ("p1", "~", "x" * 64, "", "x" * 65, "a b", "ä", "tab\t"):
        described = True
        try:
            jsonschema.validate(name, schemas["Name"])
        except jsonschema.ValidationError:
            described = False
        try:
            parse_message(JoinRequest, json.dumps({"identity": name}))
        except ValueError:
            assert not described, name
        else:
            assert described, name
