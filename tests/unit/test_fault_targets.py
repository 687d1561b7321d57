"""What a target comes to, whom it reaches, and what lies outside the blast radius."""

import pytest

from chaoskit.errors import PlanRefused
from chaoskit.faults.targets import by_group, outside, resolve, touched
from chaoskit.model import BlastRadius, Target, TargetKind
from tests.unit.fake_run import CROWD, SERVICES, links_of

pytestmark = pytest.mark.unit
LINKS = links_of()


def target(kind: TargetKind, *patterns: str) -> Target:
    return Target(kind=kind, patterns=patterns)


def names(kind: TargetKind, *patterns: str) -> tuple[str, ...]:
    return resolve(target(kind, *patterns), crowd=CROWD, links=LINKS, services=SERVICES).names()


def test_globs_of_links_stand_for_every_link_that_fits() -> None:
    assert names(TargetKind.LINK, "host.media.*") == ("host.media.room-a", "host.media.room-b")
    assert len(names(TargetKind.LINK, "host.*")) == 5


def test_participants_are_named_by_group_or_role() -> None:
    assert names(TargetKind.PARTICIPANTS, "host", "guest") == ("p0", "p1")
    assert names(TargetKind.PARTICIPANTS, "listener") == names(TargetKind.PARTICIPANTS, "listeners")


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (TargetKind.LINK, "link"),
        (TargetKind.SERVICE, "service"),
        (TargetKind.PARTICIPANTS, "participant"),
    ],
)
def test_what_matches_nothing_is_refused(kind: TargetKind, word: str) -> None:
    with pytest.raises(PlanRefused, match=f"no {word} matches nobody"):
        names(kind, "nobody")


def reach(kind: TargetKind, *patterns: str) -> dict[str, int]:
    found = resolve(target(kind, *patterns), crowd=CROWD, links=LINKS, services=SERVICES)
    return dict(by_group(touched(found, crowd=CROWD, links=LINKS), CROWD))


def test_a_link_reaches_its_group_and_a_service_everybody_with_a_link_to_it() -> None:
    assert reach(TargetKind.LINK, "host.*") == {"host": 1}
    assert reach(TargetKind.SERVICE, "room-a") == {"host": 1, "guest": 1, "listeners": 10}
    assert reach(TargetKind.PARTICIPANTS, "guest") == {"guest": 1}


def reasons(
    kind: TargetKind, pattern: str, radius: BlastRadius, lasts_s: float | None = 1.0
) -> str:
    found = resolve(target(kind, pattern), crowd=CROWD, links=LINKS, services=SERVICES)
    return "; ".join(outside(found, radius, crowd=CROWD, duration_s=lasts_s))


def test_only_listed_roles_and_services_are_inside() -> None:
    hosts = BlastRadius(roles=("host",), services=("room-a",))
    assert reasons(TargetKind.LINK, "host.*", hosts) == ""
    assert "touches role listener; the blast radius allows host" in reasons(
        TargetKind.LINK, "*.media.room-a", hosts
    )
    assert reasons(TargetKind.PARTICIPANTS, "guest", hosts).startswith("touches role guest")
    assert reasons(TargetKind.SERVICE, "room-a", hosts) == ""
    assert "touches service room-b" in reasons(TargetKind.SERVICE, "room-*", hosts)


def test_an_empty_blast_radius_allows_nothing() -> None:
    assert "allows no role" in reasons(TargetKind.LINK, "host.*", BlastRadius())
    assert "allows no service" in reasons(TargetKind.SERVICE, "room-a", BlastRadius())


def test_a_link_of_the_harness_counts_as_a_service() -> None:
    inside = BlastRadius(services=("observer",))
    assert reasons(TargetKind.LINK, "observer.*", inside) == ""
    assert "touches service observer" in reasons(TargetKind.LINK, "observer.*", BlastRadius())


def test_a_fault_may_not_last_longer_than_allowed() -> None:
    radius = BlastRadius(roles=("host",), max_duration_s=10.0)
    assert reasons(TargetKind.LINK, "host.*", radius, 10.0) == ""
    assert "lasts 11 s; the blast radius allows 10 s" in reasons(
        TargetKind.LINK, "host.*", radius, 11.0
    )
