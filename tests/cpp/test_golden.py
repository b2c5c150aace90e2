"""The golden vectors against the Python codec; the C++ side reads the same file in test_codec.cpp."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaitd.wire.codec import (
    decode_command,
    decode_raw_observation,
    decode_state,
    encode_command,
    encode_state,
)
from gaitd.wire.frame import WireError
from gaitd.wire.generated import NO_JOINT
from support.proto import encode_raw_observation

GOLDEN = Path(__file__).parents[2] / "proto/golden"
VECTORS: list[dict[str, Any]] = json.loads((GOLDEN / "vectors.json").read_text(encoding="utf-8"))
ACCEPTED = [vector for vector in VECTORS if "fields" in vector]
REFUSED = [vector for vector in VECTORS if "refusal" in vector]
ENCODERS: dict[str, Any] = {
    "state": encode_state,
    "raw_observation": encode_raw_observation,
    "command": encode_command,
}


def decode(vector: dict[str, Any]) -> Any:
    """The message in a vector."""
    data = bytes.fromhex(vector["hex"])
    if vector["kind"] == "state":
        return decode_state(data, vector["joints"])
    if vector["kind"] == "command":
        return decode_command(data, vector["joints"])
    return decode_raw_observation(data, len(vector["fields"]["observation"]) // 8, vector["joints"])


def causes(message: Any) -> dict[str, Any]:
    """The three elements of a command's cause."""
    cause = getattr(message, "cause", None)
    if cause is None:
        return {}
    values = [np.nan if value is None else value for value in (cause.number, cause.bound)]
    return {
        "cause": cause.kind,
        "cause_joint": NO_JOINT if cause.joint is None else cause.joint,
        "cause_values": np.array(values, np.float32),
    }


def test_the_file_holds_both_kinds() -> None:
    assert len(ACCEPTED) >= 10
    assert len(REFUSED) >= 40
    assert len({vector["name"] for vector in VECTORS}) == len(VECTORS)


@pytest.mark.parametrize("vector", ACCEPTED, ids=lambda vector: vector["name"])
def test_accepted(vector: dict[str, Any]) -> None:
    message = decode(vector)
    for name, expected in vector["fields"].items():
        value = cause[name] if name in (cause := causes(message)) else getattr(message, name)
        if isinstance(value, np.ndarray):
            value = value.tobytes().hex()
        if isinstance(value, tuple):
            value = [array.tobytes().hex() for array in value]
        assert ("" if value is None else value) == expected, name
    if vector["writer"] == "python":
        assert ENCODERS[vector["kind"]](message).hex() == vector["hex"]


@pytest.mark.parametrize("vector", REFUSED, ids=lambda vector: vector["name"])
def test_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(WireError) as refusal:
        decode(vector)
    assert refusal.value.field == vector["field"]


def test_the_file_is_what_the_generator_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("generate", GOLDEN / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    monkeypatch.setattr(generate, "TARGET", tmp_path / "vectors.json")
    generate.main()
    assert json.loads((tmp_path / "vectors.json").read_text(encoding="utf-8")) == VECTORS
