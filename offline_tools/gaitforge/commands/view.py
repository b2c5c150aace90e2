"""gaitforge view: a recording of gaitd as a video, or in a window."""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

from gaitd.errors import InputError

if TYPE_CHECKING:
    from gaitforge.commands import Subparsers

DESCRIPTION = """\
Shows the motion that a recording of gaitd holds (gaitd-NNNNNN-REASON.mcap). Joints and orientation are what
the robot's sensors said; where it was is made up from them, on flat ground: a foot that stays down stays
where it is. The captions have what held, and the seconds before and after the damping.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "view",
        help="a recording of gaitd as a video, or in a window",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, help="the recording")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--video", type=Path, help="where it goes (default: FILE as .mp4 in this directory)")
    how.add_argument("--window", action="store_true", help="show it in a window instead, in real time")
    parser.add_argument(
        "--from",
        dest="from_s",
        type=float,
        default=-math.inf,
        metavar="S",
        help="begin there: seconds after the damping, -5 is before it; without one, after the beginning",
    )
    parser.add_argument(
        "--until", dest="until_s", type=float, default=math.inf, metavar="S", help="end there"
    )
    parser.add_argument(
        "--mjcf", type=Path, metavar="MODEL", help="MuJoCo model of the robot (default: the Lite3's)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Show one recording."""
    from gaitd.telemetry.recording import read_recording
    from gaitforge.simulate import body
    from gaitforge.simulate.playback import manifest_of, play, show
    from gaitforge.simulate.render import check_video, save_video
    from gaitforge.simulate.robot import Robot
    from gaitforge.simulate.viewer import Viewer

    video: Path = args.video or Path(args.file.with_suffix(".mp4").name)
    check_video(video)
    if not video.parent.is_dir():
        raise InputError(f"{video}: the directory {video.parent} does not exist")
    recording = read_recording(args.file)
    if recording.lack:
        print(f"{args.file}: {recording.lack}")
    manifest = manifest_of(recording)
    found = body.find(manifest, args.mjcf)
    if found is None:
        raise InputError(
            f"{args.file}: robot {manifest.robot!r} cannot be drawn here: give its model with --mjcf"
        )
    robot = Robot(body=found)
    playback = play(recording, robot).between(args.from_s, args.until_s)
    motion = playback.motion
    began_s, seconds = motion.time_s[0], motion.time_s[-1] - motion.time_s[0]
    print(
        f"{len(motion.time_s)} states in {seconds:.1f} s, from {began_s - playback.zero_s:+.1f} s", flush=True
    )
    if not args.window:
        save_video(motion, video, robot, playback.caption)
        print(f"wrote {video}")
        return
    viewer = Viewer(robot, "--window", "--video")
    start_s = time.monotonic()

    def draw(time_s: float) -> bool:
        time.sleep(max(0.0, start_s + time_s - began_s - time.monotonic()))
        return viewer.draw()

    try:
        show(playback, robot, draw)
    finally:
        viewer.close()
