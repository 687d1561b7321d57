"""Parameters of faults: all validation happens before anything is touched."""

from dataclasses import replace
from typing import Any

import pytest

from chaoskit.errors import PlanRefused
from chaoskit.faults.loss import PROFILES, LossParams
from chaoskit.faults.protocol import ParamError
from chaoskit.faults.registry import KINDS, parse_fault
from chaoskit.faults.targets import resolve
from chaoskit.model import At, FaultSpec, Target, TargetKind
from tests.unit.fake_run import CROWD, SERVICES, links_of
from tests.unit.test_fault_effects import EVERY_KIND, fault

pytestmark = pytest.mark.unit


def refusal(spec: FaultSpec) -> str:
    with pytest.raises(ParamError) as caught:
        parse_fault(spec)
    return f"{caught.value.key}: {caught.value}"


def with_params(kind: str, **params: Any) -> FaultSpec:
    return replace(EVERY_KIND[kind], params=params)


def test_an_unknown_kind_is_refused() -> None:
    assert "unknown fault kind" in refusal(replace(EVERY_KIND["drop"], kind="howl"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_target_of_another_sort_is_refused(kind: str) -> None:
    spec = EVERY_KIND[kind]
    other = next(k for k in TargetKind if k is not spec.target.kind)
    assert "acts on" in refusal(replace(spec, target=Target(kind=other, patterns=("x",))))


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_parameters_are_refused(kind: str) -> None:
    spec = EVERY_KIND[kind]
    assert refusal(replace(spec, params={**spec.params, "colour": 1})).startswith("colour: ")


@pytest.mark.parametrize("kind", ["drop", "kill", "pause", "mute", "leave"])
def test_what_is_whole_or_absent_takes_no_share(kind: str) -> None:
    assert refusal(replace(EVERY_KIND[kind], share=0.5)).startswith("share: ")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (fault("drop", "host.*", duration_s=0.0), "longer than 0s"),
        (fault("loss", "x.media.*", share=0.0, params={"loss_rate": 0.1}), "share of nobody"),
        (with_params("latency"), "latency needs latency_ms"),
        (with_params("latency", latency_ms=0.5), "below 1ms"),
        (with_params("latency", latency_ms="200"), "cannot be '200'"),
        (with_params("latency", latency_ms=True), "cannot be True"),
        (with_params("latency", latency_ms=20.0, jitter_ms=30.0), "must not exceed"),
        (with_params("latency", latency_ms=20.0, direction="upstream"), "one of both, downstream"),
        (with_params("loss"), "needs one of"),
        (with_params("loss", loss_rate=0.1, profile="lte"), "needs one of"),
        (with_params("loss", loss_rate=0.0), "is no fault"),
        (with_params("loss", p=0.1), "go together"),
        (with_params("loss", p=0.1, r=0.0), "go together"),
        (with_params("loss", profile="carrier-pigeon"), "known: wifi_good"),
        (with_params("kill", signal="STOP"), "one of KILL"),
    ],
)
def test_bad_values_are_refused_with_the_reason(spec: FaultSpec, said: str) -> None:
    assert said in refusal(spec)


def test_burst_loss_has_the_rate_and_burst_of_its_chain() -> None:
    # audio.md 9.1: burst4_10 is 10 % in bursts of 4; wifi_lossy 4.8 % in bursts of 2.
    assert LossParams(profile="burst4_10").rate() == pytest.approx(0.1, abs=0.001)
    assert LossParams(profile="wifi_lossy").rate() == pytest.approx(0.048, abs=0.001)
    assert LossParams(p=0.0278, r=0.25).attributes() == {"p": 0.0278, "r": 0.25}
    assert LossParams(p=0.0278, r=0.25).spread() > LossParams(loss_rate=0.1).spread() == 1.0


@pytest.mark.parametrize("name", PROFILES)
def test_every_named_profile_is_a_chain_that_loses_something(name: str) -> None:
    p, r = PROFILES[name]
    assert 0 < p < r <= 1


def test_loss_on_a_tcp_link_has_no_mechanism() -> None:
    spec = fault("loss", "host.*", params={"loss_rate": 0.1})
    resolved = resolve(spec.target, crowd=CROWD, links=links_of(), services=SERVICES)
    with pytest.raises(
        PlanRefused, match=r"no mechanism on host\.api\.directory.*loss over TCP is delay"
    ):
        parse_fault(spec).preview(resolved)


@pytest.mark.parametrize("kind", KINDS)
def test_every_fault_says_how_it_works_and_who_proves_it(kind: str) -> None:
    spec = EVERY_KIND[kind]
    resolved = resolve(spec.target, crowd=CROWD, links=links_of(), services=SERVICES)
    words = parse_fault(spec).preview(resolved)
    assert words.mechanism.startswith("by ")
    assert words.undo
    assert words.proof


def test_a_share_is_told_in_the_plan() -> None:
    spec = replace(EVERY_KIND["loss"], share=0.2, trigger=At(at_s=1.0))
    resolved = resolve(spec.target, crowd=CROWD, links=links_of(), services=SERVICES)
    assert "for 20% of the clients" in parse_fault(spec).preview(resolved).mechanism
