"""Walking on one policy, changing to another one in mid-stride and back, again and again."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from gaitd.bundle.read import Bundle, open_bundle
from gaitd.ctl.client import ControlClient
from gaitd.errors import GateError
from gaitd.policy.action import ActionMapper
from gaitd.policy.bounds import TargetBounds
from gaitd.policy.joints import order_from
from gaitforge.simulate.measure import STICK_SPEED, measure
from gaitforge.simulate.model import JOINTS
from gaitforge.simulate.trace import Trace
from gaitforge.stack.processes import Chain, ChainResult, Walk

FIRST_S, APART_S, SPREAD_S = 2.0, 1.0, 0.5
"""After walking for so long a change each APART_S, later by a share of SPREAD_S, a stride: so they
meet every phase of the gait."""
GOLDEN = 0.5 * (5**0.5 - 1)
WINDOW_S = 0.5
"""After a change its targets and gaps are looked at for so long."""
LAST_S = 2.0
READY_S = 1.0
"""Until both policies' workers are seen to be ready."""
ROUNDING_RAD = 1e-5
"""Targets pass through float32."""


@dataclass(frozen=True)
class Change:
    """One change in mid-stride."""

    policy: str
    """To which."""
    at_ns: int
    refused: str
    """Why it was not done; empty when it was."""


@dataclass(frozen=True)
class Summary:
    """What came of all of them."""

    changes: int
    refused: int
    distance_m: float
    falls: int
    largest_step_of_slew: float
    """Largest change of a joint target from one command to the next within a change, as a share of the slew
    limit of the policy that it went to."""
    longest_gap_periods: float
    """Around a change, between two fresh commands at the controller."""
    max_tilt_deg: float


def run_changes(
    bundle: Path, beside: Path, controller: Path, output: Path, changes: int, seed: int = 0
) -> Summary:
    """Walk straight at full command and change ``changes`` times; prints and writes what came of it.

    Raises GateError naming what went wrong, GaitdError when a process did not start.
    """
    output.mkdir(parents=True, exist_ok=True)
    config = output / "gaitd.toml"
    config.write_text("")
    bundles = [open_bundle(bundle), open_bundle(beside)]
    due_s = [FIRST_S + APART_S * number + SPREAD_S * (number * GOLDEN % 1) for number in range(changes)]
    chain = Chain(
        bundle=bundle,
        controller=controller,
        directory=output,
        walk=Walk(seconds=READY_S + due_s[-1] + LAST_S, command="1,0,0", seed=seed),
        gaitd_options=["--bundle", str(beside), "--config", str(config)],
        controller_options=["--switchable"],
    )
    print("starting gaitd with both policies, the simulated robot and the C++ controller ...", flush=True)
    with chain:
        chain.wait_active()
        chain.wait_until(
            lambda status: all(each["ready"] for each in status["policies"]), "both policies' workers", 20.0
        )
        done = _change(chain, bundles, due_s)
        result = chain.finish()
    summary = summarize(result, Trace.load(output / "trace.npz"), done, bundles)
    (output / "summary.json").write_text(json.dumps(asdict(summary), indent=2) + "\n")
    _print(summary, bundles, output)
    _judge(summary, [change.refused for change in done if change.refused])
    return summary


def _change(chain: Chain, bundles: list[Bundle], due_s: list[float]) -> list[Change]:
    began_s, changes = time.monotonic(), []
    with ControlClient(chain.runtime_dir) as client:
        for number, after_s in enumerate(due_s):
            while (left_s := began_s + after_s - time.monotonic()) > 0:
                chain.check_alive()
                time.sleep(min(left_s, 0.05))
            to = bundles[(number + 1) % 2]
            at_ns = time.monotonic_ns()
            reply = client.ask("switch", policy=to.policy_id)
            refused = "" if reply.ok else str(reply.body["error"])
            if refused and (status := chain.status())["mode"] != "active":
                why = f"{status['reason']}: {status['detail']}"
                raise GateError(f"the robot was in {status['mode']} before change {number + 1}, {why}")
            changes.append(Change(to.policy_id, at_ns, refused))
    return changes


def summarize(result: ChainResult, trace: Trace, done: list[Change], bundles: list[Bundle]) -> Summary:
    """The measurements of a run."""
    period_ns = bundles[0].manifest.period_ns
    slews = {each.policy_id: _slew(each) for each in bundles}
    start_ns, window_ns = result.simulator["start_monotonic_ns"], round(WINDOW_S * 1e9)
    steps, gaps = [0.0], [0.0]
    for change in done:
        until_ns = change.at_ns + window_ns
        targets = trace.between(start_ns, change.at_ns - 2 * period_ns, until_ns).joint_target
        step = np.abs(np.diff(targets, axis=0)) - ROUNDING_RAD
        steps.append(float((step / slews[change.policy]).max(initial=0.0)))
        gaps.append(result.ticks.longest_gap_ns(change.at_ns, until_ns) / period_ns)
    walked = measure(trace, STICK_SPEED)
    return Summary(
        changes=len(done),
        refused=sum(change.refused != "" for change in done),
        distance_m=round(walked.distance_m, 2),
        falls=walked.falls,
        largest_step_of_slew=round(max(steps), 3),
        longest_gap_periods=round(max(gaps), 2),
        max_tilt_deg=round(walked.max_tilt_deg, 1),
    )


def _slew(bundle: Bundle) -> np.ndarray:
    """(12,) rad a step in the robot's order."""
    manifest = bundle.manifest
    slew = TargetBounds.of(manifest, ActionMapper(manifest)).slew
    return np.asarray(slew[order_from(manifest.joints, JOINTS)])


def _print(summary: Summary, bundles: list[Bundle], output: Path) -> None:
    names = " and ".join(f"{each.manifest.name} ({each.policy_id})" for each in bundles)
    tilt, step, gap = summary.max_tilt_deg, summary.largest_step_of_slew, summary.longest_gap_periods
    print(
        f"""
  policies     {names}
  changes      {summary.changes} in mid-stride, {summary.refused} refused
  distance     {summary.distance_m:.2f} m, {summary.falls} falls, tilted by {tilt} degrees at most
  targets      within a change none moved by more than {step} of its slew limit a step
  commands     at most {gap} periods between two fresh ones around a change

  {output}/summary.json
""",
        flush=True,
    )


def _judge(summary: Summary, refused: list[str]) -> None:
    checks = [
        (not refused, f"{len(refused)} changes were refused, the first one: {refused[:1]}"),
        (summary.falls == 0, f"it fell {summary.falls} times"),
        (
            summary.largest_step_of_slew <= 1.0,
            f"a target moved by {summary.largest_step_of_slew} of its slew limit",
        ),
    ]
    failures = [text for good, text in checks if not good]
    if failures:
        raise GateError("the changes of policy failed: " + "; ".join(failures))
