"""Who holds the host lease, and when its loss calls for a fresh room, on a clock of our own."""

import pytest

from chaoskit.services.directory.leases import (
    HostLease,
    HostLoss,
    LeaseChange,
    LeaseRules,
    RoomHealth,
)

pytestmark = pytest.mark.unit

ALONE = LeaseRules(lease_s=4.0, standby=False)
STANDBY = LeaseRules(lease_s=4.0, standby=True)


class Night:
    """A lease with its clock. `until` lets time pass, judged ten times a second as in the service.

    `beating`: identities that send a heartbeat every second meanwhile.
    """

    def __init__(self, rules: LeaseRules, *candidates: str, holder: str = "") -> None:
        self.now = 100.0
        self.lease = HostLease(candidates, rules, now=self.now, holder=holder)
        self.changes: list[tuple[float, LeaseChange]] = []

    def beat(self, identity: str) -> LeaseChange | None:
        return self._noted(self.lease.heartbeat(identity, self.now))

    def until(self, at_s: float, *, beating: tuple[str, ...] = ()) -> None:
        """Let time pass until `at_s` seconds after the lease began."""
        while self.now < 100.0 + at_s - 1e-9:
            self.now = round(self.now + 0.1, 1)
            if self.now % 1.0 == 0.0:
                for identity in beating:
                    self.beat(identity)
            self._noted(self.lease.judge(self.now))

    def _noted(self, change: LeaseChange | None) -> LeaseChange | None:
        if change is not None:
            self.changes.append((round(self.now - 100.0, 1), change))
        return change


def test_the_first_candidate_has_the_lease_from_its_first_heartbeat() -> None:
    night = Night(ALONE, "p1", "p2")
    assert night.beat("p1") == LeaseChange(holder="p1")
    night.until(20.0, beating=("p1", "p2"))
    assert night.lease.holder == "p1"
    assert len(night.changes) == 1


def test_without_a_heartbeat_the_lease_lapses_after_lease_s_and_not_before() -> None:
    night = Night(ALONE, "p1")
    night.beat("p1")
    assert night.lease.deadline() == 104.0
    night.until(3.9)
    assert night.lease.holder == "p1"
    night.until(10.0)
    assert night.changes[1:] == [(4.0, LeaseChange(holder="", lapsed="p1"))]
    assert night.lease.deadline() is None


def test_without_standby_only_the_first_candidate_may_hold_it() -> None:
    night = Night(ALONE, "p1", "p2")
    night.until(30.0, beating=("p2",))
    assert night.changes == []
    night.beat("p1")
    night.until(50.0, beating=("p2",))
    assert night.changes[1:] == [(34.0, LeaseChange(holder="", lapsed="p1"))]


def test_the_lease_passes_to_the_next_live_candidate_when_it_lapses() -> None:
    night = Night(STANDBY, "p1", "p2", "p3")
    night.beat("p1")
    night.until(10.0, beating=("p3",))
    assert night.changes[1:] == [(4.0, LeaseChange(holder="p3", lapsed="p1"))]


def test_a_candidate_that_comes_late_takes_a_free_lease() -> None:
    night = Night(STANDBY, "p1", "p2")
    night.beat("p1")
    night.until(7.0)
    assert night.lease.holder == ""
    assert night.beat("p2") == LeaseChange(holder="p2")


def test_the_first_candidate_has_one_whole_lease_to_show_up() -> None:
    night = Night(STANDBY, "p1", "p2")
    night.until(3.9, beating=("p2",))
    assert night.lease.holder == ""
    night.until(10.0, beating=("p2",))
    assert night.changes == [(4.0, LeaseChange(holder="p2"))]


def test_a_holder_keeps_the_lease_when_a_candidate_of_higher_order_is_back() -> None:
    night = Night(STANDBY, "p1", "p2")
    night.beat("p1")
    night.until(6.0, beating=("p2",))
    night.until(20.0, beating=("p1", "p2"))
    assert night.lease.holder == "p2"


def test_after_a_restart_the_holder_has_one_whole_lease() -> None:
    night = Night(STANDBY, "p1", "p2", holder="p1")
    night.until(3.9, beating=("p2",))
    assert night.lease.holder == "p1"
    night.until(4.0)
    assert night.changes == [(4.0, LeaseChange(holder="p2", lapsed="p1"))]


def test_a_heartbeat_within_that_lease_leaves_everything_as_it_was() -> None:
    night = Night(STANDBY, "p1", "p2", holder="p1")
    night.until(30.0, beating=("p1", "p2"))
    assert night.changes == []
    assert night.lease.holder == "p1"


def test_a_pause_of_the_judge_is_not_held_against_the_holder() -> None:
    night = Night(ALONE, "p1")
    night.beat("p1")
    night.until(1.0)
    night.now += 60.0  # the process was stopped; heartbeats lie unread in its sockets
    assert night.lease.judge(night.now) is None
    assert night.lease.deadline() == night.now + 4.0


def test_a_heartbeat_that_is_too_late_takes_a_lease_that_lapsed_before_it() -> None:
    night = Night(ALONE, "p1")
    night.beat("p1")
    night.until(3.9)
    night.now = 104.05
    assert night.beat("p1") == LeaseChange(holder="p1", lapsed="p1")


def test_who_is_no_candidate_has_no_heartbeat() -> None:
    lease = HostLease(["p1"], ALONE, now=0.0)
    assert not lease.is_candidate("p9")
    with pytest.raises(KeyError):
        lease.heartbeat("p9", 0.0)


def test_an_event_without_candidates_never_has_a_host() -> None:
    night = Night(STANDBY)
    night.until(10.0)
    assert night.changes == []


@pytest.mark.parametrize(
    ("standby", "grace_s", "holder", "after_s", "due"),
    [
        pytest.param(True, 0.0, "", 0.0, True, id="at once without grace"),
        pytest.param(True, 0.0, "p2", 0.0, True, id="also when the standby has the lease"),
        pytest.param(True, 2.0, "p2", 1.9, False, id="not within the grace"),
        pytest.param(True, 2.0, "p2", 2.0, True, id="when the grace is over"),
        pytest.param(True, 0.0, "p1", 9.0, False, id="not when the lost host is back"),
        pytest.param(False, 0.0, "", 9.0, False, id="not when nobody else may host"),
    ],
)
def test_a_lost_host_calls_for_a_fresh_room(
    standby: bool, grace_s: float, holder: str, after_s: float, due: bool
) -> None:
    rules = LeaseRules(lease_s=4.0, standby=standby, grace_s=grace_s)
    loss = HostLoss(identity="p1", at_s=50.0)
    assert loss.calls_for_fresh_room(rules, holder, 50.0 + after_s) is due


def test_a_room_is_lost_after_so_many_failures_in_a_row_and_found_by_one_success() -> None:
    health = RoomHealth(2)
    outcomes = [False, True, False, False, False, True, False]
    assert [health.judge(found) for found in outcomes] == [
        False, False, False, True, True, False, False,
    ]  # fmt: skip
