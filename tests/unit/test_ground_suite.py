"""The suite's own rules, each seen at work in a small suite of its own."""

import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A suite under our conftest, where no program but what a test puts there is on PATH."""
    monkeypatch.setenv("PATH", str(pytester.mkdir("bin")))
    monkeypatch.delenv("CHAOSKIT_REQUIRE", raising=False)
    monkeypatch.delenv("CHAOSKIT_TEST_COUNTS", raising=False)
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    markers = "\n  ".join(settings["markers"])
    pytester.makeini(
        f"[pytest]\nasyncio_default_fixture_loop_scope = function\nmarkers =\n  {markers}"
    )
    pytester.makeconftest((ROOT / "tests/conftest.py").read_text())
    return pytester


def program(suite: pytest.Pytester, name: str) -> None:
    file = suite.path / "bin" / name
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)


NEEDS_JANUS = """
import pytest
pytestmark = [pytest.mark.conformance, pytest.mark.needs("janus")]
def test_talks_to_janus(): pass
"""


def test_a_module_without_a_category_is_refused(suite: pytest.Pytester) -> None:
    suite.makepyfile("def test_any(): pass")
    result = suite.runpytest()
    result.stdout.fnmatch_lines(["*needs exactly one category, has none: *unit*"])
    assert result.ret == pytest.ExitCode.INTERRUPTED


def test_a_module_with_two_categories_is_refused(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        "import pytest\npytestmark = [pytest.mark.unit, pytest.mark.stack]\ndef test_any(): pass"
    )
    result = suite.runpytest()
    result.stdout.fnmatch_lines(["*needs exactly one category, has stack and unit: *"])


def test_what_is_missing_skips_with_the_reason_and_is_counted(suite: pytest.Pytester) -> None:
    suite.makepyfile(NEEDS_JANUS)
    result = suite.runpytest()
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(
        ["1 skipped", "  1 x needs janus: no janus on PATH; apt-get install janus"]
    )


def test_what_is_there_is_used(suite: pytest.Pytester) -> None:
    program(suite, "janus")
    suite.makepyfile(NEEDS_JANUS)
    result = suite.runpytest()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["0 skipped"])


def test_what_is_required_fails_where_it_is_missing(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAOSKIT_REQUIRE", "capture,janus")
    suite.makepyfile(NEEDS_JANUS)
    result = suite.runpytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*CHAOSKIT_REQUIRE demands janus: no janus on PATH*"])


def test_a_requirement_that_nobody_knows_is_a_usage_error(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAOSKIT_REQUIRE", "janos")
    suite.makepyfile(NEEDS_JANUS)
    result = suite.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*CHAOSKIT_REQUIRE names janos; known: *janus*"])


def test_a_need_that_nobody_knows_fails(suite: pytest.Pytester) -> None:
    suite.makepyfile(NEEDS_JANUS.replace('"janus"', '"janos"'))
    result = suite.runpytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*needs('janos') is unknown; known: *"])


def test_slow_matrices_run_only_when_asked_for(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import pytest
        pytestmark = pytest.mark.stack
        @pytest.mark.full
        def test_every_case(): pass
        def test_one_case(): pass
        """
    )
    suite.runpytest().assert_outcomes(passed=1, deselected=1)
    suite.runpytest("-m", "stack").assert_outcomes(passed=1, deselected=1)
    suite.runpytest("-m", "full").assert_outcomes(passed=1, deselected=1)


def test_workers_obey_the_same_rules(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = suite.path / "counts.json"
    monkeypatch.setenv("CHAOSKIT_TEST_COUNTS", str(counts))
    suite.makepyfile(
        test_needs=NEEDS_JANUS,
        test_plain="import pytest\npytestmark = pytest.mark.unit\ndef test_any(): pass",
    )
    result = suite.runpytest_subprocess("-n", "1")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["1 skipped", "  1 x needs janus: *"])
    assert counts.read_text() == '{"passed": 1, "failed": 0, "skipped": 1}'
