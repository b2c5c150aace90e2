"""gaitforge parity, and --capture of pack, calibrate and chain, as a person uses them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from trainers import ROBOTS, Spec, changed, observation_dim, write_bundle_of, write_capture

from gaitd.backends import open_backend
from gaitd.backends.selftest import run_selftest
from gaitd.bundle.read import open_bundle
from gaitd.cli import main as gaitd
from gaitd.errors import InputError
from gaitforge.bundle.write import write_bundle
from support.bundles import edit_manifest, mlp_onnx, mlp_weights, npz, recurrent_onnx
from support.fakes import Honest

Forge = Callable[..., int]
Refused = Callable[..., str]


def without_pose(spec: Spec) -> dict:
    return changed(spec, lambda manifest: manifest["observation"]["terms"][4].update(term="joint_position"))


def test_equal_is_exit_code_zero(forge: Forge, capsys: pytest.CaptureFixture[str]) -> None:
    spec = ROBOTS["quadruped"]()
    write_bundle_of(Path("policy.gaitd"), spec)
    write_capture(Path("capture.npz"), spec)
    assert forge("parity", "policy.gaitd", "capture.npz") == 0
    assert capsys.readouterr().out.strip().endswith("equal")


def test_a_difference_is_named_drawn_and_a_change_proposed(
    forge: Forge, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = ROBOTS["quadruped"]()
    write_bundle_of(Path("policy.gaitd"), spec, without_pose(spec))
    write_capture(Path("capture.npz"), spec)
    command = ("parity", "policy.gaitd", "capture.npz", "--json", "parity.json", "--plot", "parity.png")
    assert forge(*command) == 3
    printed = capsys.readouterr()
    assert "default pose missing" in printed.out
    assert "{term: joint_position_relative}" in printed.out
    assert "with it all terms are equal" in printed.out
    assert "policy.gaitd does not do what capture.npz shows" in printed.err
    result = json.loads(Path("parity.json").read_text())
    assert not result["equal"]
    assert [(d["term"], d["kind"]) for d in result["differences"]] == [
        ("joint_position", "default pose missing")
    ]
    assert Path("parity.png").read_bytes().startswith(b"\x89PNG")


def test_a_missing_normalizer_is_written(forge: Forge) -> None:
    spec = ROBOTS["quadruped"]()
    assert spec.stats is not None
    without = changed(spec, lambda manifest: manifest.pop("normalization"))
    write_bundle_of(Path("policy.gaitd"), spec, without)
    write_capture(Path("capture.npz"), spec, mean=spec.stats[0], std=spec.stats[1])
    assert forge("parity", "policy.gaitd", "capture.npz", "--stats", "stats.npz") == 3
    np.testing.assert_allclose(np.load("stats.npz")["mean"], spec.stats[0])


def test_joint_targets_are_compared(forge: Forge, capsys: pytest.CaptureFixture[str]) -> None:
    spec = ROBOTS["quadruped"]()
    write_bundle_of(Path("policy.gaitd"), spec)
    order = list(range(12))
    pose = np.array(spec.manifest["default_joint_position_rad"])

    def with_targets(scale: float, pose: np.ndarray) -> Callable[[dict[str, np.ndarray]], None]:
        return lambda arrays: arrays.update(joint_target=arrays["action"] * scale + pose)

    for scale, offset, code, kind in (
        (0.25, pose, 0, "equal"),
        (0.5, pose, 3, "factor"),
        (0.25, 0 * pose, 3, "default pose twice"),
        (0.25, pose[::-1], 3, "default pose"),
    ):
        write_capture(Path("capture.npz"), spec, edit=with_targets(scale, offset), capture_joints=order)
        assert forge("parity", "policy.gaitd", "capture.npz") == code
        assert kind in capsys.readouterr().out


def test_what_cannot_be_compared_is_refused(refused: Refused) -> None:
    spec = ROBOTS["quadruped"]()
    write_bundle_of(Path("policy.gaitd"), spec)
    write_capture(Path("biped.npz"), ROBOTS["biped"]())
    error = refused(2, "parity", "policy.gaitd", "biped.npz")
    assert "actions have 6 values, but the policy moves 12" in error
    write_capture(Path("short.npz"), spec, steps=10)
    assert "10 steps; at least 24" in refused(2, "parity", "policy.gaitd", "short.npz")


def files_of(spec: Spec) -> list[str]:
    """What pack needs, besides the capture."""
    dim, count = observation_dim(spec.manifest), len(spec.manifest["joints"])
    model = recurrent_onnx(dim, count, spec.hidden) if spec.hidden else mlp_onnx(mlp_weights(dim, count))
    Path("policy.onnx").write_bytes(model)
    Path("manifest.yaml").write_text(yaml.safe_dump(spec.manifest, sort_keys=False))
    command = ["pack", "--manifest", "manifest.yaml", "--onnx", "policy.onnx", "--output", "walk.gaitd"]
    if spec.stats is not None:
        Path("stats.npz").write_bytes(npz(mean=spec.stats[0], std=spec.stats[1]))
        command += ["--obs-stats", "stats.npz"]
    return command


@pytest.mark.parametrize("robot", ROBOTS)
def test_a_capture_becomes_golden_vectors_that_prove_the_terms(
    robot: str, forge: Forge, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = ROBOTS[robot]()
    command = files_of(spec)
    write_capture(Path("capture.npz"), spec, episodes=2)
    assert forge(*command, "--capture", "capture.npz") == 0
    bundle = open_bundle(Path("walk.gaitd"))
    trace = bundle.captured_states()
    assert trace is not None
    assert len(trace) == 250
    tolerance = bundle.manifest.golden.onnx_tolerance
    assert run_selftest(open_backend("onnx", bundle), bundle, tolerance).count == 250
    capsys.readouterr()
    assert gaitd(["check", "walk.gaitd"]) == 0
    printed = capsys.readouterr().out
    assert "proven by a capture of 250 steps" in printed
    assert "model.onnx answers all 250 captured observations as captured" in printed


def chain_of(spec: Spec) -> list[str]:
    """A checkpoint of the trainer's network and its contract; needs an environment of 45 values."""
    first, bias, second = map(torch.from_numpy, mlp_weights(45, 12))
    names = {"actor.0.weight": first.T, "actor.0.bias": bias, "actor.2.weight": second.T}
    torch.save({name: tensor.contiguous() for name, tensor in names.items()}, "trained.pt")
    Path("manifest.yaml").write_text(yaml.safe_dump(spec.manifest, sort_keys=False))
    words = "chain trained.pt --activation tanh --env environments:Base --samples 100 --seeds 0 --output out"
    return [*words.split(), "--capture", "capture.npz"]


@pytest.mark.thorough
@pytest.mark.usefixtures("rknn_venv")
def test_the_chain_judges_the_capture_and_packs_it(
    forge: Forge, refused: Refused, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = Spec(changed(ROBOTS["quadruped"](), lambda manifest: manifest.pop("normalization")))
    del spec.manifest["observation"]["terms"][0]
    command = chain_of(spec)
    assert "the capture capture.npz does not exist" in refused(2, *command)

    write_capture(Path("capture.npz"), spec)
    assert forge(*command) == 0
    bundle = open_bundle(Path("out/quadruped.gaitd"))
    trace = bundle.captured_states()
    assert trace is not None
    assert len(trace) == 250
    assert json.loads(bundle.read_bytes("report.json"))["parity"]["equal"]

    doubled = Spec(spec.manifest, change=lambda name, value, row: value * (1 + (name == "joint_velocity")))
    write_capture(Path("capture.npz"), doubled)
    capsys.readouterr()
    assert forge(*command) == 3
    printed = capsys.readouterr()
    assert "joint_velocity" in printed.err
    skipped = [line.partition(":")[0] for line in printed.out.splitlines() if "skipped" in line]
    assert skipped == ["export", "contract", "calibrate"]


class Drifting(Honest):
    """A backend whose hidden state goes wrong late: from a step on it is not kept."""

    steps = 0

    def commit(self) -> None:
        self.steps += 1
        if self.steps < 200:
            super().commit()


def test_a_hidden_state_that_goes_wrong_late_is_noticed(forge: Forge) -> None:
    command = files_of(ROBOTS["biped"]())
    write_capture(Path("capture.npz"), ROBOTS["biped"]())
    assert forge(*command, "--capture", "capture.npz") == 0
    bundle = open_bundle(Path("walk.gaitd"))
    with pytest.raises(InputError, match=r"golden vector 2\d\d, joint .* is above the tolerance"):
        run_selftest(Drifting(open_backend("onnx", bundle)), bundle, 1e-3)


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (
            lambda arrays: arrays.update(state_joint_position=np.zeros((250, 5))),
            "state_joint_position has shape",
        ),
        (lambda arrays: arrays.update(state_reset=np.zeros(3)), "state_reset"),
        (lambda arrays: arrays.pop("state_orientation"), "state_orientation is missing"),
        (lambda arrays: arrays.update(state_joint_velocity=np.full((250, 6), np.inf)), ".* finite values"),
    ],
)
def test_damaged_golden_states_are_refused(forge: Forge, edit: Any, named: str) -> None:
    spec = ROBOTS["biped"]()
    command = files_of(spec)
    write_capture(Path("capture.npz"), spec)
    assert forge(*command, "--capture", "capture.npz") == 0
    bundle = open_bundle(Path("walk.gaitd"))
    arrays = dict(np.load(io.BytesIO(bundle.read_bytes("golden.npz"))))
    edit(arrays)
    contents = {"model.onnx": bundle.read_bytes("model.onnx"), "golden.npz": npz(**arrays)}
    with pytest.raises(InputError, match=rf"golden\.npz: {named}"):
        write_bundle(Path("other.gaitd"), spec.manifest, contents)


def test_without_a_capture_the_terms_are_not_proven(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    write_bundle_of(tmp_path / "policy.gaitd", ROBOTS["quadruped"]())
    assert gaitd(["check", str(tmp_path / "policy.gaitd")]) == 0
    assert "not proven: no capture" in capsys.readouterr().out


def test_a_wrong_term_is_refused_at_pack_and_at_each_start(forge: Forge, refused: Refused) -> None:
    spec = ROBOTS["quadruped"]()
    command = files_of(spec)
    write_capture(Path("capture.npz"), spec)
    wrong = without_pose(spec)
    Path("manifest.yaml").write_text(yaml.safe_dump(wrong, sort_keys=False))
    error = refused(2, *command, "--capture", "capture.npz")
    assert "golden.npz: observation.terms[4] (joint_position), joint " in error
    Path("manifest.yaml").write_text(yaml.safe_dump(spec.manifest, sort_keys=False))
    command[command.index("walk.gaitd")] = "walk"
    assert forge(*command, "--capture", "capture.npz") == 0
    edit_manifest(Path("walk"), lambda manifest: manifest["observation"]["terms"][5].update(scale=0.9))
    with pytest.raises(InputError, match=r"golden\.npz: observation\.terms\[5\] \(joint_velocity\)"):
        open_bundle(Path("walk"))


def test_a_capture_of_another_checkpoint_is_refused(refused: Refused) -> None:
    spec = ROBOTS["quadruped"]()
    command = files_of(spec)

    def other(arrays: dict[str, np.ndarray]) -> None:
        arrays["action"] = arrays["action"] * 1.1

    write_capture(Path("capture.npz"), spec, edit=other)
    assert "differ from the captured actions" in refused(2, *command, "--capture", "capture.npz")


def test_calibrate_takes_a_capture(forge: Forge, refused: Refused) -> None:
    spec = ROBOTS["quadruped"]()
    write_bundle_of(Path("policy.gaitd"), spec)
    write_capture(Path("capture.npz"), spec)
    assert forge("calibrate", "--capture", "capture.npz", "--bundle", "policy.gaitd") == 0
    rows = np.load("calib_obs.npy")
    assert spec.stats is not None
    mean, std = spec.stats
    raw = np.load("capture.npz")["observation"]
    np.testing.assert_allclose(rows, (raw - mean) / (std + 0.01), rtol=1e-4, atol=1e-5)
    write_capture(Path("biped.npz"), ROBOTS["biped"]())
    refused(2, "calibrate", "--capture", "biped.npz", "--bundle", "policy.gaitd")


@pytest.mark.usefixtures("rknn_venv")
def test_a_difference_from_the_trainer_fails_the_gate(
    forge: Forge, refused: Refused, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = ROBOTS["quadruped"]()
    pack = [*files_of(spec), "--report", "verify/report.json"]
    write_capture(Path("capture.npz"), spec)
    rows = np.random.default_rng(0).standard_normal((60, observation_dim(spec.manifest)), dtype=np.float32)
    np.save("inputs.npy", rows)
    files = ["--manifest", "manifest.yaml", "--obs-stats", "stats.npz", "--inputs", "inputs.npy"]
    verify = ["verify", "policy.onnx", *files, "--seeds", "0", "--capture", "capture.npz"]
    assert forge(*verify) == 0
    assert "parity with 250 captured steps: equal" in capsys.readouterr().out
    report = json.loads(Path("verify/report.json").read_text())
    assert report["parity"]["equal"]
    assert "250 captured steps" in Path("verify/report.html").read_text()
    assert forge(*pack, "--capture", "capture.npz") == 0
    assert gaitd(["check", "walk.gaitd"]) == 0
    printed = capsys.readouterr().out
    assert "gate: passed" in printed
    assert "proven by a capture of 250 steps" in printed
    Path("manifest.yaml").write_text(yaml.safe_dump(without_pose(spec), sort_keys=False))
    assert forge(*verify) == 3
    assert "parity: joint_position: default pose missing" in capsys.readouterr().out
    (difference,) = json.loads(Path("verify/report.json").read_text())["parity"]["differences"]
    assert difference["kind"] == "default pose missing"
    assert "default pose missing" in refused(3, *pack)


def test_a_manifest_of_format_2_is_refused(forge: Forge, capsys: pytest.CaptureFixture[str]) -> None:
    spec = ROBOTS["quadruped"]()
    manifest = changed(spec, lambda manifest: manifest.update(format=2))
    write_bundle_of(Path("policy.gaitd"), spec, manifest)
    write_capture(Path("capture.npz"), spec)
    assert forge("parity", "policy.gaitd", "capture.npz") == 2
    assert "policy.gaitd: format: 2; gaitforge parity is for format 1" in capsys.readouterr().err
