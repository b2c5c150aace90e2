"""The C++ policy library (proto/cpp), called from Python."""

from __future__ import annotations

import ctypes
import importlib.util
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gaitd.bundle.compiled import LIMITS
from gaitd.errors import InputError
from gaitd.wire.causes import NO_CAUSE, Cause
from gaitd.wire.generated import NO_JOINT, STATE_VALUES, CauseKind
from gaitd.wire.messages import RobotState

HERE = Path(__file__).parent
INCLUDE = HERE.parents[1] / "proto" / "cpp" / "include"


def onnxruntime_library() -> Path:
    """The C library that comes with the Python package."""
    found = importlib.util.find_spec("onnxruntime")
    assert found is not None
    assert found.submodule_search_locations is not None
    return next(Path(found.submodule_search_locations[0], "capi").glob("libonnxruntime.so*"))


def build(directory: Path) -> ctypes.CDLL:
    """Compile it there."""
    library = directory / "policy_library.so"
    command = ["c++", "-std=c++17", "-O1", "-shared", "-fPIC", f"-I{INCLUDE}", "-DMSGPACK_NO_BOOST"]
    sources = [str(HERE / "policy_library.cpp"), "-o", str(library), "-ldl"]
    subprocess.run([*command, *sources], check=True)
    loaded = ctypes.CDLL(str(library))
    pointer, size, number, text = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint64, ctypes.c_char_p
    loaded.policy_new.restype = pointer
    loaded.policy_new.argtypes = [text, size, text, ctypes.c_bool, text, size]
    for name in ("free", "reset", "commit"):
        getattr(loaded, f"policy_{name}").argtypes = [pointer]
    loaded.policy_take.argtypes = [pointer, pointer, size, number, number, pointer]
    loaded.policy_observation.argtypes = [pointer, pointer, pointer]
    loaded.policy_answer.argtypes = [pointer, pointer, number, pointer, pointer, pointer, pointer]
    return loaded


@dataclass(frozen=True)
class Answer:
    """What the library made of an action."""

    cause: Cause
    target: np.ndarray
    action: np.ndarray
    clamped: dict[str, int]


class PolicyLibrary:
    """One policy in C++, in a session; joints in the policy's order."""

    def __init__(
        self, library: ctypes.CDLL, compiled: bytes, runtime: Path | None = None, *, npu: bool = False
    ) -> None:
        """``runtime``: onnxruntime's C library, with ``npu`` librknnrt; None: the model's actions are given.

        Raises InputError.
        """
        self._library = library
        error = ctypes.create_string_buffer(1000)
        path = None if runtime is None else str(runtime).encode()
        self._subject = library.policy_new(compiled, len(compiled), path, npu, error, len(error))
        if not self._subject:
            raise InputError(error.value.decode(errors="replace"))

    def __del__(self) -> None:
        if self._subject:
            self._library.policy_free(self._subject)

    def reset(self) -> None:
        self._library.policy_reset(self._subject)

    def take(self, state: RobotState, now_ns: int) -> Cause:
        parts = [getattr(state, name) for name in STATE_VALUES]
        parts = [np.zeros(3, np.float32) if part is None else part for part in parts]
        values, numbers = np.concatenate(parts).astype(np.float32), np.zeros(3, np.float32)
        kind = self._library.policy_take(
            self._subject, values.ctypes.data, len(state.joint_position), state.stamp_ns, now_ns,
            numbers.ctypes.data,
        )  # fmt: skip
        return _cause(kind, numbers)

    def observation(self, dim: int) -> tuple[np.ndarray, np.ndarray]:
        """Before and after normalization."""
        raw, normalized = np.zeros(dim, np.float32), np.zeros(dim, np.float32)
        self._library.policy_observation(self._subject, raw.ctypes.data, normalized.ctypes.data)
        return raw, normalized

    def answer(self, action: np.ndarray | None, joints: int, now_ns: int) -> Answer:
        """``action``: the model's; None: the real model is asked."""
        given = None if action is None else np.ascontiguousarray(action, np.float32)
        target, applied, numbers = (np.zeros(size, np.float32) for size in (joints, joints, 3))
        clamped = np.zeros(len(LIMITS), np.uint64)
        data = None if given is None else given.ctypes.data
        kind = self._library.policy_answer(
            self._subject, data, now_ns,
            *(array.ctypes.data for array in (target, applied, clamped, numbers)),
        )  # fmt: skip
        met = {name: int(count) for name, count in zip(LIMITS, clamped, strict=True) if count}
        return Answer(_cause(kind, numbers), target, applied, met)

    def commit(self) -> None:
        self._library.policy_commit(self._subject)


def _cause(kind: int, numbers: np.ndarray) -> Cause:
    if kind == CauseKind.NONE:
        return NO_CAUSE
    joint, number, bound = numbers.tolist()
    return Cause(
        CauseKind(kind),
        None if joint == NO_JOINT else int(joint),
        None if np.isnan(number) else number,
        None if np.isnan(bound) else bound,
    )
