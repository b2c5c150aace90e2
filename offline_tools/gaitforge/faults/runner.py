"""Injects the faults, chain by chain, and judges them from the logs when the chain has ended."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import zmq

from gaitd.errors import GaitdError, InputError
from gaitforge.faults.explained import NAMES, explained, newest_number
from gaitforge.faults.fault import Fault, Judged, Trial, failed, judge
from gaitforge.faults.records import Records
from gaitforge.faults.rig import Rig

DAMPING_S = 2.5
"""A fault that leads to damping does so within this time."""
DOWN_S = 0.95
TRIALS_A_CHAIN = 45
"""Then a new chain is started, so that the logs stay small."""
STARTS = 2
"""So often in a row a chain is started in vain before its faults are given up."""


def run_faults(
    faults: Sequence[Fault],
    repeats: int,
    bundle: Path,
    controller: Path,
    output: Path,
    mjcf: Path | None = None,
    done: Mapping[str, int] = MappingProxyType({}),
) -> Iterator[Judged]:
    """Inject each fault ``repeats`` times, less what has been ``done`` before, by the fault's name.

    ``mjcf``: the robot's model; None: the Lite3's.

    A void injection is yielded too, and repeated once per fault: the controller was not scheduled, or what
    was recorded of it is lost. Where a chain does not start, its faults are yielded as failed, with the
    reason; the others go on. Raises InputError when bundle, controller or model are not what they must be.
    """
    for setting in dict.fromkeys(fault.setting for fault in faults):
        group = [fault for fault in faults if fault.setting == setting]
        waiting = [fault for number in range(repeats) for fault in group if number >= done.get(fault.name, 0)]
        repeated: set[str] = set()
        chains = failed_starts = 0
        while waiting:
            directory = output / "runs" / f"{setting.name}{chains}"
            chains += 1
            rig = Rig(bundle, controller, directory, setting, mjcf=mjcf)
            try:
                trials = _run_chain(waiting, rig)
            except InputError:
                raise
            except GaitdError as error:
                failed_starts += 1
                print(f"the {setting.name} chain did not start: {error}", flush=True)
                if failed_starts == STARTS:
                    yield from (_not_injected(fault, error) for fault in waiting)
                    break
                continue
            failed_starts = 0
            waiting = waiting[len(trials) :]
            for judged in _judge_chain(trials, rig):
                fault = judged.trial.fault
                if judged.void and fault.name not in repeated:
                    repeated.add(fault.name)
                    waiting.append(fault)
                    yield judged
                else:
                    yield replace(judged, void=False)


def _run_chain(waiting: Sequence[Fault], rig: Rig) -> list[Trial]:
    """Inject faults until all are done, the chain does not recover from one, or it is long enough."""
    trials: list[Trial] = []
    waiting = waiting[:TRIALS_A_CHAIN]
    name = rig.setting.name
    print(f"a {name} chain for {len(waiting)} injections; verdicts follow when it ends", flush=True)
    with rig:
        for fault in waiting:
            trials.append(run_trial(rig, fault))
            if trials[-1].error:
                break
    return trials


def run_trial(rig: Rig, fault: Fault) -> Trial:
    """Inject one fault into the walking robot, watch, undo, and wait until it walks again."""
    trial = _nothing_yet(fault)
    try:
        before = rig.wait_walking()
        known = newest_number(rig.recordings)
        fault.prepare(rig)
        trial = replace(trial, injected_ns=time.monotonic_ns(), session=before["session"])
        fault.inject(rig)
        trial = _watch(rig, trial)
        fault.undo(rig)
        trial = _recover(rig, trial, before)
        if trial.walks_after_s is None or fault.name not in NAMES:
            return trial
        return replace(trial, explained=explained(rig.recordings, known, trial.injected_ns))
    except (GaitdError, OSError, subprocess.SubprocessError, zmq.ZMQError) as error:
        return replace(trial, until_ns=time.monotonic_ns(), error=f"{type(error).__name__}: {error}")


def _nothing_yet(fault: Fault) -> Trial:
    now_ns = time.monotonic_ns()
    return Trial(fault, now_ns, now_ns, session=0)


def _not_injected(fault: Fault, error: GaitdError) -> Judged:
    return failed(replace(_nothing_yet(fault), error=f"not injected, the chain did not start: {error}"))


def _watch(rig: Rig, trial: Trial) -> Trial:
    """Wait for damping and lying down, or watch the robot walk on."""
    fault = trial.fault
    since_s = trial.injected_ns / 1e9
    if not fault.reasons or fault.at_gaitd:
        time.sleep(max(0.0, since_s + fault.watch_s - time.monotonic()))
    elif _damps(rig, trial, since_s + (fault.watch_s if fault.either else DAMPING_S)) or not fault.either:
        time.sleep(DOWN_S + fault.setting.stance_s)
    status = rig.status()
    detail = status["detail"] if status is not None else "no answer from gaitd"
    return replace(trial, until_ns=time.monotonic_ns(), detail=detail)


def _damps(rig: Rig, trial: Trial, until_s: float) -> bool:
    """Whether the session or gaitd ends before ``until_s``."""
    while time.monotonic() < until_s:
        status = rig.status()
        if status is None:
            if time.monotonic() > trial.injected_ns / 1e9 + 0.3:
                return True  # gaitd is gone: what the controller did is in its log
        elif status["mode"] != "active" or status["session"] != trial.session:
            return True
        time.sleep(0.01)
    return False


def _recover(rig: Rig, trial: Trial, before: dict[str, object]) -> Trial:
    said = rig.watch.first_damping(trial.injected_ns)
    starts = before["worker"]["starts"]  # type: ignore[index]
    status = rig.wait(lambda status: bool(status["worker"]["ready"]), "a ready worker")
    ready_s = (time.monotonic_ns() - trial.injected_ns) / 1e9
    if status["worker"]["starts"] != starts:
        trial = replace(trial, ready_after_s=ready_s)
    rig.wait(lambda status: status["mode"] == "active", "a session after the fault")
    again = rig.wait_walking()
    said = rig.watch.first_damping(trial.injected_ns) or said
    if said is not None and said.publish_stamp_ns <= trial.until_ns + 500_000_000:
        trial = replace(trial, gaitd_reason=said.reason.name.lower(), guard_damping_ns=said.publish_stamp_ns)
    if again["session"] != trial.session:
        started_ns = time.monotonic_ns() - round(again["mode_for_s"] * 1e9)
        trial = replace(trial, walks_after_s=(started_ns - trial.injected_ns) / 1e9)
    return trial


def _judge_chain(trials: Sequence[Trial], rig: Rig) -> Iterator[Judged]:
    """Judge by what the programs wrote; what they did not write is lost, and the injection void."""
    try:
        records = Records.of(rig.chain)
    except GaitdError as error:
        for trial in trials:
            yield failed(trial) if trial.error else failed(replace(trial, error=str(error)), void=True)
        return
    for trial in trials:
        yield judge(trial, records.ticks, records.trace, records.start_ns, rig)
