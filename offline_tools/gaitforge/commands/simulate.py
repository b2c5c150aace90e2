"""gaitforge simulate: the simulated robot on the command line."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaitd.errors import GateError, InputError

if TYPE_CHECKING:
    from gaitforge.simulate.script import CommandScript, Push
    from gaitforge.simulate.trace import Trace

DESCRIPTION = """\
A Lite3-like robot in MuJoCo. Without --bundle it runs in real time and talks to a controller over UDP on
the loopback, in the layout of the maker's own simulator: states go to port 30010, commands come in on port
20001, and the operator's velocity command goes to port 30012. With --bundle the policy is called directly,
without any sockets, as fast as the machine can.

Times of --command, --script and --push count from the hand-over: over UDP when the robot has stood (above
0.28 m, level) for a second, with --bundle when its stand-up of 3 s is over.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``simulate``."""
    parser = subparsers.add_parser(
        "simulate",
        help="run the simulated robot, over UDP or with a policy called directly",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_argument_group("what happens")
    what.add_argument("--bundle", type=Path, help="call this policy bundle directly instead of talking UDP")
    asked = what.add_mutually_exclusive_group()
    asked.add_argument(
        "--command", metavar="F,L,Y", help="velocity command forward,left,yaw (default: 0,0,0)"
    )
    asked.add_argument("--script", type=Path, help="velocity commands from a CSV file: t_s,forward,left,yaw")
    what.add_argument(
        "--push",
        action="append",
        default=[],
        metavar="T:VX,VY",
        help="kick the trunk [s:m/s,m/s]; repeatable",
    )
    what.add_argument("--seed", type=int, default=0, help="of the small differences in pose, floor and load")
    what.add_argument("--seconds", type=float, default=20.0, help="how long to run after the hand-over")
    what.add_argument(
        "--wait",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="give up if the robot does not stand by then",
    )
    what.add_argument(
        "--turn-over", action="store_true", help="when it lies limp on its back or side, lay it on its belly"
    )
    shown = parser.add_argument_group("what is shown and written")
    screen = shown.add_mutually_exclusive_group()
    screen.add_argument("--headless", action="store_true", help="no window (default)")
    screen.add_argument("--view", action="store_true", help="show the run in a window")
    shown.add_argument("--png", type=Path, help="write a filmstrip of the walk")
    shown.add_argument(
        "--video", type=Path, help="write an MP4 of the run; drawn after it, which takes a while"
    )
    shown.add_argument("--trace", type=Path, help="write the motion as arrays (.npz)")
    shown.add_argument("--report", type=Path, help="write what was measured (.json)")
    wire = parser.add_argument_group("real time and ports")
    wire.add_argument("--state-port", type=int, default=30010, help="the controller's, for states")
    wire.add_argument("--command-port", type=int, default=20001, help="ours, for commands")
    wire.add_argument(
        "--operator-port", type=int, default=30012, help="the controller's, for velocity commands"
    )
    wire.add_argument("--priority", type=int, metavar="1..99", help="run under SCHED_FIFO at this priority")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Run the command. Raises InputError for wrong options, GateError when the robot never stood up."""
    from gaitforge.simulate.script import CommandScript, parse_command, parse_push, read_script

    script = CommandScript.constant(0.0)
    if args.command is not None:
        script = parse_command(args.command)
    elif args.script is not None:
        script = read_script(args.script)
    pushes = [parse_push(text) for text in args.push]
    if not args.seconds > 0:
        raise InputError(f"--seconds {args.seconds:g}: expected more than 0")
    for path in (args.png, args.video, args.trace, args.report):
        if path is not None and not path.parent.is_dir():
            raise InputError(f"{path}: the directory {path.parent} does not exist")
    if args.bundle is not None:
        _run_direct(args, script, pushes)
    else:
        _run_live(args, script, pushes)


def _run_direct(args: argparse.Namespace, script: CommandScript, pushes: list[Push]) -> None:
    from gaitd.bundle.read import open_bundle
    from gaitforge.simulate.direct import onnx_backend, run_direct
    from gaitforge.simulate.pacer import Pacer
    from gaitforge.simulate.report import direct_report, summary
    from gaitforge.simulate.robot import Robot
    from gaitforge.simulate.viewer import Viewer

    bundle = open_bundle(args.bundle)
    robot = Robot(args.seed)
    print(
        f"policy {bundle.manifest.name} {bundle.manifest.version}, called directly; seed {args.seed}",
        flush=True,
    )
    viewer = Viewer(robot) if args.view else None
    pacer = Pacer()

    def show(robot: Robot) -> None:
        if viewer is not None:
            viewer.refresh(robot)
            pacer.wait()

    try:
        result = run_direct(
            bundle.manifest,
            onnx_backend(bundle),
            script=script,
            seconds=args.seconds,
            seed=args.seed,
            obs_stats=bundle.obs_stats(),
            pushes=pushes,
            on_tick=show,
            robot=robot,
        )
    finally:
        if viewer is not None:
            viewer.close()
    print(summary(result.measures), flush=True)
    _write(args, result.trace, direct_report(result))


def _run_live(args: argparse.Namespace, script: CommandScript, pushes: list[Push]) -> None:
    from gaitforge.simulate.live import LiveRobot
    from gaitforge.simulate.report import live_report, summary
    from gaitforge.simulate.robot import Robot
    from gaitforge.simulate.udp import HOST, Ports, RobotSocket
    from gaitforge.simulate.viewer import Viewer

    stopped: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: stopped.append(number))
    ports = Ports(args.state_port, args.command_port, args.operator_port)
    robot = Robot(args.seed)
    wire = RobotSocket(ports)
    try:
        viewer = Viewer(robot) if args.view else None
        print(
            f"simulated robot at 1 kHz, seed {args.seed}: commands on UDP {HOST}:{wire.command_port}, "
            f"states to port {ports.state}, velocity commands to port {ports.operator}\n"
            "   0.00 s  lying, motors damped: waiting for a controller",
            flush=True,
        )
        live = LiveRobot(
            robot,
            wire,
            script,
            pushes,
            say=lambda line: print(line, flush=True),
            on_tick=viewer.refresh if viewer is not None else lambda robot: None,
            turn_over=args.turn_over,
        )
        with _priority(args.priority):
            result = live.run(args.seconds, args.wait, stop=lambda: bool(stopped))
        if viewer is not None:
            viewer.close()
    finally:
        wire.close()
    timing = result.timing
    print(
        f"{summary(result.measures)}\n"
        f"real-time factor {timing.real_time_factor:.3f}, ticks late by p50 {timing.lateness_us['p50']:.0f}, "
        f"p99 {timing.lateness_us['p99']:.0f}, max {timing.lateness_us['max']:.0f} us; "
        f"{result.commands} commands, {result.malformed} malformed",
        flush=True,
    )
    _write(args, result.trace, live_report(result, args.seed))
    if result.handover_s is None and not stopped:
        raise GateError(
            f"the robot did not stand up within {args.wait:g} s; {result.commands} commands came in on "
            f"UDP {HOST}:{ports.command}: is the controller running, and does it send there?"
        )


def _write(args: argparse.Namespace, trace: Trace, report: dict[str, Any]) -> None:
    if args.report is not None:
        args.report.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if args.trace is not None:
        trace.save(args.trace)
    if args.png is None and args.video is None:
        return
    from gaitforge.simulate.render import save_filmstrip, save_video

    if args.png is not None:
        save_filmstrip(trace, args.png)
    if args.video is not None:
        save_video(trace, args.video)


@contextlib.contextmanager
def _priority(priority: int | None) -> Iterator[None]:
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
