"""gaitctl replay: recorded steps come out the same, bit for bit, or it says where they do not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaitd.backends import open_backend
from gaitd.bundle.read import Bundle, open_bundle
from gaitd.ctl.cli import main as gaitctl
from gaitd.ctl.replay.compare import Comparison, compare
from gaitd.ctl.replay.run import Replayer
from gaitd.telemetry.recording import Recording, write_recording
from gaitd.wire.codec import encode_state
from gaitd.wire.generated import Reason
from gaitd.worker.step import Frame
from support.bundles import mlp_onnx, mlp_weights, observation_dim, small_manifest, write_small_bundle
from support.tape import PERIOD_NS, Tape, walking

HISTORY = 3


@pytest.fixture(scope="module")
def walked_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A policy with a history, a clock and a slew limit: each step depends on the ones before."""
    manifest = small_manifest()
    manifest["observation"]["history"] = {"length": HISTORY}
    manifest["observation"]["terms"].append({"term": "clock_phase", "period_s": 0.5})
    manifest["limits"]["slew"] = {"max_rad_per_step": 0.05}
    return open_bundle(write_small_bundle(tmp_path_factory.mktemp("walked") / "small.gaitd", manifest))


def replayed(recording: Recording, bundle: Bundle) -> Comparison:
    backend = open_backend("onnx", bundle)
    return compare(recording, Replayer(recording, bundle, backend).run(), bundle.manifest.joints)


def eventful(tape: Tape) -> None:
    """A walk with everything that leaves a trace in what comes after it."""
    tape.walk(20)
    tape.step(data=b"junk")
    tape.seq += 3
    tape.walk(10)
    overtaken = tape.next_state()
    tape.now_ns += PERIOD_NS
    newest = tape.next_state()
    frames = [Frame(encode_state(state), tape.now_ns) for state in (overtaken, newest)]
    tape.answerer.answer(tape.step_of, frames)
    tape.now_ns += PERIOD_NS
    tape.backend.answer = lambda action: np.full_like(action, np.nan)
    tape.step()
    tape.backend.answer = lambda action: action + np.float32(3)
    tape.walk(3)
    tape.backend.answer = None
    kept, tape.guard.lease = tape.guard.lease, 0
    tape.answerer.answer(tape.step_of, [Frame(encode_state(tape.next_state()), tape.now_ns)])  # withheld
    tape.guard.lease = kept
    tape.now_ns += PERIOD_NS
    tape.walk(20)


def test_every_step_comes_out_the_same(walked_bundle: Bundle) -> None:
    with walking(walked_bundle, 5) as tape:
        eventful(tape)
        tape.damp(Reason.OPERATOR)
        tape.walk(5)
        tape.activate()
        tape.walk(15)
        recording = tape.recording()
    found = replayed(recording, walked_bundle)
    told_apart = np.flatnonzero(~found.exact)
    # The steps whose answers the test itself had changed: one rejected, three accepted.
    assert len(told_apart) == 4
    assert found.causes_differ == 1
    assert len(found.exact) == len(recording.records)
    assert (found.unknown_past, found.missing) == (0, 0)
    assert found.observation_difference == 0.0
    assert found.refused == {"malformed": 1}


def test_a_recording_that_begins_in_mid_session_is_known_after_its_history(walked_bundle: Bundle) -> None:
    with walking(walked_bundle, 60) as tape:
        tape.damp(Reason.OPERATOR)
        whole = tape.recording()
    at_ns = int(whole.records["step_ns"][30])
    events = [event for event in whole.events if event.at_ns > at_ns]
    cut = replace(
        whole,
        records=whole.records[whole.records["step_ns"] >= at_ns],
        frames=whole.frames[whole.frames["step_ns"] >= at_ns],
        events=events,
    )
    found = replayed(cut, walked_bundle)
    assert found.unknown_past == 1 + HISTORY
    assert len(found.exact) == 30 - 1 - HISTORY
    assert found.exact.all()


@pytest.mark.parametrize(
    ("phase", "known"),
    [
        ({"period_s": 0.7}, True),
        ({"period_s": 0.7, "gate": {"below": 0.1, "values": "zero"}}, True),
        ({"period_s": 0.7, "gate": {"below": 0.1, "clock": "freezes"}}, False),
        ({"period_s": 0.7, "gate": {"below": 0.1, "clock": "restarts"}}, False),
    ],
)
def test_a_phase_is_known_in_mid_session_unless_a_gate_may_have_held_it(
    tmp_path: Path, phase: dict[str, Any], known: bool
) -> None:
    manifest = small_manifest(format=2, phases={"trot": phase})
    manifest["observation"]["terms"].append({"term": "phase", "name": "trot"})
    bundle = open_bundle(write_small_bundle(tmp_path / "phase.gaitd", manifest))
    with Tape(bundle, records=100) as tape:
        tape.activate()
        tape.walk(400)
        recording = tape.recording("request")
    if known:
        found = replayed(recording, bundle)
        assert len(found.exact) > 90
        assert found.exact.all()
        return
    backend = open_backend("onnx", bundle)
    result = Replayer(recording, bundle, backend).run()
    assert (result.indices, result.unknown_past) == ([], 100)


def test_a_session_longer_than_the_memory_is_replayed(walked_bundle: Bundle) -> None:
    """The events outlive the messages: where the session began is known, what it began with is not."""
    with Tape(walked_bundle, records=100) as tape:
        tape.activate()
        tape.walk(400)
        recording = tape.recording("request")
    assert len(recording.records) == 100
    found = replayed(recording, walked_bundle)
    assert (found.unknown_past, found.missing, found.refused) == (1 + HISTORY, 0, {})
    assert len(found.exact) == 100 - 1 - HISTORY
    assert found.exact.all()


def test_a_damaged_file_is_replayed_around_its_hole_and_says_so(
    walked_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with walking(walked_bundle, 900) as tape:
        path = tape.save(tmp_path / "r.mcap", "request")
    data = bytearray(path.read_bytes())
    command = ["replay", str(path), "--bundle", str(walked_bundle.path)]
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert gaitctl(command) == 0
    text = capsys.readouterr().out
    assert "1 damaged parts of it are left out" in text
    assert f"{1 + HISTORY} left out" in text
    assert "all of them are the same, bit for bit" in text
    path.write_bytes(data[: len(data) // 3])
    assert gaitctl(command) == 0
    assert "its end is missing" in capsys.readouterr().out


def test_a_difference_is_named_with_its_step_and_joint(
    walked_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with walking(walked_bundle, 40) as tape:
        path = tape.save(tmp_path / "r.mcap", "request")
        command = ["replay", str(path), "--bundle", str(walked_bundle.path)]
        assert gaitctl(command) == 0
        assert "all of them are the same, bit for bit" in capsys.readouterr().out
        step = tape.recording().records[25]
        tape.backend.answer = lambda action: action + np.array([0, 0, 0.125], np.float32)
        tape.step()
        path = tape.save(tmp_path / "r.mcap", "request")
    assert gaitctl(command) == 3
    text = capsys.readouterr().out
    assert "40 are the same, bit for bit" in text
    assert "step 41" in text
    assert "joint knee" in text
    assert gaitctl([*command, "--json"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert (found["steps"], found["exact"]) == (41, 40)
    assert found["first_difference"]["seq"] == 41
    assert found["joints"]["knee"]["action_max"] == pytest.approx(0.125)
    assert found["joints"]["hip"]["action_max"] == 0.0
    assert int(step["seq"]) == 26


def test_another_policy_with_another_order_of_joints_is_compared_by_name(
    walked_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = small_manifest(version="2.0.0", joints=["knee", "hip", "thigh"])
    other["default_joint_position_rad"] = [1.3, 0.0, -0.65]
    other["limits"]["position"] = {"min_rad": [0.3, -0.6, -3.5], "max_rad": [2.8, 0.6, 0.4]}
    model = mlp_onnx(mlp_weights(observation_dim(other), 3, seed=9))
    bundle = write_small_bundle(tmp_path / "other.gaitd", other, model=model)
    with walking(walked_bundle, 40) as tape:
        path = tape.save(tmp_path / "r.mcap", "request")
    drawing = tmp_path / "targets.svg"
    assert gaitctl(["replay", str(path), "--bundle", str(bundle), "--svg", str(drawing)]) == 0
    text = capsys.readouterr().out
    assert "40 steps computed again with small 2.0.0" in text
    assert "above 0.01 rad: step 1," in text
    drawn = drawing.read_text()
    assert drawn.count("<polyline") == 6
    assert drawn.count('stroke-dasharray="5 4"') == 3, "the recorded one is seen below the other"
    assert "recorded</tspan>" in drawn
    found = replayed(tape.recording("request"), open_bundle(bundle))
    np.testing.assert_allclose(found.computed[:, 2], 1.3, atol=0.8)  # the knee is the knee


def test_what_cannot_be_replayed_is_refused_in_one_line(
    walked_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with walking(walked_bundle, 10) as tape:
        path = tape.save(tmp_path / "r.mcap", "request")
        empty = replace(tape.recording("request"), records=tape.recording().records[:0])
    assert gaitctl(["replay", str(path)]) == 2
    assert "name its bundle with --bundle" in capsys.readouterr().err
    other = write_small_bundle(tmp_path / "o.gaitd", small_manifest(joints=["a", "thigh", "knee"],
        fallback_damping_nms_per_rad=2.5))  # fmt: skip
    assert gaitctl(["replay", str(path), "--bundle", str(other)]) == 2
    assert "its joints are a thigh knee, those of the recording hip thigh knee" in capsys.readouterr().err
    with path.open("wb") as stream:
        write_recording(stream, empty)
    assert gaitctl(["replay", str(path), "--bundle", str(walked_bundle.path)]) == 2
    assert "no step can be computed again" in capsys.readouterr().err
