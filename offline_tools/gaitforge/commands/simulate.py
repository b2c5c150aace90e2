"""gaitforge simulate: the simulated robot on the command line."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gaitd.errors import InputError
from gaitforge.commands.options import add_robot

if TYPE_CHECKING:
    from gaitforge.commands import Subparsers

DESCRIPTION = """\
A Lite3-like robot in MuJoCo. Without --bundle it runs in real time and talks to a controller over UDP on
the loopback, in the layout of the maker's own simulator: states go to port 30010, commands come in on port
20001, and the operator's velocity command goes to port 30012. With --bundle the policy is called directly,
without any sockets, as fast as the machine can.

With --mjcf any robot of which there is a MuJoCo model: its base is held until the hand-over, its motors
follow the gains of the policy's manifest.

Times of --command, --script and --push count from the hand-over: over UDP when the robot has stood (above
0.28 m, level) for a second, or with --mjcf when the policy's own gains arrive; with --bundle when its
stand-up of 3 s is over.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "simulate",
        help="run the simulated robot, over UDP or with a policy called directly",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_argument_group("what happens")
    what.add_argument("--bundle", type=Path, help="call this policy bundle directly instead of talking UDP")
    add_robot(parser)
    what.add_argument(
        "--manifest",
        type=Path,
        help="contract of the controller's policy, for --mjcf and --height-map without --bundle",
    )
    what.add_argument(
        "--runtime-dir",
        type=Path,
        default=Path("/run/gaitd"),
        help="of the gaitd that the height map goes to without --bundle (default: %(default)s)",
    )
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
    wire.add_argument(
        "--tick",
        type=float,
        default=1.0,
        metavar="MS",
        help="send a state every so many ms, 1 to 10 (default: 1); 1.05 for a controller that reads one "
        "state a millisecond and never catches up, as the robot maker's own",
    )
    wire.add_argument("--priority", type=int, metavar="1..99", help="run under SCHED_FIFO at this priority")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Run the simulated robot."""
    from gaitforge.simulate.run import Outputs, Scenario, walk_directly, walk_over_udp
    from gaitforge.simulate.script import CommandScript, parse_command, parse_push, read_script
    from gaitforge.simulate.udp import Ports

    script = CommandScript.constant(0.0)
    if args.command is not None:
        script = CommandScript.constant(*parse_command(args.command))
    elif args.script is not None:
        script = read_script(args.script)
    pushes = [parse_push(text) for text in args.push]
    if not args.seconds > 0:
        raise InputError(f"--seconds {args.seconds:g}: expected more than 0")
    if not 1.0 <= args.tick <= 10.0:
        raise InputError(f"--tick {args.tick:g}: expected 1 to 10 ms; the robot itself runs at 1 kHz")
    needs_manifest = args.mjcf is not None or args.height_map is not None
    if args.manifest is not None and (not needs_manifest or args.bundle is not None):
        raise InputError("--manifest: only --mjcf and --height-map without --bundle need it; leave it out")
    scenario = Scenario(
        script, pushes, args.seed, args.seconds, args.mjcf, args.terrain, height_map=args.height_map
    )
    outputs = Outputs(args.png, args.video, args.trace, args.report)
    outputs.check()
    if args.bundle is not None:
        walk_directly(args.bundle, scenario, outputs, view=args.view)
        return
    walk_over_udp(
        scenario,
        outputs,
        ports=Ports(args.state_port, args.command_port, args.operator_port),
        wait_s=args.wait,
        manifest=args.manifest,
        runtime_dir=args.runtime_dir,
        turn_over=args.turn_over,
        state_every_ms=args.tick,
        priority=args.priority,
        view=args.view,
    )
