"""YAML with places, and numbers with units."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.errors import InvalidInput
from chaoskit.spec.per_stack import choose
from chaoskit.spec.units import (
    is_duration,
    parse_count,
    parse_duration_s,
    parse_fraction,
)
from chaoskit.spec.yaml_lines import Mark, nearest, parse_yaml

pytestmark = pytest.mark.unit


def test_values_know_where_they_stand() -> None:
    found = parse_yaml("a: 1\nb:\n  - {c: 30s, d: x}\n", "f.yaml")
    assert found.value == {"a": 1, "b": [{"c": "30s", "d": "x"}]}
    assert found.mark(("b", 0, "c")) == Mark(3, 9)
    assert found.key_mark(("b", 0, "d")) == Mark(3, 14)
    assert found.mark(("b", 0, "nothing")) == Mark(3, 5)
    assert str(found.finding(("a",), "wrong")) == "f.yaml:1:4: wrong"


def test_scalars_are_those_of_yaml_1_2() -> None:
    text = "[yes, no, on, 1:30, 0x10, 010, .nan, .inf, 2024-05-24, true, ~, 1e3, 1., -2, '3', 07:5]"
    assert parse_yaml(text, "f").value == [
        *("yes", "no", "on", "1:30", "0x10", 10, ".nan", ".inf", "2024-05-24", True, None),
        *(1000.0, 1.0, -2, "3", "07:5"),
    ]


def test_anchors_may_repeat_a_value() -> None:
    assert parse_yaml("a: &x [1]\nb: *x\n", "f").value == {"a": [1], "b": [1]}


def test_a_replaced_value_is_reported_where_it_was_written() -> None:
    found = parse_yaml("a: {b: 1}\nset:\n  a.b: {c: 5}\n", "f")
    new = found.replaced(("a", "b"), {"c": 5}, ("set", "a.b"))
    assert new.value["a"] == {"b": {"c": 5}}
    assert new.mark(("a", "b", "c")) == Mark(3, 12)
    assert found.value["a"] == {"b": 1}
    with pytest.raises(KeyError):
        found.replaced(("a", "b", "z"), 1, ("set",))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30.0), ("500ms", 0.5), ("2m", 120.0), ("1h", 3600.0), ("1m30s", 90.0), ("1.5 s", 1.5)],
)
def test_durations_are_read_with_their_unit(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == seconds
    assert is_duration(text)


@pytest.mark.parametrize(
    "value", [30, "30", 0.5, "-30s", "30 bananas", "s", "", True, None, [], {}]
)
def test_what_is_no_duration_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration_s(value)


@given(st.floats(0, 7200).map(lambda s: round(s, 3)))
def test_a_duration_is_the_sum_of_its_parts(seconds: float) -> None:
    minutes, rest = divmod(seconds, 60)
    written = f"{minutes:.0f}m {rest * 1000:.0f}ms"
    assert parse_duration_s(written) == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize(("value", "share"), [("20%", 0.2), (0.2, 0.2), (1, 1.0), ("0.5 %", 0.005)])
def test_shares_are_fractions_or_percentages(value: object, share: float) -> None:
    assert parse_fraction(value) == pytest.approx(share)


@pytest.mark.parametrize("value", [2, "120%", -0.1, "a fifth", True, None, "20"])
def test_what_is_no_share_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="share"):
        parse_fraction(value)


@pytest.mark.parametrize("value", [1.5, "3", True, -1, 8])
def test_counts_are_whole_and_in_range(value: object) -> None:
    with pytest.raises(ValueError, match=r"whole number|out of range"):
        parse_count(value, most=7)


@pytest.mark.parametrize(
    ("word", "meant"),
    [("packetloss", "loss"), ("dorp", "drop"), ("Drop", "drop"), ("zzz", None), ("los", "loss")],
)
def test_the_nearest_known_word_is_suggested(word: str, meant: str | None) -> None:
    wanted = "" if meant is None else f'; did you mean "{meant}"?'
    assert nearest(word, ["drop", "loss", "latency"]) == wanted


def test_a_place_that_is_not_there_is_a_key_error() -> None:
    document = parse_yaml("a: 1\n", "f")
    assert document.get(("a",)) == 1
    for where in (("b",), ("a", "b")):
        with pytest.raises(KeyError):
            document.get(where)


def test_a_signed_duration_may_be_negative() -> None:
    assert parse_duration_s("-5s", signed=True) == -5.0


def test_per_stack_values_are_chosen_wherever_they_stand() -> None:
    text = "a: {default: 8s, livekit: 15s}\nb: [{c: {default: 1}}]\nd: {default: {x: 1}}\n"
    document = parse_yaml(text, "f")
    assert choose(document, "livekit", ["livekit"])[0].value == {
        "a": "15s",
        "b": [{"c": 1}],
        "d": {"default": {"x": 1}},
    }
    chosen, findings = choose(document, "embedded", [])
    assert chosen.value["a"] == "8s"
    assert chosen.mark(("a",)) == Mark(1, 14)
    assert [str(f) for f in findings] == ['f:1:18: unknown stack "livekit"']


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ('a: 1\nb: "x \\e[31m"\n', "f.yaml:2:4", "text must not have control characters; here is"),
        ('a: ["\\x9b"]\n', "f.yaml:1:5", "here is U+009B"),
        ('"\\a": 1\n', "f.yaml:1:1", "a key must not have control characters; here is U+0007"),
        ('a: "\\ud800"\n', "f.yaml:1:4", "here is U+D800"),
        ('a: "1\\r2"\n', "f.yaml:1:4", "here is U+000D"),
    ],
)
def test_control_characters_are_refused_where_they_stand(text: str, where: str, what: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_yaml(text, "f.yaml")
    assert caught.value.message.startswith(f"{where}: ")
    assert what in caught.value.message
    assert caught.value.message.isprintable() or "\n" in caught.value.message
    assert "\x1b" not in caught.value.message


def test_lines_tabs_and_letters_of_any_script_are_text() -> None:
    assert parse_yaml('a: "1\\n2\\t3 äあ😀"\n', "f").value == {"a": "1\n2\t3 äあ😀"}
