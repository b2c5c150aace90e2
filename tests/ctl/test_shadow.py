"""gaitctl shadow judges a candidate by the steps of the policy that walks, whatever of them is missing."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import onnxruntime
import pytest

from gaitd.backends import open_backend
from gaitd.bundle.read import Bundle, open_bundle
from gaitd.ctl.cli import main as gaitctl
from gaitd.ctl.replay.session import Replayable
from gaitd.ctl.shadow.bounds import report_bound
from gaitd.ctl.shadow.follow import MemoryFollower
from gaitd.ctl.shadow.reporting import Pair, in_words, one_line, report_of
from gaitd.ctl.shadow.tally import Spread, Tally
from gaitd.ctl.shadow.terms import TermComparison
from gaitd.ctl.shadow.verdict import HALF, Judgement, default_bound, judge
from gaitd.errors import BackendError
from gaitd.policy.admission import AdmissionLimits
from gaitd.shared.memory import read_only
from gaitd.shared.processes import POLICY_SLOTS, STANDBY_SLOT, WORKER_SLOT
from gaitd.shared.shadow import QUANTILES, ShadowReport
from gaitd.shared.worker_memory import WorkerMemory
from gaitd.telemetry.recording import write_recording
from gaitd.wire.codec import encode_state
from gaitd.wire.generated import Reason
from gaitd.worker.step import Frame
from support.bundles import npz, observation_dim, recurrent_onnx, small_manifest, write_small_bundle
from support.shadows import another_policy, exported_again, move, one_scale_off
from support.tape import PERIOD_NS, Tape

STEPS = 400


@contextmanager
def walk(bundle: Bundle, steps: int = STEPS, **options: Any) -> Iterator[Tape]:
    with Tape(bundle, **options) as tape:
        tape.activate()
        move(tape, steps)
        yield tape


@pytest.fixture(scope="module")
def recording(small_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A walk of the small policy."""
    with walk(small_bundle) as tape:
        return tape.save(tmp_path_factory.mktemp("walk") / "walk.mcap", "request")


def judged(recording: Path, candidate: Path, tmp_path: Path, *options: str) -> tuple[int, ShadowReport]:
    """Exit code and report."""
    output = tmp_path / "report.json"
    command = ["shadow", "--recording", str(recording), str(candidate), "--output", str(output), *options]
    code = gaitctl(command)
    return code, msgspec.json.decode(output.read_bytes(), type=ShadowReport)


# ---- over a recording ----


def test_the_same_policy_exported_again_is_equivalent(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, report = judged(recording, exported_again(tmp_path / "again.gaitd"), tmp_path)
    assert (code, report.verdict) == (0, "equivalent")
    assert (report.compared, report.missed, report.left_out) == (STEPS, 0, 0)
    assert max(report.joints["knee"]) < 1e-5
    text = capsys.readouterr().out
    assert "small 1.0.1" in text
    assert "EQUIVALENT" in text


@pytest.mark.parametrize(
    "term",
    [
        pytest.param(index, id=term["term"])
        for index, term in enumerate(small_manifest()["observation"]["terms"])
    ],
)
def test_one_scale_a_tenth_off_is_different_and_the_term_is_named(
    recording: Path, tmp_path: Path, term: int, capsys: pytest.CaptureFixture[str]
) -> None:
    code, report = judged(recording, one_scale_off(tmp_path / "off.gaitd", term), tmp_path)
    assert (code, report.verdict) == (3, "different")
    name = small_manifest()["observation"]["terms"][term]["term"]
    assert (
        report.term == f"observation.terms[{term}] ({name}) is 1.1 times what the policy that walks observes"
    )
    assert report.term in capsys.readouterr().out


def test_what_the_two_showed_in_simulation_is_the_bound(
    small_bundle: Bundle, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two policies that differ are compared over one walk; on another the verdict is whether that is all."""
    candidate = another_policy(tmp_path / "other.gaitd", nudge=0.03)
    code, simulated = judged(recording, candidate, tmp_path)
    assert (code, simulated.verdict) == (3, "different"), "by the bound for equal policies"
    kept = tmp_path / "simulated.json"
    (tmp_path / "report.json").rename(kept)
    with walk(small_bundle, 0) as tape:
        move(tape, 300, after=1000)
        elsewhere = tape.save(tmp_path / "elsewhere.mcap", "request")
    code, report = judged(elsewhere, candidate, tmp_path, "--simulated", str(kept))
    assert (code, report.verdict) == (0, "as simulated")
    assert "400 steps in simulation (simulated.json)" in report.against
    less = msgspec.structs.replace(
        simulated,
        mean_rad={joint: value / 4 for joint, value in simulated.mean_rad.items()},
        joints={joint: [value / 4 for value in values] for joint, values in simulated.joints.items()},
    )
    kept.write_bytes(msgspec.json.encode(less))
    code, report = judged(elsewhere, candidate, tmp_path, "--simulated", str(kept))
    assert (code, report.verdict) == (3, "different")
    again = exported_again(tmp_path / "again.gaitd")
    capsys.readouterr()
    command = ["shadow", "--recording", str(elsewhere), str(again), "--simulated", str(kept)]
    assert gaitctl(command) == 2
    assert "make one of these two" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"{}", b"not JSON", b'{"verdict": "equivalent"}', b'{"policy": "\xff"}'])
def test_a_file_that_is_no_comparison_is_refused(
    recording: Path, tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "simulated.json"
    file.write_bytes(content)
    command = ["shadow", "--recording", str(recording), str(exported_again(tmp_path / "a.gaitd"))]
    assert gaitctl([*command, "--simulated", str(file)]) == 2
    assert "not what gaitctl shadow --output" in capsys.readouterr().err


def test_its_own_limits_are_told(recording: Path, tmp_path: Path) -> None:
    manifest = small_manifest()
    manifest["limits"]["slew"] = {"max_rad_per_step": 0.002}
    code, report = judged(recording, exported_again(tmp_path / "slow.gaitd", manifest), tmp_path)
    assert (code, report.verdict) == (3, "different")
    assert report.clamped["slew"] > STEPS
    manifest["limits"]["slew"]["response"] = "damp"
    code, report = judged(recording, exported_again(tmp_path / "strict.gaitd", manifest), tmp_path)
    assert report.refused["slew_limit"] == report.one_only > STEPS // 2
    assert "only one of the two has a target; the candidate refuses: slew_limit" in report.why


def test_a_few_steps_tell_nothing(small_bundle: Bundle, tmp_path: Path) -> None:
    with walk(small_bundle, 50) as tape:
        path = tape.save(tmp_path / "short.mcap", "request")
    code, report = judged(path, exported_again(tmp_path / "again.gaitd"), tmp_path)
    assert (code, report.verdict) == (3, "too few")


def test_another_robot_or_period_is_refused(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for changes in ({"robot": "biped"}, {"control_period_s": 0.02}):
        bundle = write_small_bundle(tmp_path / "other.gaitd", small_manifest(**changes))
        assert gaitctl(["shadow", "--recording", str(recording), str(bundle)]) == 2
        assert "small is for 'tripod' with 0.012 s" in capsys.readouterr().err


def test_json_is_the_report_alone(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    candidate = exported_again(tmp_path / "again.gaitd")
    assert gaitctl(["shadow", "--recording", str(recording), str(candidate), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "equivalent"


def test_where_the_report_goes_is_tried_before_the_comparison(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = str(tmp_path / "missing")
    assert gaitctl(["shadow", "--recording", missing, missing, "--output", str(tmp_path)]) == 2
    assert f"{tmp_path}: cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--stop", "c.gaitd"], "--stop ends the shadow that runs, whichever it is: leave out c.gaitd"),
        (["--stop", "--output", "o.json"], "leave out --output"),
        (["--output", "o.json"], "--output: name the candidate's bundle, too"),
        (["--simulated", "s.json"], "--simulated: name the candidate's bundle, too"),
        (["--recording", "r.mcap"], "--recording: name the candidate's bundle, too"),
        (["--recording", "r.mcap", "c.gaitd", "--seconds", "3"], "leave it out with --recording"),
    ],
)
def test_what_would_be_ignored_is_refused(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gaitctl(["--runtime-dir", str(tmp_path), "shadow", *options]) == 2
    assert said in capsys.readouterr().err


def test_without_a_gaitd_there_is_nothing_to_follow(
    small_bundle_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for options in ([], ["--stop"]):
        assert gaitctl(["--runtime-dir", str(tmp_path), "shadow", *options]) == 5
        assert "is gaitd running" in capsys.readouterr().err


# ---- the bound of the bundle's own report ----


def test_the_report_of_the_bundle_is_the_bound_between_npu_and_cpu() -> None:
    error = {"mean": 0.004, "bias": 0.0, "max": 0.05}
    text = json.dumps({"joints": {"int8": {"error_rad": {"hip": error}}}}).encode()

    def bundle(model: str, made: str = "rknn-toolkit2 for rk3588, int8 (kl), opt-level 3") -> Any:
        manifest = SimpleNamespace(files={"model.onnx": model}, provenance={"rknn": made})
        return SimpleNamespace(manifest=manifest, has=lambda name: True, read_bytes=lambda name: text)

    candidate, walking = bundle("a"), bundle("a").manifest
    bound = report_bound(candidate, walking, "rknn")
    assert "int8 against float" in bound.source
    assert bound.of("hip").mean == pytest.approx(0.006)
    assert bound.of("knee") == HALF
    assert report_bound(candidate, walking, "onnx") == default_bound("onnx")
    assert report_bound(bundle("b"), walking, "rknn") == default_bound("rknn")
    assert report_bound(
        candidate, bundle("a", "rknn-toolkit2 for rk3588, float16, opt-level 3").manifest, "rknn"
    ) == default_bound("rknn")
    text = b'{"rounds": []}'
    assert report_bound(candidate, walking, "rknn") == default_bound("rknn")


def test_quantiles_are_right_to_a_bin() -> None:
    values = np.abs(np.random.default_rng(0).normal(size=(5000, 2))) * [1e-4, 0.3]
    values[:7] = 0.0
    spread = Spread(2)
    for row in values:
        spread.add(row)
    exact = np.quantile(values, QUANTILES, axis=0).T
    np.testing.assert_allclose(spread.quantiles, exact, rtol=0.03)
    np.testing.assert_allclose(spread.mean, values.mean(axis=0))
    assert Spread(1).quantiles.tolist() == [[0.0] * len(QUANTILES)]


# ---- beside the walk ----


@dataclass
class Beside:
    """A candidate that follows a tape's memory, as another process maps it."""

    tape: Tape
    backend: Any
    follower: MemoryFollower
    tally: Tally

    @classmethod
    def of(cls, tape: Tape, path: Path, change: Any = None) -> Beside:
        bundle = open_bundle(path)
        backend = open_backend("onnx", bundle)
        if change is not None:
            backend = change(backend)
        joints = tape.joints
        policy, tally = Replayable(bundle, backend, joints, "small"), Tally(joints)
        terms = TermComparison(bundle.manifest, tape.bundle.manifest)
        memory = WorkerMemory(read_only(tape.memory.fd), writable=False)
        limits = AdmissionLimits.for_period(PERIOD_NS)
        return cls(tape, backend, MemoryFollower(policy, tape.guard, [memory], limits, tally, terms), tally)

    def follow(self, steps: int, at_once: int = 3) -> None:
        for begun in range(0, steps, at_once):
            move(self.tape, min(at_once, steps - begun))
            self.follower.look()

    @property
    def verdict(self) -> str:
        return self.judge(PERIOD_NS / 1e9).verdict

    def judge(self, period_s: float) -> Judgement:
        return judge(self.tally, replace(default_bound("onnx"), period_s=period_s))


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small policy, exported again, with a memory of three states."""
    manifest = small_manifest()
    manifest["observation"]["history"] = {"length": 3}
    return exported_again(tmp_path_factory.mktemp("again") / "again.gaitd", manifest)


@pytest.fixture(scope="module")
def remembering(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """What walks then."""
    manifest = small_manifest()
    manifest["observation"]["history"] = {"length": 3}
    return open_bundle(write_small_bundle(tmp_path_factory.mktemp("walks") / "walks.gaitd", manifest))


def counts(tally: Tally) -> tuple[int, int, int]:
    return tally.compared, tally.missed, tally.left_out


def test_a_session_is_followed_from_its_beginning(remembering: Bundle, again: Path) -> None:
    with Tape(remembering) as tape:
        beside = Beside.of(tape, again)
        tape.activate()
        beside.follow(300)
        assert counts(beside.tally) == (300, 0, 0)
        assert beside.verdict == "equivalent"
        tape.damp(Reason.OPERATOR)
        beside.follow(20)
        tape.activate()
        beside.follow(100)
    assert counts(beside.tally) == (400, 0, 0)
    assert beside.tally.differences.quantiles[:, -1].max() < 1e-5


def test_one_that_is_joined_is_compared_when_all_is_known(remembering: Bundle, again: Path) -> None:
    with walk(remembering, 50) as tape:
        beside = Beside.of(tape, again)
        beside.follow(100)
    # The first one tells where it goes on, and three more fill the history.
    assert counts(beside.tally) == (96, 0, 4)
    assert beside.tally.differences.quantiles[:, -1].max() < 1e-5


def test_what_another_policy_does_meanwhile_is_of_no_account(
    remembering: Bundle, again: Path, tmp_path: Path
) -> None:
    """A change in mid-walk and back; the steps of the policy in slot 2 are not held against the candidate."""
    with Tape(remembering) as tape:
        beside = Beside.of(tape, again)
        tape.activate()
        beside.follow(100)
        tape.go_on_with(POLICY_SLOTS[1])
        tape.backend.answer = lambda action: 1.5 * action
        beside.follow(60)
        assert counts(beside.tally) == (100, 0, 0)
        assert beside.tally.another_policy == 60
        tape.go_on_with(WORKER_SLOT, blend_steps=10)
        beside.follow(11)  # targets are on their way from those of the other one
        tape.backend.answer = None
        beside.follow(189)
        recording = tape.save(tmp_path / "walk.mcap", "request")
        tape.go_on_with(STANDBY_SLOT)
        beside.follow(50)
    # The first one tells where it goes on. The standby runs the same policy.
    assert counts(beside.tally) == (339, 0, 11)
    assert beside.verdict == "equivalent"
    code, over_recording = judged(recording, again, tmp_path)
    assert (code, over_recording.verdict) == (0, "equivalent")
    assert (over_recording.another_policy, over_recording.left_out, over_recording.missed) == (60, 11, 0)
    pair = Pair(open_bundle(again), "small", "abc", default_bound("onnx"))
    terms = TermComparison(pair.candidate.manifest, remembering.manifest)
    report = report_of(pair, beside.tally, terms)
    assert "60 more left out, in which another policy than small walked" in in_words(report, 0.012)
    assert "339 steps compared, 60 of another policy" in one_line(report)


def test_a_change_and_back_before_it_looks_leaves_a_hole_in_what_it_knows(
    remembering: Bundle, again: Path
) -> None:
    with Tape(remembering) as tape:
        beside = Beside.of(tape, again)
        tape.activate()
        beside.follow(100)
        tape.go_on_with(POLICY_SLOTS[1])
        tape.backend.answer = lambda action: 1.5 * action
        move(tape, 60)
        tape.go_on_with(WORKER_SLOT)
        tape.backend.answer = None
        beside.follow(200)
    assert counts(beside.tally) == (296, 0, 64)
    assert beside.tally.differences.quantiles[:, -1].max() < 1e-5


def test_states_of_which_none_came_or_several_at_once(remembering: Bundle, again: Path) -> None:
    with Tape(remembering) as tape:
        beside = Beside.of(tape, again)
        tape.activate()
        beside.follow(50)
        tape.step(data=b"junk")
        tape.seq += 2
        tape.step(stamp_ns=tape.now_ns - 10**9)  # too old: refused
        beside.follow(50)
    assert counts(beside.tally) == (100, 0, 0)
    assert beside.tally.differences.quantiles[:, -1].max() < 1e-5


@pytest.mark.parametrize("most", [3.99, 0.1], ids=["some", "nearly all"])
def test_states_that_only_its_own_limits_refuse_are_no_target_of_its(
    small_bundle: Bundle, tmp_path: Path, most: float
) -> None:
    """Beside the walk and over its recording the same is said, and what follows them differs no more."""
    manifest = small_manifest()
    manifest["limits"]["state"]["max_velocity_rad_per_s"] = most
    strict = exported_again(tmp_path / "strict.gaitd", manifest)
    with Tape(small_bundle) as tape:
        beside = Beside.of(tape, strict)
        tape.activate()
        beside.follow(STEPS)
        recording = tape.save(tmp_path / "walk.mcap", "request")
    refused = beside.tally.one_only
    assert refused > 30
    assert dict(beside.tally.refused) == {"velocity_out_of_range": refused}
    assert counts(beside.tally) == (STEPS - refused, 0, 0)
    assert beside.judge(1.0) == (
        "different",
        f"in {refused} of {STEPS} steps only one of the two has a target; the candidate refuses: "
        f"velocity_out_of_range {refused}",
    )
    code, report = judged(recording, strict, tmp_path)
    assert (code, report.verdict, report.why) == (3, *beside.judge(1.0))
    assert (report.compared, report.missed, report.left_out) == (STEPS - refused, 0, 0)
    assert max(report.joints["knee"]) < 1e-5


def test_one_state_in_a_thousand_may_be_at_the_edge_of_a_limit(
    remembering: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = small_manifest()
    manifest["observation"]["history"] = {"length": 3}
    manifest["limits"]["state"]["max_velocity_rad_per_s"] = 20.0
    strict = exported_again(tmp_path / "strict.gaitd", manifest)
    with Tape(remembering) as tape:
        beside = Beside.of(tape, strict)
        tape.activate()
        beside.follow(500)
        tape.step(joint_velocity=np.array([0, 40, 0], np.float32))
        beside.follow(20)
        assert beside.verdict == "different"
        beside.follow(500)
        recording = tape.save(tmp_path / "walk.mcap", "request")
    assert (beside.tally.one_only, dict(beside.tally.refused)) == (1, {"velocity_out_of_range": 1})
    assert counts(beside.tally) == (1020, 0, 0)
    assert beside.verdict == "equivalent"
    # The state is not in its history either: three targets differ by that.
    assert beside.tally.differences.quantiles[:, QUANTILES.index(0.99)].max() < 1e-5
    assert gaitctl(["replay", str(recording), "--bundle", str(strict)]) == 0
    said = capsys.readouterr().out
    assert "1 have no answer now; refused: velocity_out_of_range 1" in said
    assert "0 without their message" in said


def test_what_any_policy_refuses_is_not_told_as_the_candidates(small_bundle: Bundle, tmp_path: Path) -> None:
    again = exported_again(tmp_path / "again.gaitd")
    with Tape(small_bundle) as tape:
        beside = Beside.of(tape, again)
        tape.activate()
        beside.follow(150)
        foreign = Frame(encode_state(tape.next_state(session=7, seq=1)), tape.now_ns)
        own = Frame(encode_state(tape.next_state(seq=tape.seq)), tape.now_ns)
        tape.answerer.answer(tape.step_of, [foreign, own])
        tape.now_ns += PERIOD_NS
        beside.follow(150)
        recording = tape.save(tmp_path / "walk.mcap", "request")
    assert (counts(beside.tally), dict(beside.tally.refused)) == ((301, 0, 0), {})
    _, report = judged(recording, again, tmp_path)
    assert (report.compared, report.refused) == (301, {})


def test_a_recurrent_candidate_waits_for_a_session_that_it_sees_begin(tmp_path: Path) -> None:
    manifest = small_manifest()
    dim, hidden = observation_dim(manifest), 8
    names = {"input": "hidden_in", "output": "hidden_out", "shape": [1, hidden]}
    manifest["model"] = {"recurrent": [names]}
    model = recurrent_onnx(dim, 3, hidden)
    golden = npz(**recurrent_golden(model, dim, hidden))
    path = write_small_bundle(tmp_path / "recurrent.gaitd", manifest, model=model, golden=golden)
    with walk(open_bundle(path), 20) as tape:
        beside = Beside.of(tape, path)
        beside.follow(30)
        assert counts(beside.tally) == (0, 0, 30)
        tape.damp(Reason.OPERATOR)
        tape.activate()
        beside.follow(200)
    assert counts(beside.tally) == (200, 0, 30)
    assert beside.tally.differences.quantiles[:, -1].max() == 0.0


def recurrent_golden(model: bytes, dim: int, hidden: int) -> dict[str, np.ndarray]:
    """What it answers from a reset on."""
    session = onnxruntime.InferenceSession(model)
    state = np.zeros((1, hidden), np.float32)
    observations = np.random.default_rng(1).normal(size=(8, dim)).astype(np.float32)
    actions = []
    for observation in observations:
        action, state = session.run(["action", "hidden_out"], {"obs": observation[None], "hidden_in": state})
        actions.append(action[0])
    return {"observation": observations, "action": np.array(actions)}


def test_what_was_overwritten_is_missed_and_it_goes_on(remembering: Bundle, again: Path) -> None:
    with Tape(remembering, records=32) as tape:
        beside = Beside.of(tape, again)
        tape.activate()
        beside.follow(30)
        move(tape, 100)
        beside.follower.look()
        beside.follow(30)
    compared, missed, left_out = counts(beside.tally)
    assert compared + missed + left_out == 160
    assert missed >= 100 - 32
    assert compared >= 30 + 30 - 4
    assert beside.tally.differences.quantiles[:, -1].max() < 1e-5


def test_too_far_behind_it_goes_on_with_what_is_new(remembering: Bundle, again: Path) -> None:
    with Tape(remembering) as tape:
        beside = Beside.of(tape, again)
        tape.activate()
        move(tape, 400)  # nearly 5 s
        beside.follower.look()
        assert counts(beside.tally) == (0, 400, 0)
        beside.follow(220)
    assert counts(beside.tally) == (216, 400, 4)
    assert beside.judge(1.0).verdict == "inconclusive"
    assert "400 of 616 steps missed, although 99 of 100 steps compute for" in beside.judge(1.0).why


class _Changed:
    def __init__(self, real: Any) -> None:
        self.real, self.calls = real, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


class Waiting(_Changed):
    """It sleeps for 3 ms in each inference, as one that is not given the CPU."""

    def infer(self, observation: np.ndarray) -> np.ndarray:
        time.sleep(0.003)
        answer: np.ndarray = self.real.infer(observation)
        return answer


class Computing(_Changed):
    """It computes for 3 ms in each inference."""

    def infer(self, observation: np.ndarray) -> np.ndarray:
        until_s = time.thread_time() + 0.003
        while time.thread_time() < until_s:
            pass
        answer: np.ndarray = self.real.infer(observation)
        return answer


@pytest.mark.parametrize(("change", "verdict"), [(Waiting, "equivalent"), (Computing, "too slow")])
def test_one_that_computes_for_longer_than_the_period_is_too_slow_and_one_that_waits_is_not(
    small_bundle: Bundle, tmp_path: Path, change: Any, verdict: str
) -> None:
    with Tape(small_bundle) as tape:
        beside = Beside.of(tape, exported_again(tmp_path / "again.gaitd"), change)
        tape.activate()
        beside.follow(220)
    assert counts(beside.tally) == (220, 0, 0)
    found = beside.judge(period_s=0.0029)
    assert found.verdict == verdict, found
    if verdict == "too slow":
        assert "the control period is 2.9 ms; 0 of 220 steps missed" in found.why
    assert beside.judge(period_s=math.inf).verdict == "equivalent", "a recording has no hurry"


def test_what_was_applied_is_its_last_action_not_what_it_asked_for(
    small_bundle: Bundle, tmp_path: Path
) -> None:
    """Each step is judged alone: one that differs makes the next ones differ no further."""
    with Tape(small_bundle) as tape:
        beside = Beside.of(tape, exported_again(tmp_path / "again.gaitd"))
        tape.activate()
        beside.follow(100)
        tape.backend.answer = lambda action: action + np.float32(0.5)
        beside.follow(1)
        tape.backend.answer = None
        beside.follow(99)
    differences = beside.tally.differences
    assert differences.quantiles[:, QUANTILES.index(0.99)].max() < 1e-5
    assert differences.quantiles[:, -1] == pytest.approx(0.125, rel=1e-4)


class Spoiled(_Changed):
    """Its tenth answer is not finite."""

    def infer(self, observation: np.ndarray) -> np.ndarray:
        self.calls += 1
        action = self.real.infer(observation)
        return np.full_like(action, np.nan) if self.calls == 10 else action


class Failing(_Changed):
    """Its tenth inference fails."""

    def infer(self, observation: np.ndarray) -> np.ndarray:
        self.calls += 1
        if self.calls == 10:
            raise BackendError("out of everything")
        answer: np.ndarray = self.real.infer(observation)
        return answer


@pytest.mark.parametrize(("change", "expected"), [(Spoiled, (1, 0)), (Failing, (0, 1))])
def test_one_answer_that_is_none_is_faulty(
    small_bundle: Bundle, tmp_path: Path, change: Any, expected: tuple[int, int]
) -> None:
    with Tape(small_bundle) as tape:
        beside = Beside.of(tape, exported_again(tmp_path / "again.gaitd"), change)
        tape.activate()
        beside.follow(300)
    assert (beside.tally.not_finite, beside.tally.errors) == expected
    assert beside.tally.compared == 299
    assert beside.verdict == "faulty"


def test_it_can_write_nothing_of_what_it_reads(small_bundle: Bundle, tmp_path: Path) -> None:
    with walk(small_bundle, 3) as tape:
        memory = WorkerMemory(read_only(tape.memory.fd), writable=False)
        with pytest.raises((TypeError, ValueError)):
            memory.words["steps"] = 0
        with pytest.raises(PermissionError):
            WorkerMemory(read_only(tape.memory.fd), writable=True)


def test_the_shadow_is_in_a_recording(small_bundle: Bundle, recording: Path, tmp_path: Path) -> None:
    from gaitd.telemetry.recording import ShadowSample, read_recording

    _, report = judged(recording, exported_again(tmp_path / "again.gaitd"), tmp_path)
    told = ShadowSample.of(PERIOD_NS, report)
    with walk(small_bundle, 3) as tape:
        whole = replace(tape.recording("request"), shadow=[told])
    path = tmp_path / "with.mcap"
    with path.open("wb") as stream:
        write_recording(stream, whole)
    assert read_recording(path).shadow == [told]
    assert told.text.startswith("equivalent: joint ")
    assert told.values["compared"] == str(STEPS)
    assert float(told.values["difference_knee_0.99"]) < 1e-5
