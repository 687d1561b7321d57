"""Engine and guardian understand each other, and know nonsense when they get it."""

import pytest

from chaoskit.wire.guardian import (
    Exited,
    Farewell,
    KeepLease,
    LeaseTrouble,
    Notice,
    Ready,
    Reply,
    Request,
    Shutdown,
    Signal,
    Spawn,
    Status,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
)

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "request_",
    [
        Spawn(name="room-a", argv=["python", "-c", "print('é\n')"], env={"A": "1"}),
        Signal(name="room-a", signum=9),
        Status(name="room-a"),
        KeepLease(url="http://127.0.0.1:1", lease="l1", ttl_s=10.0),
        Shutdown(waves=[["crowd"], ["room-a", "room-b"]], grace_s=1.5),
        Farewell(),
    ],
    ids=lambda request: request.cmd,
)
def test_a_request_survives_the_way_on_one_line(request_: Request) -> None:
    line = encode_request(7, request_)

    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode_request(line) == (7, request_)


@pytest.mark.parametrize(
    "answer",
    [
        Reply(id=7, value={"pid": 12}),
        Reply(id=7, error="room-a: no such process in this run"),
        Ready(pid=12),
        Exited(name="room-a", pid=12, exit=-9, at_s=1.5),
        LeaseTrouble(lease="l1", why="not renewed"),
    ],
    ids=lambda answer: type(answer).__name__,
)
def test_an_answer_survives_the_way(answer: Reply | Notice) -> None:
    assert decode_answer(encode_answer(answer)) == answer


@pytest.mark.parametrize("line", [b"{}", b"[]", b"not json", b'{"id": 1, "cmd": "fly"}', b"1"])
def test_nonsense_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a request|Expecting value"):
        decode_request(line)
    with pytest.raises(ValueError, match=r"not an answer|Expecting value"):
        decode_answer(line)
