"""A bundle in words, for people."""

from __future__ import annotations

import msgspec

from gaitd.bundle.read import Bundle, fallback_damping
from gaitd.errors import printable
from gaitd.policy.bounds import position_range
from gaitd.policy.joints import default_position
from gaitd.policy.limits import LIMIT_NAMES
from gaitd.policy.manifest import Float32Array, Term
from gaitd.policy.observation import required_fields


def describe_bundle(bundle: Bundle) -> str:
    """What a bundle holds, several lines."""
    manifest = bundle.manifest
    pipeline = bundle.pipeline()
    observation, history = manifest.observation, manifest.observation.history
    budget = manifest.npu_memory_kib
    rows = [
        ("policy", f"{manifest.name} {manifest.version} ({manifest.description or 'no description'})"),
        ("id", bundle.policy_id),
        ("robot", manifest.robot),
        ("period", f"{manifest.control_period_s * 1000:g} ms"),
        (
            "observation",
            f"{pipeline.builder.dim} values: {', '.join(_term(term) for term in observation.terms)}",
        ),
        ("history", f"{history.length} frame(s), {history.layout}, {history.order}"),
        ("normalized", "by obs_stats.npz" if manifest.normalization else "no"),
        ("state fields", ", ".join(required_fields(manifest))),
        (
            "command",
            f"{manifest.velocity_command.unit}, {list(manifest.velocity_command.min)} to "
            f"{list(manifest.velocity_command.max)}",
        ),
        ("limits", ", ".join(_limits(bundle))),
        ("damping", f"in DAMPING {_range(fallback_damping(manifest))} Nm s/rad"),
        ("golden", f"{len(bundle.golden()[0])} recorded vectors"),
        ("terms", terms_verdict(bundle)),
        ("files", ", ".join(f"{name} ({len(data)} B)" for name, data in sorted(bundle.files.items()))),
        *([("NPU memory", f"{budget:g} KiB at most")] if budget is not None else []),
        *((f"from {key}", value) for key, value in manifest.provenance.items()),
    ]
    default = default_position(manifest)
    low, high = position_range(manifest)
    mapper = pipeline.mapper
    lines = [f"{bundle.path}: good", f"  gate: {gate_verdict(bundle)}"]
    lines += [f"  {name + ':':14} {text}" for name, text in rows]
    lines.append(f"  {'joint':20} {'default':>8} {'min':>7} {'max':>7} rad {'kp':>7} {'kd':>6}")
    for index, joint in enumerate(manifest.joints):
        lines.append(
            f"  {joint:20} {default[index]:8.3f} {low[index]:7.3f} {high[index]:7.3f}     "
            f"{mapper.stiffness[index]:7.2f} {mapper.damping[index]:6.2f}"
        )
    return "\n".join(lines)


class _Gate(msgspec.Struct):
    passed: bool
    failures: list[str] = []
    accepted: str = ""


class _Report(msgspec.Struct):
    gate: _Gate | None = None
    tour: object = msgspec.UNSET


def terms_verdict(bundle: Bundle) -> str:
    """Whether a capture from outside gaitd proves the observation's terms, in one line."""
    trace = bundle.captured_states()
    if trace is None:
        return "not proven: no capture (gaitforge capture, then gaitforge pack --capture)"
    return f"proven by a capture of {len(trace)} steps, replayed"


def gate_verdict(bundle: Bundle) -> str:
    """What the verification in report.json found, in one line."""
    if not bundle.has("report.json"):
        return "not run"
    try:
        report = msgspec.json.decode(bundle.read_bytes("report.json"), type=_Report)
    except msgspec.DecodeError as error:
        return printable(f"unknown, report.json is unreadable: {error}")
    gate = report.gate
    if gate is None:
        return "not run"
    if gate.passed:
        return "passed" if report.tour is not None else "passed, without walking in simulation"
    why = f"accepted because {gate.accepted}" if gate.accepted else "and nobody accepted it"
    return printable(f"failed, {why} ({'; '.join(gate.failures)})")


def _term(term: Term) -> str:
    text: str = term.term
    if term.scale != 1.0:
        text += f" x {term.scale}"
    if term.delay_steps:
        text += f" ({term.delay_steps} steps ago)"
    return text


def _range(values: Float32Array) -> str:
    low, high = values.min(), values.max()
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _limits(bundle: Bundle) -> list[str]:
    limits = bundle.manifest.limits
    commands = {name.replace("_", " "): getattr(limits, name) for name in LIMIT_NAMES}
    texts = [f"{name} ({limit.response})" for name, limit in commands.items() if limit is not None]
    others = {"state range": limits.state, "posture": limits.posture, "repetition": limits.repetition}
    return texts + [name for name, limit in others.items() if limit is not None]
