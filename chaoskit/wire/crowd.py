"""What a crowd shard is given at prepare (a JSON file) and what it can be told later (unix socket).

The plan holds everything a shard needs for the whole run; stopping the engine changes nothing that
the crowd does (DESIGN §10). Commands are JSON lines: {"id", "cmd", "p": [...], "ttl_s", ...}; they
are answered {"id", "ok": true} or {"id", "ok": false, "error"}.
"""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

CROWD_PLAN_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPlan:
    """Rules and endpoints that all members of a group in this shard share.

    `api`: base URL of the directory through the group's api link. `signal`: node → ws URL.
    `media`: node → "ip:port" of the group's UDP link. `api_link`, `signal_links` and `media_links`
    give the link names for facts. Reconnect and find fields as in model.ClientRules.
    """

    name: str
    role: str
    api: str
    api_link: str
    signal: dict[str, str]
    signal_links: dict[str, str]
    media: dict[str, str]
    media_links: dict[str, str]
    reconnect: str = "full_jitter"
    base_s: float = 0.5
    cap_s: float = 5.0
    attempts: int | None = None
    find: str = "watch"
    poll_s: float = 5.0
    join_timeout_s: float = 5.0
    media_timeout_s: float | None = None
    heartbeat_s: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticipantPlan:
    """One participant: number, group, arrival (run time).

    `band` when it speaks; `candidate` for the host lease; `leave_s`: when it leaves. For good, or
    to come again: `every_s` after `arrive_s` it arrives anew, and leaves anew, until the plan ends.
    """

    k: int
    group: str
    arrive_s: float
    band: int | None = None
    candidate: bool = False
    leave_s: float | None = None
    every_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MicPlan:
    """Script line: at run time `at_s` the microphone of participant `k` becomes `mic`."""

    at_s: float
    k: int
    mic: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardPlan:
    """Everything one shard does in a run. Paths are relative to the run folder (its cwd).

    `origin_s`: monotonic seconds of run time 0. `sentinel`: "ip:port" of this shard's sentinel UDP
    link, "" for none (only shards with listeners have one).
    """

    version: int
    shard: str
    index: int
    origin_s: float
    end_s: float
    seed: int
    event: str
    groups: list[GroupPlan]
    participants: list[ParticipantPlan]
    script: list[MicPlan] = field(default_factory=list)
    sentinel: str = ""
    playout_ms: int = 100
    facts: str = ""
    control: str = ""

    def to_json(self) -> str:
        """Return the plan as JSON text."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> "ShardPlan":
        """Parse a plan. Raises ValueError for another version or a malformed plan."""
        try:
            raw: dict[str, Any] = json.loads(text)
            if raw.get("version") != CROWD_PLAN_VERSION:
                raise ValueError(f"crowd plan version {raw.get('version')!r}")
            raw["groups"] = [GroupPlan(**g) for g in raw["groups"]]
            raw["participants"] = [ParticipantPlan(**p) for p in raw["participants"]]
            raw["script"] = [MicPlan(**m) for m in raw.get("script", [])]
            return cls(**raw)
        except (TypeError, KeyError) as error:
            raise ValueError(f"not a crowd plan: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command to a shard. `cmd`: mute | unmute | leave | rejoin | mic | stop | ping.

    `p`: participants; `ttl_s`: after which the shard undoes it by itself (0 = does not apply);
    `mic`: for `mic`.
    """

    id: int
    cmd: str
    p: list[int] = field(default_factory=list)
    ttl_s: float = 0.0
    mic: str = ""

    def encode(self) -> bytes:
        """Return the line for the socket."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> "Command":
        """Parse a line. Raises ValueError."""
        try:
            return cls(**json.loads(line))
        except TypeError as error:
            raise ValueError(f"not a command: {line[:80]!r}") from error
