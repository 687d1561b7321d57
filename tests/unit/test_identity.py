"""From a participant's number to what others see of it, and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.wire import identity as who

pytestmark = pytest.mark.unit

numbers = st.integers(0, who.PARTICIPANTS - 1)


@given(numbers)
def test_every_form_leads_back_to_the_number(k: int) -> None:
    assert who.participant_at(who.source_address(k)) == k
    assert who.participant_named(who.identity(k)) == k
    assert who.participant_with_id(who.audiobridge_id(k)) == k


def test_the_address_holds_the_number_in_its_last_two_bytes() -> None:
    assert who.source_address(256 * 3 + 4) == "127.64.3.4"
    assert who.source_address(who.PARTICIPANTS - 1) == "127.64.63.255"


def test_sentinels_are_participants() -> None:
    assert who.participant_at(who.source_address(who.SENTINEL_SPEAKER + 99)) is not None


@pytest.mark.parametrize("k", [-1, who.PARTICIPANTS])
def test_other_numbers_have_no_identity(k: int) -> None:
    for form in (who.source_address, who.identity, who.audiobridge_id):
        with pytest.raises(ValueError, match="participant number"):
            form(k)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "127.64.64.0", "127.64.1", "127.64.1.300", "127.64.a.b", "", "::1"]
)
def test_other_addresses_are_nobodys(address: str) -> None:
    assert who.participant_at(address) is None


@pytest.mark.parametrize("name", ["", "p", "p-1", "p01", "P1", "p1 ", "p\u0661", "p16384", "host"])
def test_other_names_are_nobodys(name: str) -> None:
    assert who.participant_named(name) is None


@pytest.mark.parametrize("number", [0, -5, who.PARTICIPANTS + 1])
def test_other_audiobridge_ids_are_nobodys(number: int) -> None:
    assert who.participant_with_id(number) is None
