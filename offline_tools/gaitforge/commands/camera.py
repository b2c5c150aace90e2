"""gaitforge camera: a camera's frames as a stream of the policy."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from gaitd.bundle.read import open_bundle
from gaitd.errors import InputError
from gaitd.policy.encoder import feeds_of
from gaitforge.client.camera import (
    FOURCC,
    Pixels,
    check_pixels,
    frame_size,
    publish_camera,
    recorded_frames,
)
from gaitforge.client.v4l2 import Camera
from gaitforge.common import console

if TYPE_CHECKING:
    from gaitforge.commands import Subparsers


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "camera",
        help="publish a camera's frames to a gaitd, as a stream of its policy",
        description="Take the newest pixels of a video device, or of a file in its place, for a stream.",
    )
    parser.add_argument("--bundle", type=Path, required=True, help="the policy, which has the stream")
    parser.add_argument("--stream", required=True, metavar="NAME", help="of the policy, or of its encoder")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--device", type=Path, help="video device, such as /dev/video0")
    source.add_argument("--frames", type=Path, help="file or FIFO of raw frames, one behind the other")
    parser.add_argument(
        "--pixels",
        choices=get_args(Pixels),
        default="yuyv",
        help="of the camera (default: %(default)s)",
    )
    parser.add_argument("--size", type=_size, default=(640, 480), metavar="WxH", help="default: 640x480")
    parser.add_argument(
        "--runtime-dir", type=Path, default=Path("/run/gaitd"), help="of the gaitd (default: %(default)s)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Publish until the frames end."""
    feeds = {feed.name: feed for feed in feeds_of(open_bundle(args.bundle).manifest.streams)}
    if args.stream not in feeds:
        known = ", ".join(feeds) or "none"
        raise InputError(f"--stream {args.stream}: the policy has no such stream; it has {known}")
    feed = feeds[args.stream]
    check_pixels(feed, args.pixels)
    width, height = args.size
    rest = (feed, args.runtime_dir, args.pixels, (width, height), console.say)
    if args.frames is not None:
        size = frame_size(args.pixels, width, height)
        publish_camera(recorded_frames(args.frames, size, feed.rate_hz), *rest)
        return
    with Camera(args.device, width, height, FOURCC[args.pixels]) as camera:
        publish_camera(camera.frames(), *rest)


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f"{text!r}: expected WIDTHxHEIGHT, as in 640x480")
    return int(width), int(height)
