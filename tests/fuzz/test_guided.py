"""The readers of foreign bytes under hypothesis, and a bounded run of the coverage-guided fuzzers."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz import guided
from fuzz.targets import TARGETS, Target

SECONDS = 2
CHANGES = st.lists(
    st.tuples(st.integers(0, 2**16), st.integers(0, 40), st.binary(max_size=8)), min_size=1, max_size=4
)


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Target:
    return TARGETS[request.param](tmp_path)


def test_the_seeds_are_good(target: Target) -> None:
    for seed in target.seeds:
        target.check(seed)


@given(data=st.data())
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_changed_seed_breaks_nothing(target: Target, data: st.DataObject) -> None:
    changed = bytearray(data.draw(st.sampled_from(target.seeds)))
    for place, removed, added in data.draw(CHANGES):
        at = place % (len(changed) + 1)
        changed[at : at + removed] = added
    target.check(bytes(changed))


@given(junk=st.binary(max_size=200) | st.text(max_size=80).map(str.encode))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_junk_breaks_nothing(target: Target, junk: bytes) -> None:
    target.check(junk)


@pytest.mark.skipif(not guided.atheris_available(), reason=guided.ATHERIS_MISSING)
@pytest.mark.parametrize(
    "name",
    [name if name == "control" else pytest.param(name, marks=pytest.mark.thorough) for name in TARGETS],
)
def test_python_readers_under_atheris(name: str, tmp_path: Path) -> None:
    outcome = guided.fuzz_python(name, SECONDS, tmp_path)
    assert outcome.ok, outcome.output
    assert outcome.runs > 100


@pytest.mark.skipif(not guided.atheris_available(), reason=guided.ATHERIS_MISSING)
def test_atheris_finds_a_planted_mistake(tmp_path: Path) -> None:
    outcome = guided.fuzz_python("planted", 60, tmp_path)
    assert not outcome.ok
    assert "the planted mistake" in outcome.output


def test_cpp_readers_under_libfuzzer(programs: Path, tmp_path: Path) -> None:
    outcome = guided.fuzz_native(programs / guided.NATIVE_TARGET, SECONDS, tmp_path)
    assert outcome.ok, outcome.output
    assert outcome.runs > 1000


def test_libfuzzer_and_the_sanitizer_find_a_planted_overflow(programs: Path, tmp_path: Path) -> None:
    outcome = guided.fuzz_native(programs / "decoders_planted", 60, tmp_path)
    assert not outcome.ok
    assert "AddressSanitizer: heap-buffer-overflow" in outcome.output
