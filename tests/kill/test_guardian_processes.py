"""The guardian starts, holds, reports and stops processes for an engine that lives."""

import functools
import json
import signal
import sys
from pathlib import Path

import pytest

from chaoskit.errors import AdapterError, EnvironmentMissing
from chaoskit.guardian.client import GuardianClient, start_guardian
from chaoskit.journal.folder import RunFolder, create_run
from tests.kill.guardian_rig import (
    PLAIN,
    STUBBORN,
    Exits,
    LeaseServer,
    are_gone,
    log_has,
    python,
    state_of,
    wait_until,
)

pytestmark = pytest.mark.kill


async def test_the_engine_hears_of_a_lease_that_is_gone(
    guardian: GuardianClient, lease_server: LeaseServer
) -> None:
    heard: list[str] = []
    guardian.on_lease_trouble(lambda trouble: heard.append(trouble.why))
    lease_server.status = 404

    await guardian.keep_lease(lease_server.url, "l9", ttl_s=0.1)

    await wait_until(lambda: None if heard else "nothing heard", within_s=10.0)
    assert heard == ["the fault proxy does not know the lease any more"]


async def test_ends_are_reported_with_their_status(
    guardian: GuardianClient, folder: RunFolder
) -> None:
    exits = Exits(guardian)
    seven = await guardian.spawn("seven", python("raise SystemExit(7)"), {})
    killed = await guardian.spawn("killed", python(PLAIN), {})
    await guardian.signal("killed", signal.SIGKILL)

    assert (await exits.wait(seven.pid)).exit == 7
    assert (await exits.wait(killed.pid)).exit == -signal.SIGKILL
    assert (await guardian.status("seven")).exit == 7
    assert (await guardian.status("killed")).state == "exited"


async def test_a_dead_process_keeps_its_pid_until_the_run_is_over(
    guardian: GuardianClient, folder: RunFolder
) -> None:
    exits = Exits(guardian)
    first = await guardian.spawn("service", python("pass"), {})
    await exits.wait(first.pid)
    second = await guardian.spawn("service", python(PLAIN), {})

    assert second.pid != first.pid
    assert state_of(first.pid) == "Z"
    await guardian.signal("service", signal.SIGSTOP)
    await wait_until(
        lambda: None if state_of(second.pid) == "T" else state_of(second.pid), within_s=5.0
    )
    assert (await guardian.status("service")).state == "stopped"
    await guardian.close()
    await wait_until(
        lambda: None if {state_of(first.pid), state_of(second.pid)} <= {"X"} else "not reaped",
        within_s=5.0,
    )


async def test_a_signal_to_a_process_that_has_ended_hits_nobody(guardian: GuardianClient) -> None:
    exits = Exits(guardian)
    done = await guardian.spawn("done", python("pass"), {})
    await exits.wait(done.pid)

    await guardian.signal("done", signal.SIGKILL)

    assert (await guardian.status("done")).exit == 0


async def test_children_live_in_the_run_folder_marked_and_on_their_own(
    guardian: GuardianClient, folder: RunFolder
) -> None:
    report = (
        "import json, os, signal, sys;"
        "print(json.dumps([os.getcwd(), os.environ['CHAOSKIT_RUN'], os.environ['EXTRA'],"
        " os.getsid(0) == os.getpid(), signal.getsignal(signal.SIGINT) is not signal.SIG_IGN,"
        " sorted(int(n) for n in os.listdir('/proc/self/fd'))]))"
    )
    exits = Exits(guardian)
    process = await guardian.spawn("reporter", python(report), {"EXTRA": "1"})
    await exits.wait(process.pid)

    cwd, run, extra, own_session, minds_sigint, fds = json.loads(folder.log("reporter").read_text())
    assert (cwd, run, extra) == (str(folder.path), folder.id, "1")
    assert own_session
    assert minds_sigint
    # Nothing of the guardian's is inherited (the listing itself opens descriptor 3).
    assert fds == [0, 1, 2, 3]


async def test_what_cannot_be_started_is_refused_with_its_reason(guardian: GuardianClient) -> None:
    with pytest.raises(AdapterError, match=r"ghost: cannot start /no/such/program: .*No such file"):
        await guardian.spawn("ghost", ["/no/such/program"], {})
    with pytest.raises(AdapterError, match=r"ghost: no such process"):
        await guardian.status("ghost")
    await guardian.spawn("plain", python(PLAIN), {})
    with pytest.raises(AdapterError, match=r"plain: already runs with pid \d+"):
        await guardian.spawn("plain", python(PLAIN), {})


async def test_a_shutdown_goes_wave_by_wave_and_says_who_had_to_be_killed(
    guardian: GuardianClient, folder: RunFolder
) -> None:
    polite = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n" + PLAIN
    order: list[str] = []
    guardian.on_exit(lambda notice: order.append(notice.name))
    for name, code in (("proxy", polite), ("crowd", polite), ("stubborn", STUBBORN)):
        await guardian.spawn(name, python(code), {})
        await wait_until(functools.partial(log_has, folder, name, "up"), within_s=10.0)

    stopped = await guardian.shutdown([["crowd"], ["stubborn"]], grace_s=0.3)

    assert stopped.exits == {"crowd": 0, "stubborn": -signal.SIGKILL, "proxy": 0}
    assert stopped.killed == ["stubborn"]
    assert order == ["crowd", "stubborn", "proxy"]
    with pytest.raises(AdapterError, match=r"late: not started, the run is being taken down"):
        await guardian.spawn("late", python(PLAIN), {})


async def test_a_farewell_ends_what_is_left_and_heals_nothing(tmp_path: Path) -> None:
    folder, lock = create_run(tmp_path)
    guardian = await start_guardian(folder, lock)
    process = await guardian.spawn("plain", python(PLAIN), {})
    await wait_until(lambda: log_has(folder, "plain", "up"), within_s=10.0)

    stopped = await guardian.close()

    assert stopped.exits == {"plain": -signal.SIGTERM}
    assert are_gone([process.pid, guardian.pid]) is None
    assert not folder.heal.exists()
    assert folder.is_live()
    lock.release()
    assert not folder.is_live()
    assert not guardian.lost.is_set()


async def test_a_guardian_that_cannot_start_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, lock = create_run(tmp_path)
    monkeypatch.setattr(sys, "executable", "/bin/false")

    with pytest.raises(EnvironmentMissing, match=r"the guardian did not start: exit 1"):
        await start_guardian(folder, lock)

    lock.release()
    assert not folder.is_live()
