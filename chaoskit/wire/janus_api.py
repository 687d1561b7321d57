"""The envelope of the Janus API over WebSocket: requests, replies, core error codes.

Contract: Janus 1.1.2, checked against the running server by `tests/contract/test_audiobridge.py`.
Every request names a keyword in `janus` and a `transaction`; a reply is found by its transaction
and never by its order, for the acknowledgement of an asynchronous request can arrive after its
answer. What plugins say travels inside; for AudioBridge that is `chaoskit.wire.audiobridge`.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from chaoskit.model import Json

SUBPROTOCOL = "janus-protocol"
"""WebSocket subprotocol, mandatory on both sides."""
MAX_ID = 1 << 53
"""Ids stay below this, so that they survive JavaScript."""

_COMPACT = (",", ":")


class CoreErrorCode(IntEnum):
    """Errors of the core; errors of a plugin travel inside its answer."""

    MISSING_REQUEST = 452
    UNKNOWN_REQUEST = 453
    INVALID_JSON = 454
    INVALID_JSON_OBJECT = 455
    MISSING_MANDATORY_ELEMENT = 456
    INVALID_REQUEST_PATH = 457
    SESSION_NOT_FOUND = 458
    HANDLE_NOT_FOUND = 459
    PLUGIN_NOT_FOUND = 460
    PLUGIN_MESSAGE = 462
    INVALID_ELEMENT_TYPE = 467
    SESSION_CONFLICT = 468


class CoreError(Exception):
    """The core refuses a request.

    `session_id` and `transaction` are what its reply repeats; an unreadable request has neither.
    """

    def __init__(
        self,
        code: CoreErrorCode,
        reason: str,
        *,
        session_id: int | None = None,
        transaction: str | None = None,
    ) -> None:
        """Keep the code, Janus's own wording, and what to address the reply with."""
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.session_id = session_id
        self.transaction = transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request as the core reads it: `keyword` in lower case, ids 0 when absent.

    `fields` holds the whole object; `text_field` and `object_field` read further members of it.
    """

    keyword: str
    transaction: str
    session_id: int = 0
    handle_id: int = 0
    fields: Mapping[str, Json] = field(default_factory=dict)

    def refusal(self, code: CoreErrorCode, reason: str) -> CoreError:
        """Return an error that answers this request."""
        return CoreError(
            code, reason, session_id=self.session_id or None, transaction=self.transaction
        )

    def text_field(self, name: str) -> str:
        """Return a mandatory string member. Raises CoreError."""
        value = self._mandatory(name)
        if not isinstance(value, str):
            raise self._wrong_type(name, "a string")
        return value

    def object_field(self, name: str) -> Mapping[str, Json]:
        """Return a mandatory object member. Raises CoreError."""
        value = self._mandatory(name)
        if not isinstance(value, dict):
            raise self._wrong_type(name, "an object")
        return value

    def id_field(self, name: str) -> int:
        """Return an optional id, 0 when it is absent. Raises CoreError."""
        value = self.fields.get(name, 0)
        if type(value) is not int or value < 0:
            raise self._wrong_type(name, "a positive integer")
        return value

    def _mandatory(self, name: str) -> Json:
        if name not in self.fields:
            raise self.refusal(
                CoreErrorCode.MISSING_MANDATORY_ELEMENT, f"Missing mandatory element ({name})"
            )
        return self.fields[name]

    def _wrong_type(self, name: str, kind: str) -> CoreError:
        return self.refusal(
            CoreErrorCode.INVALID_ELEMENT_TYPE, f"Invalid element type ({name} should be {kind})"
        )


def parse_requests(text: str) -> Iterator[Request | CoreError]:
    """Yield the requests of one WebSocket message: one or several JSON objects in a row.

    What cannot be read is yielded as the error to answer with; text that is not JSON ends the
    message.
    """
    decoder, position = json.JSONDecoder(), 0
    text = text.strip()
    if not text:
        yield _not_json("it is empty")
    while position < len(text):
        try:
            value, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            yield _not_json(str(error))
            return
        if not isinstance(value, dict | list):
            yield _not_json("'[' or '{' expected")
            return
        while position < len(text) and text[position].isspace():
            position += 1
        try:
            yield _parse_request(value)
        except CoreError as error:
            yield error


def _not_json(why: str) -> CoreError:
    return CoreError(CoreErrorCode.INVALID_JSON, f"Invalid Janus API request - {why}")


def _parse_request(value: Json) -> Request:
    if not isinstance(value, dict):
        # Janus looks for members in a list, too, and so misses the first one.
        value = {}
    for name in ("transaction", "janus"):
        if name not in value:
            raise CoreError(
                CoreErrorCode.MISSING_MANDATORY_ELEMENT, f"Missing mandatory element ({name})"
            )
        if not isinstance(value[name], str):
            raise CoreError(
                CoreErrorCode.INVALID_ELEMENT_TYPE,
                f"Invalid element type ({name} should be a string)",
            )
    ids = {}
    for name in ("session_id", "handle_id", "id"):
        member = value.get(name, 0)
        if type(member) is not int or member < 0:
            raise CoreError(
                CoreErrorCode.INVALID_ELEMENT_TYPE,
                f"Invalid element type ({name} should be a positive integer)",
            )
        ids[name] = member
    return Request(
        keyword=value["janus"].lower(),
        transaction=value["transaction"],
        session_id=ids["session_id"],
        handle_id=ids["handle_id"],
        fields=value,
    )


def encode_request(
    keyword: str,
    transaction: str,
    *,
    session_id: int | None = None,
    handle_id: int | None = None,
    members: Mapping[str, Json] | None = None,
) -> str:
    """Return a request as text; `members` are further ones, such as `plugin` or `body`."""
    message: dict[str, Json] = {"janus": keyword, "transaction": transaction}
    if session_id is not None:
        message["session_id"] = session_id
    if handle_id is not None:
        message["handle_id"] = handle_id
    message.update(members or {})
    return dumps(message)


def encode_reply(
    keyword: str,
    *,
    session_id: int | None = None,
    transaction: str | None = None,
    sender: int | None = None,
    members: Mapping[str, Json] | None = None,
) -> str:
    """Return a message of the server that carries no plugin data, in Janus's member order."""
    message: dict[str, Json] = {"janus": keyword}
    if session_id is not None:
        message["session_id"] = session_id
    if transaction is not None:
        message["transaction"] = transaction
    if sender is not None:
        message["sender"] = sender
    message.update(members or {})
    return dumps(message)


def encode_error(error: CoreError) -> str:
    """Return the reply that reports `error`."""
    return encode_reply(
        "error",
        session_id=error.session_id,
        transaction=error.transaction,
        members={"error": {"code": int(error.code), "reason": error.reason}},
    )


def encode_plugin_message(
    keyword: str, *, session_id: int, sender: int, plugin: str, data: str, transaction: str | None
) -> str:
    """Return a `success` or `event` around `data`, which is JSON text already.

    The text is joined by hand because one notification goes to a whole room: only the ids differ.
    """
    answers = "" if transaction is None else f'"transaction":{json.dumps(transaction)},'
    return (
        f'{{"janus":"{keyword}","session_id":{session_id},{answers}"sender":{sender},'
        f'"plugindata":{{"plugin":"{plugin}","data":{data}}}}}'
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerMessage:
    """A message of the server as a client reads it.

    `data` is the plugin's, else the reply's own `data`; `error` is (code, reason) of the core;
    `fields` holds the whole object.
    """

    keyword: str
    transaction: str | None = None
    session_id: int | None = None
    sender: int | None = None
    data: Mapping[str, Json] | None = None
    error: tuple[int, str] | None = None
    fields: Mapping[str, Json] = field(default_factory=dict)


def parse_server_message(text: str) -> ServerMessage:
    """Parse what a server sent. Raises ValueError when it is not a message of the Janus API."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not a message of the Janus API: {error}") from error
    if not isinstance(message, dict) or not isinstance(message.get("janus"), str):
        raise ValueError("not a message of the Janus API")
    plugin_data = message.get("plugindata")
    data = (plugin_data if isinstance(plugin_data, dict) else message).get("data")
    refusal = message.get("error")
    return ServerMessage(
        keyword=message["janus"],
        transaction=message.get("transaction"),
        session_id=message.get("session_id"),
        sender=message.get("sender"),
        data=data if isinstance(data, dict) else None,
        error=(
            (int(refusal["code"]), str(refusal["reason"])) if isinstance(refusal, dict) else None
        ),
        fields=message,
    )


def dumps(value: Json) -> str:
    """Return `value` as compact JSON."""
    return json.dumps(value, separators=_COMPACT)
