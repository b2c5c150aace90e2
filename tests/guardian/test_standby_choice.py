"""Whether there is a standby, and why: what the gate walked, and what this robot has."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gaitd.backends import BackendName
from gaitd.bundle.read import Bundle, open_bundle
from gaitd.guardian.standby_choice import MEMORY_BYTES, StandbyChoice, choose_standby
from gaitd.shared.processes import STANDBY_SLOT
from gaitd.system.config import Config, Daemon, Guard, Standby
from gaitd.system.memory import available_bytes
from support.looped_guardian import LoopedGuardian
from support.reference import EXAMPLE_BUNDLE

NPU: list[BackendName] = ["rknn", "onnx"]
WALKED = {"passed": True, "failures": [], "walks": [{"kept_up": True}, {"kept_up": True}]}
FELL = {**WALKED, "passed": False, "failures": ["failover: 2 of 2 times the robot went down"]}


def told(failovers: Any, **of_manifest: Any) -> Bundle:
    """The example's bundle (model.rknn in float16) with that in its report."""
    bundle = open_bundle(EXAMPLE_BUNDLE)
    report = {"gate": {"passed": True, "failures": []}, "failovers": failovers}
    manifest = msgspec.structs.replace(bundle.manifest, **of_manifest)
    files = {**bundle.files, "report.json": json.dumps(report).encode()}
    return replace(bundle, manifest=manifest, files=files)


GOOD = told({"fp16": WALKED})


def choose(
    bundle: Bundle = GOOD,
    config: Config | None = None,
    backends: list[BackendName] = NPU,
    *,
    has_onnx: bool = True,
    memory_bytes: int | None = MEMORY_BYTES,
) -> StandbyChoice:
    return choose_standby(config or Config(), bundle, backends, has_onnx=has_onnx, memory_bytes=memory_bytes)


def without(bundle: Bundle, name: str) -> Bundle:
    return replace(bundle, files={key: data for key, data in bundle.files.items() if key != name})


@pytest.mark.parametrize("memory_bytes", [MEMORY_BYTES, None])
def test_auto_is_on_where_the_gate_has_walked_the_failovers(memory_bytes: int | None) -> None:
    choice = choose(memory_bytes=memory_bytes)
    assert choice.text == "on: the gate walked 2 failovers (fp16), and the robot walked on each time"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"bundle": told({})}, "has not walked its failovers (fp16): gaitforge verify"),
        ({"bundle": told({"int8": WALKED})}, "has not walked its failovers (fp16)"),
        ({"bundle": told({"fp16": WALKED}, provenance={})}, "has not walked its failovers (int8)"),
        ({"bundle": told({"fp16": FELL})}, "they failed: failover: 2 of 2 times the robot went down"),
        ({"bundle": told({"fp16": {**WALKED, "walks": []}})}, "the robot walked on 0 of 0 times"),
        (
            {"bundle": told({"fp16": {**WALKED, "walks": [{"kept_up": False}]}})},
            "the robot walked on 0 of 1 times",
        ),
        ({"bundle": told([])}, "report.json is unreadable"),
        ({"bundle": without(GOOD, "report.json")}, "has no report.json"),
        ({"bundle": without(GOOD, "model.onnx")}, "has no model.onnx"),
        ({"backends": ["onnx"]}, "the worker itself runs on the CPU"),
        ({"has_onnx": False}, "onnxruntime is not installed"),
        ({"memory_bytes": MEMORY_BYTES - 1}, "399 MiB of memory are left for gaitd"),
        ({"config": Config(daemon=Daemon(rehearsal=True))}, "daemon.rehearsal is on"),
        (
            {"config": Config(guard=Guard(deadline_periods=3))},
            "guard.deadline_periods is 3: there is no time to change workers; set it to 4 or more",
        ),
    ],
)  # fmt: skip
def test_else_it_is_off_and_says_why(changes: dict[str, Any], why: str) -> None:
    choice = choose(**changes)
    assert not choice.on
    assert why in choice.text


def test_what_a_person_says_holds_whatever_the_gate_has_walked() -> None:
    on, off = (Config(standby=Standby(mode=mode)) for mode in ("on", "off"))
    assert choose(told({}), on, ["onnx"], memory_bytes=0) == (True, 'standby.mode is "on"')
    assert choose(config=off) == (False, 'standby.mode is "off"')


@pytest.mark.parametrize(("backends", "on"), [(NPU, True), (["onnx"], False)])
def test_the_guardian_does_as_was_chosen_and_tells_it(
    backends: list[BackendName], on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gaitd.guardian.main.available_bytes", lambda: None)
    guardian = LoopedGuardian(GOOD, lambda data: None, backends=backends)
    try:
        slots = guardian._guardian._workers.by_slot
        assert (STANDBY_SLOT in slots) is on
        assert guardian._guardian._status()["standby_choice"].startswith("on: the gate" if on else "off: the")
    finally:
        guardian.close()


def test_what_memory_is_left(tmp_path: Path) -> None:
    assert available_bytes(tmp_path) is None
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    2048 kB\n")
    assert available_bytes(tmp_path) == 2 << 20
    (tmp_path / "proc/self/cgroup").write_text("0::/system.slice/gaitd.service\n")
    limit = tmp_path / "sys/fs/cgroup/system.slice/gaitd.service/memory.max"
    limit.parent.mkdir(parents=True)
    for text, left in (("max", 2 << 20), ("1048576", 1 << 20), ("8388608", 2 << 20)):
        limit.write_text(f"{text}\n")
        assert available_bytes(tmp_path) == left
    real = available_bytes()
    assert real is not None
    assert real > 1 << 20
