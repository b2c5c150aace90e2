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
from gaitd.policy.admission import StateAdmission
from gaitd.wire.causes import Cause
from gaitd.wire.generated import CauseKind, Reason

VECTORS = json.loads((native.REPOSITORY / "proto/golden/vectors.json").read_text())
ORACLES = {"state": is_state, "raw_observation": is_raw_observation, "command": is_command}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_oracle_knows_the_golden_vectors(vector: dict[str, Any]) -> None:
    data, peers = bytes.fromhex(vector["hex"]), Peers(joints=vector["joints"])
    assert ORACLES[vector["kind"]](data, peers) == ("fields" in vector)


def test_no_message_that_violates_the_contract_is_accepted(small_bundle_path: Path, programs: Path) -> None:
    tally = run(small_bundle_path, programs / "judge", seed=20260101, violating=100_000)
    assert tally.findings == []
    assert tally.accepted == 0
    kinds = {"state", "raw_observation", "command", "request", "reply", "admission"}
    assert {kind for kind, count in tally.violating.items() if count > 5000} == kinds
    assert {kind for kind, count in tally.good.items() if count > 100} == kinds
    assert tally.readings["C++"] > 50_000


def test_what_a_careless_cpp_reader_accepts_is_found(small_bundle_path: Path, programs: Path) -> None:
    tally = run(small_bundle_path, programs / "judge_planted", seed=1, violating=100_000)
    assert tally.accepted > 0
    assert any("C++ accepts what violates the contract" in finding for finding in tally.findings)


def test_a_cpp_reader_that_dies_is_found(small_bundle_path: Path) -> None:
    tally = run(small_bundle_path, Path("/bin/false"), seed=1, violating=10_000)
    assert "the C++ reader of state ended with 1" in tally.findings[0]


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
    tally = run(small_bundle_path, None, seed=1, violating=30_000)
    assert any(finding in found for found in tally.findings), tally.findings
