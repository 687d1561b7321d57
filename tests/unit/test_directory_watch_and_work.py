"""The broadcast to watchers and the worker pool of joins."""

import asyncio
import threading
from functools import partial

import pytest

from chaoskit.services.directory.watch import BACKLOG_LINES, KEEP_ALIVE_S, WatchHub
from chaoskit.services.directory.work import QueueFull, WorkerPool

pytestmark = pytest.mark.unit


async def test_every_watcher_of_an_event_gets_each_change_once_and_in_order() -> None:
    hub = WatchHub(push=True)
    watchers = [hub.open("night", b"0\n") for _ in range(3)]
    other = hub.open("other", b"x\n")
    hub.publish("night", b"1\n")
    hub.publish("night", b"2\n")
    assert [await watcher.take() for watcher in watchers] == [b"0\n1\n2\n"] * 3
    assert await other.take() == b"x\n"


async def test_without_push_a_watcher_gets_the_first_line_and_no_change() -> None:
    hub = WatchHub(push=False)
    watcher = hub.open("night", b"0\n")
    hub.publish("night", b"1\n")
    assert await watcher.take() == b"0\n"
    waiting = asyncio.ensure_future(watcher.take())
    hub.publish("night", b"2\n")
    hub.close()
    assert await waiting == b""


async def test_a_watcher_that_takes_nothing_is_dropped_instead_of_hoarding() -> None:
    hub = WatchHub(push=True)
    watcher = hub.open("night", b"0\n")
    for n in range(BACKLOG_LINES):
        hub.publish("night", b"%d\n" % n)
    assert await watcher.take() == b""
    hub.leave(watcher)
    assert len(hub) == 0


async def test_an_empty_line_comes_before_a_watcher_has_heard_nothing_for_too_long() -> None:
    hub = WatchHub(push=True)
    watcher = hub.open("night", b"0\n")
    await watcher.take()
    fed_s = watcher._fed_s
    watcher.keep_alive(fed_s + KEEP_ALIVE_S / 2)
    watcher.keep_alive(fed_s + KEEP_ALIVE_S - 0.1)
    watcher.keep_alive(fed_s + KEEP_ALIVE_S)
    assert await watcher.take() == b"\n"


async def test_jobs_begin_in_the_order_of_their_coming() -> None:
    pool, began = WorkerPool(workers=1, queue_size=10), list[int]()
    await asyncio.gather(*(pool.run(partial(began.append, n)) for n in range(6)))
    pool.stop()
    assert began == [0, 1, 2, 3, 4, 5]


async def test_one_job_more_than_may_wait_is_refused_without_being_taken() -> None:
    pool, gate, ran = WorkerPool(workers=2, queue_size=3), threading.Event(), []

    def job() -> None:
        gate.wait(30)
        ran.append(1)

    taken = [asyncio.ensure_future(pool.run(job)) for _ in range(5)]
    await asyncio.sleep(0)
    assert (pool.waiting, pool.waiting_peak) == (3, 3)
    with pytest.raises(QueueFull):
        await pool.run(job)
    gate.set()
    await asyncio.gather(*taken)
    pool.stop()
    assert len(ran) == 5
    assert (pool.waiting, pool.waiting_peak) == (0, 3)


async def test_a_job_whose_caller_gave_up_is_done_all_the_same() -> None:
    pool, gate, done = WorkerPool(workers=1, queue_size=3), threading.Event(), threading.Event()
    first = asyncio.ensure_future(pool.run(lambda: gate.wait(30)))
    gave_up = asyncio.ensure_future(pool.run(done.set))
    await asyncio.sleep(0)
    gave_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gave_up
    gate.set()
    assert await first
    assert await asyncio.to_thread(done.wait, 30)
    pool.stop()


async def test_what_a_job_raises_reaches_its_caller() -> None:
    pool = WorkerPool(workers=1, queue_size=1)
    with pytest.raises(ZeroDivisionError):
        await pool.run(lambda: 1 // 0)
    pool.stop()
