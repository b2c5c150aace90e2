"""A policy as one file for the C++ policy library (proto/cpp/include/gaitd/policy).

Everything that a manifest says is checked and worked out here: names become indices, defaults become
numbers. So C++ needs no YAML, no NumPy files and no second opinion on what a good bundle is, and both
languages compute from the same numbers.

The file is one msgpack array, in the order of ``compile_policy``, and behind it its CRC-32. Arrays
of numbers are blobs, little-endian: float32, or float64 and uint32 where that is said. Only what
gaitd/policy/read_compiled.hpp reads is in it: the two change together, with ``COMPILED_FORMAT``.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterator, Sequence

import msgpack
import numpy as np
import numpy.typing as npt

from gaitd import __version__
from gaitd.bundle.read import Bundle, fallback_damping
from gaitd.errors import InputError
from gaitd.policy.action import ActionMapper
from gaitd.policy.admission import AdmissionLimits, StateAdmission
from gaitd.policy.bounds import TargetBounds, torque_limit
from gaitd.policy.joints import default_position, order_from
from gaitd.policy.manifest import Action, Manifest, PositionAction, Response
from gaitd.policy.observation import ObservationBuilder, required_fields, symmetric_clip
from gaitd.policy.pipeline import make_normalizer
from gaitd.policy.schema import newest_keys
from gaitd.policy.sources import source_layout
from gaitd.policy.terms import compile_terms
from gaitd.wire.generated import COMPILED_FORMAT, COMPILED_MAGIC

_OF_FORMAT_2 = re.compile(
    r"held_joints|observation\.parts|observation\.terms\[\d+\]\.(joints|part)|model\.npu_memory_kib"
)
"""The keys of format 2, beside a list of action groups, that the library can do."""
LIMITS = ("position", "slew", "torque")
"""Those of a policy with position targets alone."""


def compile_policy(bundle: Bundle) -> bytes:
    """The bundle's policy, with its golden vectors and models.

    Raises InputError naming what of the manifest the library cannot do.
    """
    manifest = bundle.manifest
    for problem in _not_supported(manifest):
        raise InputError(f"{bundle.path}: {problem}")
    body: bytes = msgpack.packb(
        [
            COMPILED_MAGIC,
            COMPILED_FORMAT,
            [__version__, bundle.id, manifest.name, manifest.version],
            manifest.period_ns,
            manifest.joints,
            _gains(manifest),
            _command(manifest),
            required_fields(manifest),
            _observation(manifest),
            _normalization(bundle),
            _action(manifest),
            _limits(manifest),
            _admission(manifest),
            _model(manifest),
            _golden(bundle),
            bundle.files.get("model.onnx", b""),
            bundle.files.get("model.rknn", b""),
        ]
    )
    return body + zlib.crc32(body).to_bytes(4, "little")


def _not_supported(manifest: Manifest) -> Iterator[str]:
    """One line for each key that asks for what the C++ library does not do."""
    only = "the C++ policy library runs one model, of the section `model`"
    if manifest.models:
        yield f"models: it has {', '.join(model.name for model in manifest.models)}; {only}"
    if manifest.observation.raw_size is not None:
        yield (
            f"observation.raw_size: it is {manifest.observation.raw_size}; the C++ policy library makes the "
            "observation itself, from terms"
        )
    for key, names in (
        ("inputs", [each.name for each in manifest.inputs]),
        ("phases", list(manifest.phases)),
        ("motion", [] if manifest.motion is None else list(manifest.motion.arrays)),
    ):
        if names:
            yield f"{key}: it has {', '.join(names)}; the C++ policy library knows no such terms"
    if manifest.continuous_joints:
        yield (
            f"continuous_joints: it has {', '.join(manifest.continuous_joints)}; every joint of the C++ "
            "policy library follows a position"
        )
    named = ("models", "observation.raw_size", "inputs", "phases", "motion", "continuous_joints")
    for key in newest_keys(manifest):
        if key not in named and not _OF_FORMAT_2.fullmatch(key):
            yield f"{key}: the C++ policy library does not know this key"
    groups = [] if isinstance(manifest.action, Action) else manifest.action
    for index, group in enumerate(groups):
        if not isinstance(group, PositionAction):
            kind = group.__struct_config__.tag
            yield f"action[{index}].target: it is {kind}; the C++ policy library does position alone"


def _gains(manifest: Manifest) -> list[bytes]:
    mapper = ActionMapper(manifest)
    return [
        _floats(default_position(manifest)),
        _floats(mapper.stiffness),
        _floats(mapper.damping),
        _floats(fallback_damping(manifest)),
    ]


def _command(manifest: Manifest) -> list[str | bytes]:
    command = manifest.velocity_command
    return [command.unit, _floats(command.min), _floats(command.max)]


def _observation(manifest: Manifest) -> list[object]:
    compiled, builder = compile_terms(manifest), ObservationBuilder(manifest)
    turns = 2.0 * math.pi * manifest.control_period_s / compiled.clock_period_s
    return [
        list(source_layout(len(manifest.joints))),
        _indices(compiled.gather),
        _floats(compiled.offset),
        _floats(compiled.scale),
        _floats(compiled.low),
        _floats(compiled.high),
        _indices(compiled.fill_first),
        _indices(compiled.stack),
        builder.depth,
        _doubles([turns]),
        _floats([symmetric_clip(manifest.observation.clip, "observation.clip")]),
    ]


def _normalization(bundle: Bundle) -> list[bytes]:
    """Blobs without a value where there is none."""
    manifest, stats = bundle.manifest, bundle.obs_stats()
    if manifest.normalization is None or stats is None:
        return [b"", b"", b""]
    builder = ObservationBuilder(manifest)
    normalizer = make_normalizer(manifest, manifest.normalization, stats, builder)
    clip = symmetric_clip(manifest.normalization.clip, "normalization.clip")
    return [_floats(normalizer.mean), _floats(normalizer.divisor), _floats([clip])]


def _action(manifest: Manifest) -> list[bytes]:
    mapper = ActionMapper(manifest)
    return [
        _indices(order_from(manifest.joints, manifest.moved_joints)),
        *map(
            _floats,
            (
                mapper.scale,
                mapper.offset,
                mapper.action_range.low,
                mapper.action_range.high,
                mapper.target_range.low,
                mapper.target_range.high,
                mapper.share,
            ),
        ),
    ]


def _limits(manifest: Manifest) -> list[object]:
    bounds = TargetBounds.of(manifest, ActionMapper(manifest))
    torque, repetition = torque_limit(manifest), manifest.limits.repetition
    responses: list[Response] = [
        "clamp" if (limit := getattr(manifest.limits, name)) is None else limit.response for name in LIMITS
    ]
    return [
        _floats(bounds.low),
        _floats(bounds.high),
        _floats(bounds.slew),
        _floats(np.full(len(manifest.joints), np.inf) if torque is None else torque),
        _floats(bounds.torque.reach),
        _floats(bounds.torque.velocity_share),
        [int(response == "damp") for response in responses],
        _floats([math.inf if repetition is None else repetition.max_joint_motion_rad]),
    ]


def _admission(manifest: Manifest) -> list[object]:
    limits = AdmissionLimits.for_period(manifest.period_ns)
    admission = StateAdmission(manifest, limits)
    return [
        _floats(admission.joints_low),
        _floats(admission.joints_high),
        _floats(admission.start_error),
        _doubles([admission.min_upright]),
        limits.max_age_ns,
    ]


def _model(manifest: Manifest) -> list[object]:
    model = manifest.model
    states = [[state.input, state.output, _indices(state.shape)] for state in model.recurrent]
    budget = math.inf if model.npu_memory_kib is None else model.npu_memory_kib
    return [model.input, model.output, states, _doubles([budget])]


def _golden(bundle: Bundle) -> list[bytes]:
    """Before which of the vectors the hidden state is zeroed, and the vectors."""
    tolerance, (observation, action) = bundle.manifest.golden, bundle.golden()
    trace = bundle.captured_states()
    reset = np.zeros(len(observation), np.bool_) if trace is None else trace.reset.copy()
    reset[0] = True
    return [
        _doubles([tolerance.onnx_tolerance, tolerance.rknn_tolerance]),
        _indices(reset),
        _floats(observation),
        _floats(action),
    ]


def _floats(values: npt.ArrayLike) -> bytes:
    return np.ascontiguousarray(values, "<f4").tobytes()


def _doubles(values: Sequence[float]) -> bytes:
    return np.array(values, "<f8").tobytes()


def _indices(values: npt.ArrayLike) -> bytes:
    return np.ascontiguousarray(values, "<u4").tobytes()
