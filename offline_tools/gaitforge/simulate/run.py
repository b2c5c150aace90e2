"""A whole run of the simulated robot: what happens, what is shown, what is written."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from gaitd.bundle.read import open_bundle
from gaitd.errors import GateError, InputError
from gaitd.policy.manifest import Manifest
from gaitforge.common.manifest import load_manifest
from gaitforge.simulate import body
from gaitforge.simulate.direct import full_command, run_bundle
from gaitforge.simulate.height_map import HeightMap, HeightMapPublisher
from gaitforge.simulate.live import LiveRobot
from gaitforge.simulate.measure import STICK_SPEED, Measures
from gaitforge.simulate.pacer import Pacer
from gaitforge.simulate.render import check_video, save_filmstrip, save_video
from gaitforge.simulate.report import direct_report, live_report, summary
from gaitforge.simulate.robot import Robot
from gaitforge.simulate.script import CommandScript, Push
from gaitforge.simulate.terrain import Kind
from gaitforge.simulate.trace import Trace
from gaitforge.simulate.udp import HOST, Ports, RobotSocket
from gaitforge.simulate.viewer import Viewer


@dataclass(frozen=True)
class Scenario:
    """What happens; times count from the hand-over."""

    script: CommandScript
    pushes: Sequence[Push] = ()
    seed: int = 0
    seconds: float = 20.0
    mjcf: Path | None = None
    """The robot's model; None: the Lite3's."""
    terrain: Kind = "flat"
    height_map: str | None = None
    """The stream that shows the ground, as gaitforge.simulate.height_map has it."""


@dataclass(frozen=True)
class Outputs:
    """Files to write, where not None."""

    png: Path | None = None
    """A filmstrip."""
    video: Path | None = None
    trace: Path | None = None
    report: Path | None = None

    def check(self) -> None:
        """Raise InputError for a file in a directory that does not exist, and for a video that is no MP4."""
        if self.video is not None:
            check_video(self.video)
        for path in (getattr(self, field.name) for field in fields(self)):
            if path is not None and not path.parent.is_dir():
                raise InputError(f"{path}: the directory {path.parent} does not exist")

    def write(self, trace: Trace, report: dict[str, Any], robot: Robot) -> None:
        """Write them, of the robot that left the trace."""
        report = {**report, "terrain": robot.body.terrain}
        if self.report is not None:
            self.report.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        if self.trace is not None:
            trace.save(self.trace)
        if self.png is not None:
            save_filmstrip(trace, self.png, robot=robot)
        if self.video is not None:
            save_video(trace, self.video, robot)


def walk_directly(bundle_path: Path, scenario: Scenario, outputs: Outputs, *, view: bool = False) -> None:
    """Call a bundle's policy without any sockets, as fast as the machine can; with a view, in real time.

    Raises GateError when the robot falls, after all that was asked for is written.
    """
    bundle = open_bundle(bundle_path)
    found = body.find(bundle.manifest, scenario.mjcf, scenario.terrain, scenario.height_map)
    if found is None:
        raise InputError(
            f"{bundle_path}: robot {bundle.manifest.robot!r} cannot be simulated here: give its model with "
            "--mjcf"
        )
    robot = Robot(scenario.seed, found)
    print(
        f"policy {bundle.manifest.name} {bundle.manifest.version}, called directly; seed {scenario.seed}",
        flush=True,
    )
    beyond = _beyond(scenario.script, bundle.manifest)
    if beyond:
        print(beyond, flush=True)
    viewer = Viewer(robot) if view else None
    pacer = Pacer()

    def show(robot: Robot) -> None:
        if viewer is not None:
            viewer.refresh(robot)
            pacer.wait()

    try:
        result = run_bundle(
            bundle,
            script=scenario.script,
            seconds=scenario.seconds,
            seed=scenario.seed,
            pushes=scenario.pushes,
            on_tick=show,
            robot=robot,
        )
    finally:
        if viewer is not None:
            viewer.close()
    print(summary(result.measures), flush=True)
    outputs.write(result.trace, direct_report(result), robot)
    _require_no_fall(result.measures)


def _beyond(script: CommandScript, manifest: Manifest) -> str:
    """A note where a command is beyond what the policy takes; empty where none is."""
    least, most = manifest.velocity_command.min, manifest.velocity_command.max
    for command in script.commands:
        if any(not low <= value <= high for low, value, high in zip(least, command, most, strict=True)):
            asked, low, high = (",".join(f"{value:g}" for value in row) for row in (command, least, most))
            return (
                f"note: a command of {asked} is beyond the policy's range, {low} to {high}: it is held there"
            )
    return ""


def walk_over_udp(
    scenario: Scenario,
    outputs: Outputs,
    *,
    ports: Ports,
    wait_s: float,
    manifest: Path | None = None,
    runtime_dir: Path = Path("/run/gaitd"),
    turn_over: bool = False,
    state_every_ms: float = 1.0,
    priority: int | None = None,
    view: bool = False,
) -> None:
    """Run in real time for a controller on the loopback, until the end or a signal to end.

    ``manifest`` is of the policy that the controller runs, for a robot of a model file and for a height map,
    which goes to the gaitd at ``runtime_dir``. Raises GateError when the robot does not stand within
    ``wait_s``, or falls.
    """
    stopped: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: stopped.append(number))
    robot, asked = _real_time_robot(scenario, manifest)
    joints = len(robot.body.joints)
    wire = RobotSocket(ports, joints)
    viewer = publisher = None
    try:
        publisher = _publisher(scenario, manifest, runtime_dir, robot)
        viewer = Viewer(robot) if view else None
        print(
            f"simulated robot at 1 kHz, seed {scenario.seed}: commands on UDP {HOST}:{wire.command_port}, "
            f"states to port {ports.state} every {state_every_ms:g} ms, "
            f"velocity commands to port {ports.operator}\n"
            f"   0.00 s  {'held' if robot.body.held else 'lying'}, motors damped: waiting for a controller",
            flush=True,
        )
        watching = [each for each in (viewer and viewer.refresh, publisher and publisher.tick) if each]

        def on_tick(robot: Robot) -> None:
            for watch in watching:
                watch(robot)

        live = LiveRobot(
            robot,
            wire,
            scenario.script,
            scenario.pushes,
            say=lambda line: print(line, flush=True),
            on_tick=on_tick,
            turn_over=turn_over,
            state_every_ms=state_every_ms,
            full_command=asked,
        )
        with _realtime(priority):
            result = live.run(scenario.seconds, wait_s, stop=lambda: bool(stopped))
    finally:
        if viewer is not None:
            viewer.close()
        if publisher is not None:
            publisher.close()
        wire.close()
    timing = result.timing
    print(
        f"{summary(result.measures)}\n"
        f"real-time factor {timing.real_time_factor:.3f}, ticks late by p50 {timing.lateness_us['p50']:.0f}, "
        f"p99 {timing.lateness_us['p99']:.0f}, max {timing.lateness_us['max']:.0f} us; "
        f"{result.commands} commands, {result.malformed} malformed",
        flush=True,
    )
    outputs.write(result.trace, live_report(result, scenario.seed), robot)
    if result.handover_s is None and not stopped:
        raise GateError(
            f"the robot did not stand up within {wait_s:g} s; {result.commands} commands came in on "
            f"UDP {HOST}:{ports.command}: is the controller running, and does it send there?"
        )
    _require_no_fall(result.measures)


def _require_no_fall(measures: Measures) -> None:
    """Raise GateError where the robot fell; lying down softly, damped, is none."""
    fallen = [descent.time_s for descent in measures.descents if descent.fall]
    if fallen:
        raise GateError(f"the robot fell {fallen[0]:.2f} s after the hand-over")


def _publisher(
    scenario: Scenario, manifest: Path | None, runtime_dir: Path, robot: Robot
) -> HeightMapPublisher | None:
    if scenario.height_map is None:
        return None
    if manifest is None:
        raise InputError("--height-map without --bundle needs --manifest, which has the stream's shape")
    height_map = HeightMap.of(scenario.height_map, load_manifest(manifest))
    return HeightMapPublisher(
        height_map, runtime_dir, robot.terrain, say=lambda line: print(line, flush=True)
    )


def _real_time_robot(scenario: Scenario, manifest: Path | None) -> tuple[Robot, tuple[float, float, float]]:
    """The robot, and what a command of 1 asks of it."""
    if scenario.mjcf is None:
        return Robot(scenario.seed, body.lite3(scenario.terrain)), STICK_SPEED
    if manifest is None:
        raise InputError(
            "--mjcf without --bundle needs --manifest, the contract of the policy that the controller runs: "
            "it has the robot's default pose and the order of the joints on the wire"
        )
    contract = load_manifest(manifest)
    found = body.from_mjcf(scenario.mjcf, contract, scenario.terrain)
    return Robot(scenario.seed, found), full_command(contract)


@contextlib.contextmanager
def _realtime(priority: int | None) -> Iterator[None]:
    """Run at a real-time priority, if asked and allowed; pictures are drawn without it."""
    if priority is None:
        yield
        return
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except (OSError, ValueError) as error:
        print(f"warning: no real-time priority {priority} ({error}); going on without", flush=True)
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
