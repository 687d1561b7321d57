"""The product's rule for coming back, as numbers."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.services.crowd.reconnect import delay_s
from chaoskit.wire.crowd import GroupPlan

pytestmark = pytest.mark.unit

RULE = GroupPlan(
    name="listeners",
    role="listener",
    api="",
    api_link="",
    signal={},
    signal_links={},
    media={},
    media_links={},
    base_s=0.5,
    cap_s=4.0,
)


def delays(rule: GroupPlan, failures: int = 8, **key: int) -> list[float | None]:
    who = {"seed": 1, "participant": 2, "attempt": 3} | key
    return [delay_s(rule, failures=n, **who) for n in range(failures)]


def test_none_gives_up_at_the_first_loss() -> None:
    assert delays(replace(RULE, reconnect="none"), 2) == [None, None]


def test_fixed_waits_the_same_each_time() -> None:
    assert delays(replace(RULE, reconnect="fixed")) == [0.5] * 8


def test_exponential_doubles_up_to_its_cap() -> None:
    expected = [0.5, 0.5, 1.0, 2.0, 4.0, 4.0, 4.0, 4.0]
    assert delays(replace(RULE, reconnect="exponential")) == expected


@given(failures=st.integers(0, 10_000), seed=st.integers(), attempt=st.integers(1, 10_000))
def test_full_jitter_stays_within_the_exponential_wait(
    failures: int, seed: int, attempt: int
) -> None:
    grown = delay_s(
        replace(RULE, reconnect="exponential"),
        seed=seed, participant=0, attempt=attempt, failures=failures,
    )  # fmt: skip
    jittered = delay_s(RULE, seed=seed, participant=0, attempt=attempt, failures=failures)
    assert grown is not None
    assert jittered is not None
    assert 0.0 <= jittered <= grown


def test_jitter_is_the_same_in_every_run_and_differs_by_participant_and_attempt() -> None:
    assert delays(RULE) == delays(RULE)
    values = {
        delay_s(RULE, seed=s, participant=p, attempt=n, failures=3)
        for s in range(3)
        for p in range(3)
        for n in range(3)
    }
    assert len(values) == 27


def test_it_gives_up_after_its_attempts_and_not_before() -> None:
    limited = replace(RULE, reconnect="fixed", attempts=3)
    assert delays(limited, 5) == [0.5, 0.5, 0.5, None, None]


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="backoff"):
        delays(replace(RULE, reconnect="backoff"), 1)
