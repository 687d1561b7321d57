"""`python -m chaoskit.services.crowd --name S --ready FILE --plan FILE`: one shard, until SIGTERM.

Exit codes: 0 after SIGTERM, 1 when a part of the shard failed, 2 for a plan that cannot be used, 4
when the machine gives it too few descriptors.
"""

import argparse
import asyncio
import gc
import logging
import signal
import sys
import time
from pathlib import Path

from chaoskit.services.crowd.directory_client import warm_codecs
from chaoskit.services.crowd.shard import Shard
from chaoskit.services.descriptors import raise_descriptor_limit
from chaoskit.services.priority import INSTRUMENT_NICE, ask_for_priority
from chaoskit.services.readiness import write_ready
from chaoskit.wire.crowd import ShardPlan
from chaoskit.wire.descriptors import CROWD

log = logging.getLogger("chaoskit.services.crowd")

PLAN_WAIT_S = 30.0
SWITCH_S = 0.0001
"""How long a thread may hold the interpreter while another waits: the ears must not wait long."""


def main(argv: list[str] | None = None) -> int:
    """Run one shard; return the exit code."""
    options = _parse(argv)
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format=f"%(asctime)s {options.name} %(levelname)s %(message)s",
    )
    ask_for_priority(INSTRUMENT_NICE)
    try:
        plan = ShardPlan.from_json(_await_plan(options.plan))
    except (OSError, ValueError) as error:
        log.error("%s: %s", options.plan, error)
        return 2
    if not _raise_descriptor_limit(len(plan.participants)):
        return 4
    sys.setswitchinterval(SWITCH_S)
    try:
        return asyncio.run(_run(plan, options))
    except (OSError, ValueError) as error:
        log.error("cannot run this plan: %s", error)
        return 2


async def _run(plan: ShardPlan, options: argparse.Namespace) -> int:
    terminated = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, terminated.set)
    shard = Shard(plan)
    warm_codecs()
    _settle_garbage()
    await shard.start()
    log.info("%d participants, seed %d", len(plan.participants), plan.seed)
    write_ready(options.ready, name=options.name, port=0)
    planned = asyncio.create_task(shard.watch_over())
    asked = [
        planned,
        asyncio.create_task(terminated.wait()),
        asyncio.create_task(shard.stop_asked.wait()),
    ]
    try:
        await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        failure = planned.exception() if planned.done() else None
        log.info("ending: %s", failure or ("terminated" if terminated.is_set() else "as planned"))
        if failure is not None:
            # A shard that is not whole must not look as if it had ended well.
            log.error("%s", failure, exc_info=failure)
            return 1
        await shard.finish()
        await terminated.wait()
        return 0
    finally:
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        await shard.close()


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m chaoskit.services.crowd",
        description="A shard of participants that really send and really listen.",
    )
    parser.add_argument("--name", required=True, help="name of the shard")
    parser.add_argument("--ready", type=Path, required=True, help="written once it serves")
    parser.add_argument("--plan", type=Path, required=True, help="ShardPlan as JSON")
    return parser.parse_args(argv)


def _await_plan(path: Path) -> str:
    """Return the text of the plan, waiting for it to appear: it names run time 0, which lies ahead.

    A shard is started while the plan is still being made, so that its imports cost no time then.
    Raises OSError when there is none after PLAN_WAIT_S.
    """
    deadline_s = time.monotonic() + PLAN_WAIT_S
    while not path.exists() and time.monotonic() < deadline_s:
        time.sleep(0.005)
    return path.read_text()


def _raise_descriptor_limit(participants: int) -> bool:
    limit, need = raise_descriptor_limit(), CROWD.need(participants)
    if not limit.allows(need):
        log.error(
            "%d participants need %d file descriptors, the hard limit is %d\n\n"
            "hint: raise it (ulimit -Hn %d), or use fewer participants",
            *(participants, need, limit.allowed, need),
        )
        return False
    log.info("file descriptors: %d needed, %d allowed (was %d)", need, limit.allowed, limit.was)
    return True


def _settle_garbage() -> None:
    # A full collection over everything that was just built would stop both threads for too long.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 1_000)


if __name__ == "__main__":
    sys.exit(main())
