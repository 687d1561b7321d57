"""Oracle 1, wire: what chosen listeners really received says the same as the run's result."""

import numpy as np
import pytest

from tests.oracle.capture import address_of
from tests.oracle.observed import FIRST_LISTENER, Observed, Sockets
from tests.oracle.recorded import INTERRUPTION_SLOTS, UNJUDGED, Gap

pytestmark = [pytest.mark.oracle, pytest.mark.needs("capture"), pytest.mark.timeout(300)]

WITHIN_SLOTS = 2
"""±40 ms."""
SHARE = 0.02
ATTEMPT_S = 0.5


@pytest.fixture(params=["host_drop", "struck", pytest.param("night", marks=pytest.mark.full)])
def run(request: pytest.FixtureRequest) -> Observed:
    observed: Observed = request.getfixturevalue(request.param)
    return observed


def test_the_wire_and_the_product_speak_of_the_same_listeners(run: Observed) -> None:
    assert run.recorded.members("listener")[0] == FIRST_LISTENER
    assert set(run.chosen) <= set(run.recorded.members("listener"))
    for k in run.chosen:
        assert run.heard[k].voices.any(), f"the wire brought listener {k} nobody's voice"


def test_a_first_attempt_is_a_first_connection(run: Observed) -> None:
    # What is due begins with it, so it must not be told late; a busy crowd connects a bit later.
    for k in run.chosen:
        waited_s = run.first_connection_s(k) - run.recorded.first_attempt_s(k)
        assert -0.005 <= waited_s <= ATTEMPT_S, f"listener {k} connected after {waited_s:.3f} s"


def test_silent_seconds_are_those_of_the_result_within_two_percent(run: Observed) -> None:
    books = run.recorded.books()
    wire = {k: int(run.missed(k).sum()) for k in run.chosen}
    product = {k: books[k]["silent"] for k in run.chosen}
    total = sum(product.values())
    assert total > 0
    assert abs(sum(wire.values()) - total) <= SHARE * total, (
        f"silent slots on the wire {wire}, in the result {product}"
    )


def test_every_interruption_is_where_the_product_says_it_is(run: Observed) -> None:
    for k in run.chosen:
        told, seen = run.recorded.told_gaps(k, at_least=6), run.gaps(k, at_least=6)
        for name, ours, theirs in (("product", told, seen), ("wire", seen, told)):
            for gap in (g for g in ours if g.end - g.first >= INTERRUPTION_SLOTS):
                assert _has_counterpart(gap, theirs), (
                    f"listener {k}: the {name}'s gap {gap} has no counterpart in"
                    f" {[str(g) for g in theirs]}"
                )
        assert any(g.end - g.first >= INTERRUPTION_SLOTS for g in told), (
            f"listener {k} had no interruption at all"
        )


def _has_counterpart(gap: Gap, others: list[Gap]) -> bool:
    return any(
        abs(gap.first - other.first) <= WITHIN_SLOTS and abs(gap.end - other.end) <= WITHIN_SLOTS
        for other in others
    )


def test_the_product_hears_the_same_voices_as_the_wire_brought(run: Observed) -> None:
    for k in run.chosen:
        codes, heard = run.recorded.codes(k), run.heard[k]
        told = np.where(codes < 64, codes & 0b111, 0)
        judged = (codes != UNJUDGED) & run.recorded.due(k)
        # One slot of difference in the anchor of a stream moves every change by one.
        agree = max(
            float((np.roll(told, shift) == heard.voices)[judged].mean()) for shift in (-1, 0, 1)
        )
        assert agree >= 0.99, f"listener {k}: {agree:.4f} of the slots have the same voices"


# --- sockets -------------------------------------------------------------------------------------


@pytest.fixture
def sockets(host_drop: Observed) -> Sockets:
    assert host_drop.notes.sockets is not None
    return host_drop.notes.sockets


def test_every_participant_has_a_udp_socket_of_its_own(
    host_drop: Observed, sockets: Sockets
) -> None:
    present = {address_of(k) for k in host_drop.recorded.present}
    ears = [
        sock
        for held in sockets.crowd.values()
        for sock in held
        if sock.transport == "udp" and sock.local[0] in present
    ]
    assert len({sock.inode for sock in ears}) == len(present)
    assert {sock.local[0] for sock in ears} == present
    assert len(sockets.crowd) >= 2, "speakers and listeners live in processes of their own"


def test_no_crowd_process_has_a_socket_to_a_server(host_drop: Observed, sockets: Sockets) -> None:
    participants = {address_of(k) for k in host_drop.recorded.participants}
    links = set(host_drop.links.values())
    proxy = {sock.local for sock in sockets.proxy}
    servers = {sock.local: name for name, held in sockets.servers.items() for sock in held}
    assert links <= proxy, "the proxy does not hold the links that it lists"
    connected = 0
    for held in sockets.crowd.values():
        for sock in held:
            if sock.peer[1] == 0:
                continue
            assert sock.peer not in servers, f"{sock} leads straight to {servers[sock.peer]}"
            # The sentinel's speaker sends to the relay's other side of its ear's flow.
            allowed = links if sock.local[0] in participants else links | proxy
            assert sock.peer in allowed, f"{sock} leads past the proxy"
            connected += sock.local[0] in participants
    assert connected >= 2 * len(host_drop.recorded.present), (
        "each has at least its signalling and its media"
    )


def test_all_that_an_ear_received_came_from_its_own_link(
    host_drop: Observed, sockets: Sockets
) -> None:
    ears = {
        sock.local
        for held in sockets.crowd.values()
        for sock in held
        if sock.transport == "udp" and sock.local[0] in map(address_of, host_drop.chosen)
    }
    sources = {p.source for p in host_drop.packets if p.is_udp and p.target in ears}
    assert len(ears) == len(host_drop.chosen)
    assert sources == {host_drop.links["listeners.media.room-a"]}
