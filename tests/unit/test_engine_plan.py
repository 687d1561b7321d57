"""Plans: what would happen, and every reason why it may not."""

from dataclasses import replace

import pytest

from chaoskit.checks.canary_group import with_canary
from chaoskit.engine.plan import PORTS, Plan, make_plan, plan_preview
from chaoskit.errors import PlanRefused
from chaoskit.model import ActionSpec, After, At, BlastRadius, Experiment, FaultSpec, When
from chaoskit.spec.stack import load_stack
from tests.unit.fake_run import SERVICES, experiment, fake_run, links_of
from tests.unit.fake_services import FakeServices
from tests.unit.test_fault_effects import EVERY_KIND, fault

pytestmark = pytest.mark.unit
DROP = replace(EVERY_KIND["drop"], trigger=At(at_s=5.0), duration_s=10.0)


def refusals(plan: Experiment, *, have: frozenset[str] = PORTS) -> list[str]:
    with pytest.raises(PlanRefused) as caught:
        make_plan(plan, links=links_of(), services=SERVICES, have=have)
    return caught.value.message.splitlines()


def test_a_plan_tells_targets_times_undo_and_reach() -> None:
    plan = make_plan(experiment(DROP), links=links_of(), services=SERVICES)
    (step,) = plan.steps
    assert (step.from_s, step.until_s) == (5.0, 15.0)
    assert step.targets == tuple(n.name for n in links_of() if n.group == "host")
    assert step.preview is not None
    assert step.preview.undo == "enable 5 links"
    assert (plan.reach, plan.crowd_size) == ((0,), 12)
    assert plan.reach_by_group == {"host": 1}


def test_nothing_has_to_run_for_a_plan() -> None:
    run = fake_run()
    made = plan_preview(experiment(DROP), run.tools)
    assert made == make_plan(experiment(DROP), links=links_of(), services=SERVICES)
    assert run.proxy.calls == []


def test_steps_stand_in_order_of_time_those_without_a_time_last() -> None:
    mute = replace(EVERY_KIND["mute"], trigger=At(at_s=1.0), duration_s=2.0)
    waiting = replace(EVERY_KIND["pause"], trigger=When(fact="crowd.joined", at_least=3))
    act = ActionSpec(id="open", kind="fresh_room", trigger=After(step="the-mute", delay_s=4.0))
    plan = make_plan(
        experiment(waiting, DROP, mute, actions=(act,)), links=links_of(), services=SERVICES
    )
    assert [s.id for s in plan.steps] == ["the-mute", "the-drop", "open", "the-pause"]
    assert [s.trigger for s in plan.steps] == [
        "at 1 s",
        "at 5 s",
        "4 s after the-mute",
        "when crowd.joined >= 3",
    ]
    assert plan.steps[-1].from_s is None
    assert plan.steps[2].preview is None


def test_a_fault_without_an_end_is_planned_until_the_recovery_is_over() -> None:
    plan = make_plan(
        experiment(replace(DROP, duration_s=None)), links=links_of(), services=SERVICES
    )
    assert plan.steps[0].until_s == 45.0


@pytest.mark.parametrize(
    ("kind", "missing", "said"),
    [
        ("drop", "proxy", "it needs proxy"),
        ("loss", "facts", "it needs facts"),
        ("kill", "services", "it needs services"),
        ("mute", "observer", "it needs observer"),
    ],
)
def test_a_fault_without_its_mechanism_is_refused(kind: str, missing: str, said: str) -> None:
    plan = experiment(EVERY_KIND[kind])
    (reason,) = refusals(plan, have=PORTS - {missing})
    assert reason == f"the-{kind}: {kind} has no mechanism in this run: {said}"


def test_an_act_needs_the_operators_door_and_a_known_kind() -> None:
    act = ActionSpec(id="open", kind="fresh_room", trigger=At(at_s=0.0))
    assert refusals(experiment(actions=(act,)), have=PORTS - {"directory"}) == [
        "open: fresh_room has no mechanism in this run: it needs directory"
    ]
    assert refusals(experiment(actions=(replace(act, kind="dance"),))) == [
        'open: unknown action "dance"'
    ]


def test_every_reason_is_told_at_once() -> None:
    plan = experiment(
        fault("drop", "ghost.*"),
        replace(fault("loss", "host.*", params={"loss_rate": 0.1}), trigger=At(at_s=40.0)),
        replace(fault("kill", "room-a", duration_s=90.0)),
    )
    told = refusals(plan)
    assert len(told) == 3
    assert told[0].startswith("the-drop: no link matches ghost.*")
    assert told[1].startswith("the-loss: loss has no mechanism on host.api.directory")
    assert told[2] == "the-kill: lasts 90 s; the blast radius allows 60 s"


def test_two_faults_cannot_hold_the_same_link_at_once() -> None:
    def clash(first_s: float, second_s: float) -> Experiment:
        other = replace(DROP, id="other", trigger=At(at_s=second_s))
        return experiment(replace(DROP, trigger=At(at_s=first_s)), other)

    (reason,) = refusals(clash(5.0, 12.0))
    assert reason.startswith("the-drop and other both drop host.api.directory")
    make_plan(clash(5.0, 15.0), links=links_of(), services=SERVICES)


def test_more_faults_at_once_than_allowed_are_refused() -> None:
    radius = BlastRadius(roles=("host", "guest"), max_faults=1)
    second = replace(EVERY_KIND["mute"], trigger=At(at_s=14.0), duration_s=5.0)
    (reason,) = refusals(experiment(DROP, second, blast_radius=radius))
    assert reason == (
        "2 faults may be active at one time (the-drop, the-mute); the blast radius allows 1"
    )


def chain(*triggers: tuple[str, At | After | When]) -> tuple[FaultSpec, ...]:
    return tuple(replace(DROP, id=id_, trigger=trigger) for id_, trigger in triggers)


def test_steps_in_a_circle_or_after_nothing_are_refused() -> None:
    circle = chain(("a", After(step="b")), ("b", After(step="a")))
    assert refusals(experiment(*circle)) == ["steps follow each other in a circle: a → b → a"]
    open_ended = replace(DROP, duration_s=None)
    (reason,) = refusals(experiment(open_ended, *chain(("b", After(step="the-drop")))))
    assert reason.startswith('step "b" follows "the-drop", which lasts until the end of the rec')
    assert refusals(experiment(*chain(("a", After(step="z"))))) == [
        'step "a" follows "z", which does not exist'
    ]


EMBEDDED = load_stack("embedded")
EVERYBODY = BlastRadius(
    roles=("host", "guest", "listener"), services=("room-a", "room-b", "directory")
)


def plan_on_paper(plan: Experiment) -> Plan:
    links = EMBEDDED.links([g.name for g in plan.crowd.groups])
    services = EMBEDDED.service_names()
    return make_plan(plan, links=links, services=services, permits=EMBEDDED.permits())


def plan_of_the_run(plan: Experiment) -> Plan:
    """The run has canaries in its crowd, and crowd processes among its services."""
    real = with_canary(plan)
    links = EMBEDDED.links([g.name for g in real.crowd.groups])
    services = (*EMBEDDED.service_names(), "crowd-speakers", "crowd-listeners-0")
    tools = replace(
        fake_run(crowd=real.crowd).tools,
        links=links,
        services=FakeServices(*services),
        permits=EMBEDDED.permits(),
    )
    return plan_preview(real, tools)


@pytest.mark.parametrize(
    ("spec", "count"),
    [
        (fault("blackhole", "*.media.*"), 6),
        (fault("drop", "*"), 15),
        (fault("pause", "*"), 3),
        (fault("leave", "*"), 12),
    ],
    ids=lambda f: f.kind if isinstance(f, FaultSpec) else str(f),
)
def test_a_glob_means_the_same_on_paper_and_in_the_run(spec: FaultSpec, count: int) -> None:
    plan = experiment(spec, blast_radius=EVERYBODY)
    paper, run = plan_on_paper(plan), plan_of_the_run(plan)
    assert len(paper.steps[0].targets) == count
    assert paper.steps[0].targets == run.steps[0].targets
    assert not any("canary" in name or "fault-proxy" in name for name in paper.steps[0].targets)


@pytest.mark.parametrize(
    ("spec", "own"),
    [
        (fault("drop", "observer.signal.room-a"), "observer.signal.room-a belongs"),
        (fault("drop", "canary.media.room-a", "host.*"), "canary.media.room-a belongs"),
        (fault("pause", "fault-proxy"), "fault-proxy belongs"),
        (fault("kill", "crowd-speakers"), "crowd-speakers belongs"),
        (fault("leave", "canary"), "canary belongs"),
    ],
    ids=lambda f: f.kind if isinstance(f, FaultSpec) else str(f),
)
def test_what_belongs_to_chaoskit_itself_is_no_target(spec: FaultSpec, own: str) -> None:
    with pytest.raises(PlanRefused, match=f"{own} to chaoskit itself: no fault acts on it"):
        plan_of_the_run(experiment(spec, blast_radius=EVERYBODY))


def test_what_the_stack_does_not_allow_is_refused_however_it_was_written() -> None:
    narrow = replace(
        EMBEDDED,
        allows={"room-a": ("pause",), "room-b": ("kill", "pause")},
        planes=tuple(
            replace(p, allows=("drop",)) if p.plane == "media" else p for p in EMBEDDED.planes
        ),
    )
    plan = experiment(
        fault("blackhole", "host.*"),
        fault("kill", "*"),
        blast_radius=replace(EVERYBODY, max_faults=2),
    )
    links = narrow.links(["host"])
    with pytest.raises(PlanRefused) as refused:
        make_plan(plan, links=links, services=narrow.service_names(), permits=narrow.permits())
    assert refused.value.message.splitlines() == [
        "the-blackhole: the stack does not allow blackhole on host.media.room-a,"
        " host.media.room-b; it allows drop",
        "the-kill: the stack does not allow kill on room-a; it allows pause",
        "the-kill: the stack does not allow kill on directory; it allows no fault",
    ]
