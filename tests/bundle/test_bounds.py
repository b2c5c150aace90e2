"""What a manifest may ask for: text that is safe to print, sizes that a robot has room for."""

from __future__ import annotations

import math
import resource
from collections.abc import Callable
from typing import Any

import pytest

from gaitd.bundle.bounds import (
    MAX_FRAMES,
    MAX_HIDDEN,
    MAX_NAME,
    MAX_OBSERVATION_DIM,
    MAX_REMEMBERED,
    MAX_TEXT,
    check_bounds,
)
from gaitd.errors import InputError
from gaitd.policy.observation import ObservationBuilder
from gaitd.system.memory import memory_limit
from support.bundles import contract, lite3_manifest, small_manifest

Change = Callable[[dict[str, Any]], object]
FORBIDDEN = ["a\nb", "a\rb", "a\x1b[2Jb", "a\x07b", "a\x00b", "a\u202eb", "a\u2028b", "a\u200bb", "\x9bb"]
"""Lines, escapes, and what turns the direction of writing or is not seen."""


def refusal(manifest: dict[str, Any]) -> str:
    with pytest.raises(InputError) as caught:
        check_bounds(contract(manifest))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000
    return str(caught.value)


def test_the_manifests_of_real_policies_pass() -> None:
    check_bounds(contract(small_manifest()))
    check_bounds(contract(lite3_manifest()))
    provenance = {
        "training_commit": "0" * 40,
        "command": "train.py --task=Walk 'v1, with \"quotes\"'",
        "名": "步态",
    }
    check_bounds(contract(small_manifest(name="步态 v2.1+rc1 (flat, 12:30)", provenance=provenance)))


@pytest.mark.parametrize(
    "text", [*FORBIDDEN, "", " a", "a ", "a  b", 'a"b', "a=b", "a\\b", "x" * (MAX_NAME + 1)]
)
@pytest.mark.parametrize("key", ["name", "version", "robot"])
def test_a_name_that_is_none(key: str, text: str) -> None:
    assert refusal(small_manifest(**{key: text})).startswith(f"{key}: ")


@pytest.mark.parametrize("text", FORBIDDEN)
def test_text_that_would_do_something_to_its_reader(text: str) -> None:
    assert refusal(small_manifest(description=text)).startswith("description: ")
    assert refusal(small_manifest(provenance={"seed": text})).startswith("provenance.seed: ")
    assert "a key of provenance" in refusal(small_manifest(provenance={text: "1"}))
    joints = ["hip", text, "knee"]
    assert refusal(small_manifest(joints=joints, fallback_damping_nms_per_rad=1.0)).startswith("joints[1]: ")
    assert refusal(small_manifest(model={"output": text})).startswith("model.output: ")
    recurrent = {"input": "h", "output": text, "shape": [1]}
    assert refusal(small_manifest(model={"recurrent": [recurrent]})).startswith("model.recurrent[0].output: ")


def test_too_much_text() -> None:
    assert refusal(small_manifest(description="x" * (MAX_TEXT + 1))).startswith("description: ")
    assert "provenance" in refusal(small_manifest(provenance={str(index): "" for index in range(101)}))


def terms(*changed: dict[str, Any], history: dict[str, Any] | None = None) -> dict[str, Any]:
    return small_manifest(observation={"terms": list(changed), "history": history or {}})


def hidden(shape: list[int], count: int = 1) -> dict[str, Any]:
    return small_manifest(model={"recurrent": [{"input": "h", "output": "i", "shape": shape}] * count})


POSITION = {"term": "joint_position"}
BY_TERM = {"layout": "term_major"}


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (terms(*[POSITION] * 65), "observation.terms: 65"),
        (terms(POSITION, history={"length": MAX_FRAMES + 1}), "observation.history.length: 1001"),
        (terms(POSITION, history={"length": 10**19}), "observation.history.length: 1000"),
        (terms({**POSITION, "history_length": 10**9}, history=BY_TERM), "terms[0].history_length"),
        (terms(POSITION, {**POSITION, "delay_steps": 10**8}), "observation.terms[1].delay_steps: 100000000"),
        (terms(*[POSITION] * 10, history={"length": 274}), f"more than the {MAX_OBSERVATION_DIM}"),
        (terms(*[{**POSITION, "delay_steps": 999}] * 22), f"more than the {MAX_REMEMBERED}"),
        (hidden([10**9]), "shape: 1000000000"),
        (hidden([-1, -1]), "above 0, got"),
        (hidden([1] * 9), "up to 8 sizes"),
        (hidden([1], count=17), "recurrent: 17"),
        (small_manifest(joints=[f"j{index}" for index in range(65)]), "joints: expected 1 to 64, got 65"),
    ],
)  # fmt: skip
def test_what_would_take_memory(manifest: dict[str, Any], message: str) -> None:
    assert message in refusal(manifest)


def test_the_largest_that_passes_can_be_built() -> None:
    manifest = contract(terms(*[POSITION] * 10, history={"length": 273}))
    check_bounds(manifest)
    assert ObservationBuilder(manifest).dim == 10 * 3 * 273
    check_bounds(contract(hidden([MAX_HIDDEN])))


def test_memory_beyond_the_limit_is_an_error_and_the_limit_ends() -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with pytest.raises(MemoryError), memory_limit(50 * 2**20):
        bytearray(100 * 2**20)
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
    with memory_limit(math.prod((200, 2**20))):
        assert len(bytearray(100 * 2**20)) == 100 * 2**20
