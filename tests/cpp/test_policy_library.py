"""The C++ policy library computes what gaitd.policy computes."""

from __future__ import annotations

import ctypes
import dataclasses
import zlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gaitd.backends import open_backend
from gaitd.bundle.compiled import compile_policy
from gaitd.bundle.read import Bundle, open_bundle
from gaitd.errors import InputError
from gaitd.policy.admission import AdmissionLimits, StateAdmission
from gaitd.policy.manifest import Part, PositionAction
from gaitd.policy.schema_action import HeldJoints, LowPass
from gaitd.wire.causes import NO_CAUSE, Cause
from gaitd.wire.generated import CauseKind
from gaitd.wire.messages import RobotState
from gaitforge.simulate.direct import Step, run_direct
from gaitforge.simulate.script import CommandScript
from support.bundles import contract, counting_bundle, npz, observation_dim, small_manifest
from support.cmake import run
from support.guide import ROOT, blocks
from support.manifests import position_policies
from support.policy_library import INCLUDE, PolicyLibrary, build, onnxruntime_library
from support.states import random_quaternion, random_state
from support.wheels import m20_manifest

WALK = ROOT / "examples/lite3_walk/lite3_walk.gaitd"
TOLERANCE = 1e-6
"""Absolute, and relative to the value."""


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return build(tmp_path_factory.mktemp("policy_library"))


@pytest.fixture(scope="session")
def walk() -> Bundle:
    return open_bundle(WALK)


class Both:
    """The same policy in both languages, given the same states; each is compared with the other."""

    def __init__(self, library: ctypes.CDLL, bundle: Bundle, runtime: Path | None = None) -> None:
        manifest = bundle.manifest
        self.joints, self._period_ns = len(manifest.joints), manifest.period_ns
        self.cpp = PolicyLibrary(library, compile_policy(bundle), runtime)
        self.pipeline = bundle.pipeline()
        self._admission = StateAdmission(manifest, AdmissionLimits.for_period(manifest.period_ns))
        self._backend = None if runtime is None else open_backend("onnx", bundle)
        self.reset()

    def reset(self) -> None:
        """A new session."""
        self.cpp.reset()
        self.pipeline.reset()
        self._admission.start(1)
        if self._backend is not None:
            self._backend.reset()
        self._seq = 0

    def step(self, state: RobotState, action: np.ndarray | None = None) -> Cause:
        """One control step, with the model's action, or the real model's; why there was no command."""
        self._seq += 1
        now_ns = self._seq * self._period_ns
        state = dataclasses.replace(state, seq=self._seq, stamp_ns=now_ns)
        refused = self._admission.admit(state, now_ns)
        same(self.cpp.take(state, now_ns), refused)
        if refused is not None:
            return refused
        self.pipeline.observe(state)
        raw, normalized = self.cpp.observation(self.pipeline.builder.dim)
        near(raw, self.pipeline.raw_observation())
        near(normalized, self.pipeline.observation())
        answer = self.cpp.answer(action, self.joints, now_ns)
        if self._backend is not None and action is None:
            action = self._backend.infer(self.pipeline.observation()).copy()
        assert action is not None
        decision = self.pipeline.decide(action)
        same(answer.cause, decision.cause)
        if decision.cause is not None:
            return decision.cause
        near(answer.target, decision.target)
        near(answer.action, decision.action)
        assert answer.clamped == decision.clamped
        self.cpp.commit()
        self.pipeline.commit(decision)
        if self._backend is not None:
            self._backend.commit()
        return NO_CAUSE


def near(got: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(got, expected, rtol=TOLERANCE, atol=TOLERANCE)


def same(got: Cause, expected: Cause | None) -> None:
    expected = expected or NO_CAUSE
    assert (got.kind, got.joint) == (expected.kind, expected.joint)
    for mine, theirs in ((got.number, expected.number), (got.bound, expected.bound)):
        theirs = None if theirs is None or np.isnan(theirs) else theirs
        assert mine == (theirs if theirs is None else pytest.approx(theirs, rel=1e-5, abs=1e-6))


def made(manifest: dict[str, Any], rng: np.random.Generator | None = None) -> Bundle:
    """A bundle in memory; with ``rng`` it normalizes."""
    dim = observation_dim(manifest)
    files = {}
    if rng is not None:
        clip = {} if rng.random() < 0.5 else {"clip": 2.0}
        manifest = {**manifest, "normalization": {"std_floor": 0.01, "epsilon": 1e-4, **clip}}
        mean, std = rng.normal(size=dim), rng.random(dim) * 2
        files["obs_stats.npz"] = npz(mean=mean.astype(np.float32), std=std.astype(np.float32))
    policy = contract(manifest)
    actions = np.zeros((2, len(policy.moved_joints)), np.float32)
    files["golden.npz"] = npz(observation=np.zeros((2, dim), np.float32), action=actions)
    return Bundle(Path("policy"), "0" * 64, policy, files)


def standing(rng: np.random.Generator, default: np.ndarray, tilt: float = 0.2) -> RobotState:
    """A state that a robot may be in while it walks."""
    joints = len(default)
    turn = np.array([1.0, *(rng.normal(size=3) * tilt)])
    return random_state(
        rng,
        joints,
        orientation=(turn / np.linalg.norm(turn)).astype(np.float32),
        joint_position=(default + rng.normal(size=joints) * 0.1).astype(np.float32),
        linear_velocity=rng.normal(size=3).astype(np.float32),
    )


@given(position_policies(), st.booleans(), st.integers(0, 2**32))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_policy_with_position_targets(
    library: ctypes.CDLL, manifest: dict[str, Any], normalizes: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    bundle = made(manifest, rng if normalizes else None)
    both = Both(library, bundle)
    default = np.array(manifest["default_joint_position_rad"], np.float32)
    for _ in range(2):  # a second session knows nothing of the first
        both.reset()
        for _ in range(8):
            action = (rng.normal(size=len(bundle.manifest.moved_joints)) * 2).astype(np.float32)
            state = standing(rng, default, 0.2 if rng.random() < 0.8 else 3.0)
            both.step(state, action)
            if rng.random() < 0.3:  # the same answer again
                both.step(standing(rng, default), action)


def test_ten_thousand_random_states_with_the_real_model(library: ctypes.CDLL, walk: Bundle) -> None:
    both = Both(library, walk, onnxruntime_library())
    rng = np.random.default_rng(5)
    default = np.array([0.0, -0.65, 1.3] * 4, np.float32)
    answered = 0
    for index in range(10_000):
        if index % 50 == 0:
            both.reset()
        state = standing(rng, default)
        if index % 10 == 9:  # anywhere a state may be: most of them are refused
            state = dataclasses.replace(state, orientation=random_quaternion(rng))
        answered += both.step(state) is NO_CAUSE
    assert answered > 5000


def test_a_walk_with_the_real_model(library: ctypes.CDLL, walk: Bundle) -> None:
    cpp = PolicyLibrary(library, compile_policy(walk), onnxruntime_library())
    period_ns, joints = walk.manifest.period_ns, len(walk.manifest.joints)
    seen = 0

    def compare(step: Step) -> None:
        nonlocal seen
        seen += 1
        now_ns = seen * period_ns
        assert cpp.take(dataclasses.replace(step.state, stamp_ns=now_ns), now_ns) is NO_CAUSE
        raw, _ = cpp.observation(len(step.observation))
        near(raw, step.observation)
        answer = cpp.answer(None, joints, now_ns)
        assert (answer.cause is NO_CAUSE) == step.accepted
        near(answer.target, step.target)
        near(answer.action, step.applied)
        cpp.commit()

    run = run_direct(
        walk.manifest,
        open_backend("onnx", walk),
        script=CommandScript.constant(1.0, 0.0, 0.3),
        seconds=6.0,
        obs_stats=walk.obs_stats(),
        on_step=compare,
    )
    assert run.falls == 0
    assert seen == run.steps > 400


def test_a_hidden_state_moves_on_with_what_was_applied(library: ctypes.CDLL, tmp_path: Path) -> None:
    """Its golden vectors count the steps from a zeroed state, and so does a session after them."""
    bundle = open_bundle(counting_bundle(tmp_path))
    both = Both(library, bundle, onnxruntime_library())
    rng = np.random.default_rng(0)
    default = np.array([0.0, -0.65, 1.3], np.float32)
    for _ in range(20):
        assert both.step(standing(rng, default)) is NO_CAUSE


@pytest.mark.parametrize(
    ("changes", "key", "has"),
    [
        ({"models": [{"name": "eye", "inputs": {"x": ["observation"]}, "size": 2},
                     {"name": "walk", "inputs": {"x": ["eye"]}}]}, "models", "eye, walk"),
        ({"observation": {"raw_size": 7}}, "observation.raw_size", "7"),
        ({"inputs": [{"name": "height", "min": 0.0, "max": 1.0}]}, "inputs", "height"),
        ({"phases": {"gait": {"period_s": 1.0}}}, "phases", "gait"),
        ({"motion": {"arrays": {"pose": 3}, "at_end": "hold"}}, "motion", "pose"),
    ],
)  # fmt: skip
def test_what_the_library_cannot_do_is_refused_by_name(changes: dict[str, Any], key: str, has: str) -> None:
    manifest = contract(small_manifest(format=2, **changes))
    with pytest.raises(InputError, match=f"policy: {key}: it (has|is) {has}; "):
        compile_policy(Bundle(Path("policy"), "0" * 64, manifest, {}))


def test_a_small_motion_under_one_answer_adds_up(library: ctypes.CDLL) -> None:
    limits = {**small_manifest()["limits"], "repetition": {"max_joint_motion_rad": 0.1}}
    both = Both(library, made(small_manifest(limits=limits)))
    rng, default = np.random.default_rng(0), np.array([0.0, -0.65, 1.3], np.float32)
    causes = []
    for step in range(3):
        moved = (default + np.float32(0.06) * step).astype(np.float32)
        state = dataclasses.replace(standing(rng, default), joint_position=moved)
        causes.append(both.step(state, np.full(3, 0.1, np.float32)).kind)
    assert causes == [CauseKind.NONE, CauseKind.NONE, CauseKind.ACTION_REPEATED]


def test_wheels_are_refused_by_name() -> None:
    manifest = contract(m20_manifest())
    with pytest.raises(InputError, match="policy: continuous_joints: it has "):
        compile_policy(Bundle(Path("policy"), "0" * 64, manifest, {}))


def test_another_target_is_refused_by_name() -> None:
    group = {"joints": ["hip", "thigh", "knee"], "target": "torque", "scale": 1.0}
    limits = {**small_manifest()["limits"], "torque": {"max_nm": 30.0}}
    manifest = contract(small_manifest(format=2, action=[group], limits=limits))
    with pytest.raises(InputError, match=r"policy: action\[0\].target: it is torque; "):
        compile_policy(Bundle(Path("policy"), "0" * 64, manifest, {}))


@pytest.mark.parametrize(
    ("section", "keys"),
    [
        (PositionAction, "scale offset clip target_clip stiffness_nm_per_rad damping_nms_per_rad "
         "allow_zero_stiffness allow_zero_damping joints low_pass"),
        (LowPass, "share"),
        (HeldJoints, "joints stiffness_nm_per_rad damping_nms_per_rad"),
        (Part, "name history"),
    ],
)  # fmt: skip
def test_a_key_that_is_new_in_a_section_of_format_2_is_decided_on(section: type, keys: str) -> None:
    """compile_policy refuses what it does not know, but for keys inside of what it does know: these."""
    assert [field.name for field in msgspec.structs.fields(section)] == keys.split()


def test_a_file_that_is_cut_short_or_changed_is_refused(library: ctypes.CDLL) -> None:
    whole = compile_policy(made(small_manifest(), np.random.default_rng(0)))
    PolicyLibrary(library, whole)
    body = whole[:-4]
    with pytest.raises(InputError, match="no policy written by `gaitctl embed`"):
        PolicyLibrary(library, WALK.read_bytes())
    other_format = whole.replace(b"gaitd policy\x01", b"gaitd policy\x02")
    with pytest.raises(InputError, match="format 2, this library reads 1"):
        PolicyLibrary(library, other_format)
    for size in range(0, len(whole), 7):
        with pytest.raises(InputError):
            PolicyLibrary(library, whole[:size])
    for at in range(20, len(body), 11):
        changed = body[:at] + bytes([body[at] ^ 0x55]) + body[at + 1 :]
        with pytest.raises(InputError, match="damaged: its checksum does not fit"):
            PolicyLibrary(library, changed + whole[-4:])


def test_the_pages_programs_compile(tmp_path: Path) -> None:
    programs = [block.text for block in blocks(ROOT / "docs/embedded.md") if block.language == "cpp"]
    assert len(programs) == 2
    source = tmp_path / "program.cpp"
    for text in programs:
        source.write_text(text)
        flags = [
            "-std=c++17",
            "-fsyntax-only",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-DMSGPACK_NO_BOOST",
            f"-I{INCLUDE}",
        ]
        run("c++", *flags, source)


@given(st.data())
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_changed_file_with_its_checksum_is_read_or_refused(
    library: ctypes.CDLL, data: st.DataObject
) -> None:
    body = bytearray(compile_policy(made(small_manifest()))[:-4])
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        subject = PolicyLibrary(library, bytes(body) + zlib.crc32(body).to_bytes(4, "little"))
    except InputError:
        return
    subject.take(standing(np.random.default_rng(0), np.zeros(3, np.float32)), 1)
