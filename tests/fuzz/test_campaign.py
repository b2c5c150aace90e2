"""A short campaign finds nothing; the same campaign finds every mistake that is planted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gaitd.wire.codec
import gaitd.wire.control
import gaitd.wire.frame
from fuzz import native
from fuzz.campaign import run
from fuzz.oracle import Peers, is_command, is_raw_observation, is_state
from gaitd.guardian.sessions import Sessions
from gaitd.policy.action import ActionMapper, MotorTargets
from gaitd.policy.admission import StateAdmission
from gaitd.policy.limits import CommandGuard, Decision
from gaitd.wire.causes import Cause
from gaitd.wire.generated import CauseKind, Reason
from support.bundles import mixed_manifest, write_small_bundle

VECTORS = json.loads((native.REPOSITORY / "proto/golden/vectors.json").read_text())
KINDS = {"state", "raw_observation", "command", "request", "reply", "admission"}
ORACLES = {"state": is_state, "raw_observation": is_raw_observation, "command": is_command}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_oracle_knows_the_golden_vectors(vector: dict[str, Any]) -> None:
    data, peers = bytes.fromhex(vector["hex"]), Peers(joints=vector["joints"])
    assert ORACLES[vector["kind"]](data, peers) == ("fields" in vector)


def test_no_message_that_violates_the_contract_is_accepted(small_bundle_path: Path, programs: Path) -> None:
    tally = run(small_bundle_path, programs / "judge", seed=20260101, violating=100_000)
    assert tally.findings == []
    assert tally.accepted == 0
    assert {kind for kind, count in tally.violating.items() if count > 5000} == KINDS
    assert {kind for kind, count in tally.good.items() if count > 100} == {*KINDS, "action"}
    assert tally.readings["C++"] > 50_000


def test_nor_where_a_policy_has_wheels_torques_and_inputs(mixed_bundle: Path, programs: Path) -> None:
    tally = run(mixed_bundle, programs / "judge", seed=20260102, violating=20_000)
    assert tally.findings == []
    assert tally.accepted == 0
    assert {kind for kind, count in tally.violating.items() if count > 200} == {*KINDS, "action"}
    assert {kind for kind, count in tally.good.items() if count > 20} == {*KINDS, "action"}


def test_what_a_careless_cpp_reader_accepts_is_found(small_bundle_path: Path, programs: Path) -> None:
    tally = run(small_bundle_path, programs / "judge_planted", seed=1, violating=100_000)
    assert tally.accepted > 0
    assert any("C++ accepts what violates the contract" in finding for finding in tally.findings)


def test_a_cpp_reader_that_dies_is_found(small_bundle_path: Path) -> None:
    tally = run(small_bundle_path, Path("/bin/false"), seed=1, violating=10_000)
    assert "the C++ reader of state ended with 1" in tally.findings[0]


@pytest.fixture(scope="module")
def mixed_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy of format 2."""
    return write_small_bundle(tmp_path_factory.mktemp("mixed") / "mixed.gaitd", mixed_manifest())


def _any_uint(value: Any, field: str, *bounds: int, last: int = 0) -> Any:
    return value if isinstance(value, int) else 0


def _any_length(value: Any, field: str, count: int) -> Any:
    return np.frombuffer((value if type(value) is bytes else b"") + bytes(4 * count), np.float32, count)


_admit = StateAdmission.admit


def _forgets_replays(admission: StateAdmission, state: Any, now_ns: int) -> Cause | None:
    cause = _admit(admission, state, now_ns)
    return None if cause is not None and cause.kind is CauseKind.SEQUENCE else cause


class _Anything:
    def __contains__(self, _: object) -> bool:
        return True


PLANTED: dict[str, tuple[Any, str, Any, str]] = {
    "numbers": (gaitd.wire.codec, "_uint", _any_uint, "accepts what violates"),
    "lengths": (gaitd.wire.codec, "_floats", _any_length, "accepts what violates"),
    "slots and joints": (gaitd.wire.codec, "_index", _any_uint, "accepts what violates"),
    "inputs": (gaitd.wire.codec, "_inputs", lambda *_: (), "accepts what violates"),
    "fields of hello": (gaitd.wire.control, "STATE_VALUES", _Anything(), "accepts what violates"),
    "a key twice": (gaitd.wire.frame, "_unique", dict, "accepts what violates"),
    "session": (Sessions, "_release", lambda *_: {}, "accepts what violates"),
    "later reasons": (Reason, "received", Reason, "raised ValueError"),
    "later causes": (CauseKind, "received", CauseKind, "raised ValueError"),
    "size of a request": (gaitd.wire.control, "MAX_REQUEST_BYTES", 70_000, "accepts what violates"),
    "age": (StateAdmission, "too_old", lambda *_: None, "takes a state that violates"),
    "joint range": (StateAdmission, "_values_cause", lambda *_: None, "takes a state that violates"),
    "replay": (StateAdmission, "admit", _forgets_replays, "takes a state that violates"),
    "all refused": (StateAdmission, "admit", lambda *_: Cause(CauseKind.OLD), "refuses a good state"),
}


@pytest.mark.parametrize("mistake", PLANTED)
def test_a_planted_mistake_is_found(
    mistake: str, small_bundle_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, name, careless, finding = PLANTED[mistake]
    monkeypatch.setattr(place, name, careless)
    tally = run(small_bundle_path, None, seed=2, violating=30_000)
    assert any(finding in found for found in tally.findings), tally.findings


_check = CommandGuard.check


def _still(guard: CommandGuard, action: np.ndarray, position: Any, velocity: np.ndarray) -> Decision:
    """As if the robot stood still."""
    return _check(guard, action, position, np.zeros_like(velocity))


def _other_kind(mapper: ActionMapper, target: np.ndarray) -> MotorTargets:
    """What is to be a velocity goes out as a position."""
    return MotorTargets(target, np.zeros_like(target), np.zeros_like(target))


PLANTED_IN_THE_GUARD: dict[str, tuple[Any, str, Any, str]] = {
    "every limit": (CommandGuard, "_hold", lambda *_, **__: None, "lets through"),
    "not finite, or repeated": (
        CommandGuard,
        "_model_fault",
        lambda *_: None,
        "the guard gives another cause",
    ),
    "damping's torque": (CommandGuard, "check", _still, "lets through"),
    "what a wheel follows": (ActionMapper, "motor_targets", _other_kind, "a position of"),
}


@pytest.mark.parametrize("mistake", PLANTED_IN_THE_GUARD)
def test_a_planted_mistake_with_a_policy_of_format_2_is_found(
    mistake: str, mixed_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, name, careless, finding = PLANTED_IN_THE_GUARD[mistake]
    monkeypatch.setattr(place, name, careless)
    tally = run(mixed_bundle, None, seed=1, violating=30_000)
    assert any(finding in found for found in tally.findings), tally.findings
