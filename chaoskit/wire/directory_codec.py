"""JSON codecs of the messages of `chaoskit.wire.directory`, derived from their dataclasses.

Requests and the config file are read strictly (no coercion, unknown members refused) and report
everything that is wrong with a message at once.
"""

import json
from dataclasses import asdict
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from chaoskit.wire.directory import (
    DirectoryConfig,
    ErrorReply,
    EventRequest,
    EventState,
    FreshRoomRequest,
    Health,
    JoinReply,
    JoinRequest,
    LeaseReply,
    LeaseRequest,
    NodeConfig,
    Refusal,
    Remedies,
    StageReply,
)

Message = (
    DirectoryConfig | ErrorReply | EventRequest | EventState | FreshRoomRequest | Health | JoinReply
    | JoinRequest | LeaseReply | LeaseRequest | StageReply
)  # fmt: skip
M = TypeVar("M", bound=Message)

for _kind in (
    DirectoryConfig, ErrorReply, EventRequest, EventState, FreshRoomRequest, Health, JoinReply,
    JoinRequest, LeaseReply, LeaseRequest, NodeConfig, Refusal, Remedies, StageReply,
):  # fmt: skip
    # Set from here, so that the messages themselves stay free of pydantic.
    with_config(ConfigDict(extra="forbid", strict=True))(_kind)


_adapters: dict[Any, TypeAdapter[Any]] = {}


def _adapter(kind: type[M]) -> TypeAdapter[M]:
    if kind not in _adapters:  # building one takes milliseconds, and most processes need few
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


def parse_message(kind: type[M], text: str | bytes) -> M:
    """Parse JSON text into a message of `kind`.

    Raises ValueError with one line for each thing that is wrong, `member.member: what`.
    """
    try:
        return _adapter(kind).validate_json(text)
    except ValidationError as error:
        raise ValueError("\n".join(map(_finding, error.errors(include_url=False)))) from error


def encode_message(message: Message) -> bytes:
    """Return `message` as JSON, UTF-8, without a line end."""
    return json.dumps(asdict(message), ensure_ascii=False, separators=(",", ":")).encode()


def _finding(error: Any) -> str:
    where = ".".join(map(str, error["loc"]))
    what = str(error["msg"]).removeprefix("Value error, ")
    return f"{where}: {what}" if where else what
