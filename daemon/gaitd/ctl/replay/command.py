"""gaitctl replay: the command."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from gaitd.backends import open_backend
from gaitd.bundle.read import Bundle, open_bundle
from gaitd.bundle.store import PolicyStore
from gaitd.ctl import robot
from gaitd.ctl.explain.command import newest_recording
from gaitd.ctl.explain.timeline import Curve, Lane, draw_lanes
from gaitd.ctl.explain.words.text import Text
from gaitd.ctl.replay.compare import Comparison, compare
from gaitd.ctl.replay.run import Replayed, Replayer
from gaitd.errors import GaitdError, GateError, InputError
from gaitd.telemetry.recording import Recording, read_recording

SMALL_RAD = 0.01
"""Another policy's target that differs by more has diverged."""
WIDTH = 1000


def add_parser(commands: Any) -> None:
    """Add the command to gaitctl."""
    parser = commands.add_parser(
        "replay", help="compute the steps of a recording again, or by another policy"
    )
    parser.add_argument("file", type=Path, nargs="?", help="a recording (default: the newest of this robot)")
    parser.add_argument(
        "--bundle", type=Path, help="the policy (default: the recorded one, as installed here)"
    )
    parser.add_argument("--backend", choices=("onnx", "rknn", "rknnlite"), default="onnx", help="onnx")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--svg", type=Path, metavar="DRAWING", help="the targets of each joint, both of them")
    robot.add_config_option(parser)
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> int:
    path = newest_recording(options)
    recording = read_recording(path)
    bundle = bundle_for(options.bundle, recording)
    backend = open_backend(options.backend, bundle)
    try:
        replayed = Replayer(recording, bundle, backend).run()
    finally:
        backend.close()
    if not replayed.indices:
        refused = f"{len(replayed.unanswered)} have no answer now"
        raise InputError(f"{path}: no step can be computed again: {_left_out(replayed)}; {refused}")
    comparison = compare(recording, replayed, bundle.manifest.joints)
    if options.svg is not None:
        try:
            options.svg.write_text(_drawing(comparison), encoding="utf-8")
        except OSError as error:
            raise InputError(f"{options.svg}: cannot be written: {error.strerror}") from None
    same_policy = bundle.policy_id == recording.info.policy_id
    if options.json:
        found = {"file": str(path), "whole": recording.whole, "policy_id": bundle.policy_id}
        found["same_policy"] = same_policy
        print(json.dumps({**found, **comparison.as_map()}, indent=2))
    else:
        print(_in_words(comparison, recording, bundle, same_policy=same_policy))
    differs = comparison.causes_differ or comparison.unanswered
    exact = bool(comparison.exact.all()) and not differs
    return 0 if exact or not same_policy else GateError.exit_code


def bundle_for(path: Path | None, recording: Recording) -> Bundle:
    """The bundle at ``path``, else the recorded policy as it is installed here. Raises InputError."""
    if path is not None:
        return open_bundle(path)
    policy_id = recording.info.policy_id
    try:
        return PolicyStore().open(PolicyStore().find(policy_id).id)
    except GaitdError as error:
        raise InputError(
            f"the recorded policy {recording.info.policy} ({policy_id}) is not installed here "
            f"({error}); name its "
            "bundle with --bundle"
        ) from None


def _in_words(comparison: Comparison, recording: Recording, bundle: Bundle, *, same_policy: bool) -> str:
    steps, exact = len(comparison.seqs), int(comparison.exact.sum())
    who = "the recorded policy" if same_policy else f"{bundle.manifest.name} {bundle.manifest.version}"
    lines = [f"{steps} steps computed again with {who}; {_left_out(comparison)}"]
    if recording.lack:
        lines.insert(0, recording.lack)
    if exact == steps and not comparison.unanswered:
        lines.append("all of them are the same, bit for bit: observation, raw action and target")
        return "\n".join(lines)
    lines.append(f"{exact} are the same, bit for bit")
    if comparison.observation_difference is not None:
        lines.append(f"largest difference of an observation: {comparison.observation_difference:.3g}")
    limit = 0.0 if same_policy else SMALL_RAD
    first = comparison.first(limit)
    if first is not None:
        joint = int(np.nanargmax(comparison.difference[first]))
        lines.append(
            f"first difference of a target above {limit:g} rad: step {comparison.seqs[first]}, "
            f"{comparison.seconds[first]:.3f} s into the recording, joint "
            f"{comparison.joints[joint]}: recorded "
            f"{comparison.recorded[first, joint]:.6g} rad, now {comparison.computed[first, joint]:.6g} rad"
        )
    if comparison.unanswered:
        refused = ", ".join(f"{name} {count}" for name, count in comparison.refused.items())
        lines.append(f"{comparison.unanswered} have no answer now; refused: {refused}")
    if comparison.causes_differ:
        lines.append(f"{comparison.causes_differ} actions are accepted by one and rejected by the other")
    lines.append("largest difference by joint: target in rad, raw action")
    for joint, values in comparison.as_map()["joints"].items():
        lines.append(f"  {joint:20} {values['target_rad_max']:10.4g} {values['action_max']:10.4g}")
    return "\n".join(lines)


def _left_out(found: Comparison | Replayed) -> str:
    return (
        f"{found.unknown_past} left out, as the recording does not hold what came before them; "
        f"{found.missing} without their message"
    )


def _drawing(comparison: Comparison) -> str:
    lanes = [
        Lane(
            Text(f"{joint}, rad", ""),
            [
                Curve(comparison.seconds, comparison.recorded[:, place], name="recorded"),
                Curve(comparison.seconds, comparison.computed[:, place], "#ef6c00", "computed again", True),
            ],
        )
        for place, joint in enumerate(comparison.joints)
    ]
    return draw_lanes(lanes, float(comparison.seconds[0]), float(comparison.seconds[-1]), WIDTH)
