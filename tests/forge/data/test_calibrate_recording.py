"""Observations from a robot's recording are those that the worker made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from gaitd.policy.pipeline import PolicyPipeline
from gaitd.telemetry.channels import recorded_dtype
from gaitd.telemetry.recording import Recording, RecordingInfo, write_recording
from support.bundles import contract, npz, observation_dim, small_manifest, write_small_bundle
from support.states import random_state

Forge = Callable[..., int]
Refused = Callable[..., str]

STEPS = 40


def manifest_with(history: int = 3, **term: Any) -> dict[str, Any]:
    manifest = small_manifest()
    manifest["observation"]["history"] = {"length": history}
    if term:
        manifest["observation"]["terms"].append(term)
    return manifest


def record(path: Path, manifest: dict[str, Any], joints: list[str] | None = None) -> np.ndarray:
    """Write a recording of random states and actions; the observations as the worker makes them."""
    rng = np.random.default_rng(5)
    records = np.zeros(STEPS, recorded_dtype(3))
    pipeline = PolicyPipeline(contract(manifest), None)
    pipeline.reset()
    rows = []
    for seq, step in enumerate(records, 1):
        state = random_state(rng, 3, linear_velocity=None)
        step["session"], step["seq"] = 7, seq
        for name in step.dtype.names:
            if hasattr(state, name) and name not in ("session", "seq"):
                step[name] = getattr(state, name)
        pipeline.observe(state)
        rows.append(pipeline.raw_observation().copy())
        # Close to the middle, so that no limit refuses it.
        decision = pipeline.decide(rng.normal(size=3).astype(np.float32) * 0.1)
        assert decision.accepted
        pipeline.commit(decision)
        step["action"] = decision.action
    save(path, records, joints or manifest["joints"])
    return np.stack(rows)


def save(path: Path, records: np.ndarray, joints: list[str]) -> None:
    info = RecordingInfo(policy_id="00", policy="small 1", bundle="small", period_s=0.012,
                         joints=joints, cause="operator", clock_offset_ns=0)  # fmt: skip
    with path.open("wb") as stream:
        write_recording(stream, Recording(info=info, records=records))


def cut(path: Path, steps: slice | list[int]) -> None:
    from gaitd.telemetry.recording import read_recording

    recording = read_recording(path)
    save(path, recording.records[steps], recording.info.joints)


def write_manifest(manifest: dict[str, Any]) -> None:
    Path("manifest.yaml").write_text(yaml.safe_dump(manifest))


COMMAND = ("calibrate", "--recording", "walk.mcap")


def test_a_whole_session(forge: Forge, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = manifest_with()
    write_manifest(manifest)
    expected = record(Path("walk.mcap"), manifest)
    assert forge(*COMMAND, "--manifest", "manifest.yaml") == 0
    np.testing.assert_array_equal(np.load("calib_obs.npy"), expected)
    printed = capsys.readouterr().out
    assert "projected_gravity" in printed
    assert f"coverage is thin: {STEPS} samples" in printed


def test_what_needs_the_unknown_past_is_left_out(forge: Forge) -> None:
    manifest = manifest_with(history=3)
    write_manifest(manifest)
    expected = record(Path("walk.mcap"), manifest)
    cut(Path("walk.mcap"), [*range(5, 20), *range(25, STEPS)])
    assert forge(*COMMAND, "--manifest", "manifest.yaml") == 0
    kept = np.concatenate([expected[8:20], expected[28:]])
    np.testing.assert_array_equal(np.load("calib_obs.npy"), kept)


def test_a_bundle_brings_its_statistics(forge: Forge) -> None:
    manifest = manifest_with(history=1)
    manifest["normalization"] = {"epsilon": 0.0}
    dim = observation_dim(manifest)
    mean, std = np.full(dim, 0.5, np.float32), np.full(dim, 2.0, np.float32)
    write_small_bundle(Path("small.gaitd"), manifest, obs_stats=npz(mean=mean, std=std))
    expected = record(Path("walk.mcap"), manifest)
    assert forge(*COMMAND, "--bundle", "small.gaitd", "--samples", "10") == 0
    rows = np.load("calib_obs.npy")
    assert rows.shape == (10, dim)
    np.testing.assert_allclose(rows[[0, -1]], (expected[[0, -1]] - 0.5) / 2.0, rtol=1e-6)


def test_what_does_not_fit_is_refused(refused: Refused) -> None:
    manifest = manifest_with()
    write_manifest(manifest)
    record(Path("walk.mcap"), manifest, joints=["hip", "knee", "thigh"])
    assert "--bundle or --manifest" in refused(2, *COMMAND)
    of_manifest = (*COMMAND, "--manifest", "manifest.yaml")
    assert "recorded with the joints hip knee thigh" in refused(2, *of_manifest)
    save(Path("walk.mcap"), np.zeros(5, recorded_dtype(3)), manifest["joints"])
    assert "built the observations itself" in refused(2, *of_manifest)
    save(Path("walk.mcap"), np.zeros(0, recorded_dtype(3)), manifest["joints"])
    assert "no observation can be rebuilt from its 0 steps" in refused(2, *of_manifest)
    write_manifest(manifest_with(term="base_linear_velocity"))
    assert "no linear velocity" in refused(2, *of_manifest)
    Path("walk.mcap").write_bytes(Path("walk.mcap").read_bytes()[:100])
    assert "walk.mcap: not a whole recording" in refused(2, *of_manifest)
