"""Small rules of a client: what an error is called, what it learns, what commands answer."""

import json
from collections.abc import Callable

import pytest
from aiohttp import ClientConnectorError, ClientError, ServerDisconnectedError
from aiohttp.client_reqrep import ConnectionKey

from chaoskit.rooms.driver import LossReason
from chaoskit.services.crowd.control import answer
from chaoskit.services.crowd.finding import Whereabouts
from chaoskit.services.crowd.hops import why_failed, why_lost
from chaoskit.services.crowd.telling import Teller
from chaoskit.wire.crowd import Command
from chaoskit.wire.directory import EventState
from chaoskit.wire.facts import Fact, Found, Stage

pytestmark = pytest.mark.unit

WORDS = {"eof", "reset", "refused", "timeout"}


def could_not_connect(cause: OSError) -> ClientConnectorError:
    key = ConnectionKey("127.0.0.1", 1, False, True, None, None, None)
    return ClientConnectorError(key, cause)


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (TimeoutError(), "timeout"),
        (could_not_connect(ConnectionRefusedError()), "refused"),
        (could_not_connect(ConnectionResetError()), "reset"),
        (could_not_connect(TimeoutError()), "timeout"),
        (ConnectionResetError(), "reset"),
        (BrokenPipeError(), "reset"),
        (ServerDisconnectedError(), "eof"),
        (caused(ClientError("payload"), ConnectionResetError()), "reset"),
        (ClientError("payload"), "eof"),
        (OSError(101, "unreachable"), "refused"),
    ],
)
def test_a_failed_request_is_told_in_four_words(error: Exception, word: str) -> None:
    assert why_failed(error) == word


def test_every_loss_of_signalling_has_a_word() -> None:
    assert {why_lost(reason) for reason in LossReason} <= WORDS
    assert why_lost(LossReason.RESET) == "reset"
    assert why_lost(LossReason.EXPIRED) == "timeout"


def state(generation: int, *, status: str = "open", stage: tuple[str, ...] = ()) -> EventState:
    return EventState(
        event="night", generation=generation, status=status, room=1, node="room-a", account="host",
        host="", stage=list(stage), opened_s=0.0,
    )  # fmt: skip


@pytest.fixture
def learned() -> tuple[Whereabouts, list[Fact], Callable[[], int]]:
    facts: list[Fact] = []
    news: list[int] = []
    return (
        Whereabouts("p3", Teller(3, facts.append), lambda: news.append(1)),
        facts,
        lambda: len(news),
    )


def test_only_a_newer_open_room_is_news(
    learned: tuple[Whereabouts, list[Fact], Callable[[], int]],
) -> None:
    where, facts, news = learned
    where.learn_state(state(1), "watch")
    where.learn_state(state(1), "poll")
    where.learn_state(state(2, status="no_room"), "poll")
    assert (where.generation, news()) == (1, 1)
    where.learn_generation(2, "join")
    assert (where.generation, news()) == (2, 2)
    found = [(f.generation, f.how) for f in facts if isinstance(f, Found)]
    assert found == [(1, "watch"), (2, "join")]


def test_the_stage_is_told_when_it_changes(
    learned: tuple[Whereabouts, list[Fact], Callable[[], int]],
) -> None:
    where, facts, _ = learned
    where.learn_state(state(1), "watch")
    where.learn_stage(True)
    where.learn_stage(True)
    where.learn_state(state(1, stage=("p3",)), "watch")
    where.learn_state(state(1), "watch")
    where.learn_state(state(1), "watch")
    assert [f.granted for f in facts if isinstance(f, Stage)] == [True, False]


async def answered(line: bytes, carry_out: Callable[[Command], None]) -> dict[str, object]:
    async def carry(command: Command) -> None:
        carry_out(command)

    reply: dict[str, object] = json.loads(await answer(line, carry))
    return reply


async def test_a_command_is_carried_out_and_answered_by_its_number() -> None:
    seen: list[Command] = []
    command = Command(id=4, cmd="leave", p=[1, 2], ttl_s=3.0)
    assert await answered(command.encode(), seen.append) == {"id": 4, "ok": True}
    assert seen == [command]


@pytest.mark.parametrize("line", [b"{\n", b"[]\n", b'{"id": 1}\n', b'{"id":1,"cmd":"x","q":2}\n'])
async def test_what_is_no_command_is_refused(line: bytes) -> None:
    reply = await answered(line, lambda _: None)
    assert reply["ok"] is False
    assert reply["error"]


async def test_a_command_that_fails_is_answered_too() -> None:
    def fail(command: Command) -> None:
        raise ValueError("not in this shard: [9]") if command.p else RuntimeError("a bug")

    refused = await answered(Command(id=1, cmd="leave", p=[9]).encode(), fail)
    assert refused == {"id": 1, "ok": False, "error": "not in this shard: [9]"}
    failed = await answered(Command(id=2, cmd="ping").encode(), fail)
    assert failed == {"id": 2, "ok": False, "error": "RuntimeError('a bug')"}
