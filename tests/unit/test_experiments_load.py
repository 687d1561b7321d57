"""Every experiment that comes with chaoskit loads, plans, and has a control that really differs."""

import dataclasses

import pytest

from chaoskit.checks.judging import is_for_gate
from chaoskit.checks.registry import check_class
from chaoskit.engine.plan import Plan, make_plan
from chaoskit.model import Experiment, Verdict
from chaoskit.spec.experiment import experiment_names, find_experiment, load_experiment
from chaoskit.spec.stack import load_stack

pytestmark = pytest.mark.unit
NAMES = experiment_names()


def plan(experiment: Experiment) -> Plan:
    stack = load_stack(experiment.stack)
    links = stack.links([g.name for g in experiment.crowd.groups])
    return make_plan(
        experiment, links=links, services=stack.service_names(), permits=stack.permits()
    )


def test_the_four_of_the_first_version_are_there() -> None:
    wanted = {"host-drop-fresh-room", "host-drop-same-room", "packet-loss-listeners"}
    assert wanted | {"room-node-kill"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_it_loads_plans_and_is_named_after_its_file(name: str) -> None:
    experiment = load_experiment(find_experiment(name))
    assert experiment.id == name
    made = plan(experiment)
    assert made.steps
    assert made.reach
    assert all(step.preview for step in made.steps)


@pytest.mark.parametrize("name", NAMES)
def test_its_control_changes_something_and_keeps_the_hypothesis(name: str) -> None:
    path = find_experiment(name)
    experiment, control = load_experiment(path), load_experiment(path, control=True)
    assert experiment.control is not None
    assert experiment.control.expect is Verdict.DEVIATED
    assert control.hypothesis == experiment.hypothesis
    assert control.blast_radius == experiment.blast_radius
    differing = {
        field.name
        for field in dataclasses.fields(Experiment)
        if getattr(control, field.name) != getattr(experiment, field.name)
    }
    assert differing - {"id", "title", "control", "digest", "expect"}
    plan(control)


@pytest.mark.parametrize("name", NAMES)
def test_it_judges_before_the_fault_and_after_it(name: str) -> None:
    experiment = load_experiment(find_experiment(name))
    faults = {spec.id for spec in experiment.method}
    checks = experiment.hypothesis.checks
    assert any(is_for_gate(check) for check in checks)
    assert any(check.of in faults or check.during in faults for check in checks)
    for check in checks:
        assert check_class(check.kind).parse(check) is not None


@pytest.mark.parametrize("name", NAMES)
def test_a_run_ends_within_two_minutes_and_keeps_its_steady_states(name: str) -> None:
    experiment = load_experiment(find_experiment(name))
    assert experiment.end_s <= 120.0
    assert experiment.gate_s >= 10.0
    assert experiment.steady_again_s >= 10.0
