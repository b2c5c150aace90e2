"""The animation of README, from a run of the demo: python tools/animation.py build/demo docs/images/demo.webp

Drawn from the motion that the simulator recorded, in real time, with captions at the moments at which the
demo killed gaitd's worker and its standby.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gaitforge.simulate.render import Camera
from gaitforge.simulate.trace import Trace

SIZE = (560, 315)
RATE_HZ = 12.5
QUALITY = 62
BEFORE_S = 2.5
"""Of walking, before the first kill."""
AFTER_S = 2.5
"""Of lying, after the second one."""
WALKS, WALKS_ON, LIES = (38, 132, 80), (196, 120, 0), (190, 40, 40)
BAR_PX = 40


def caption(time_s: float, worker_s: float, standby_s: float) -> tuple[str, tuple[int, int, int]]:
    """What holds at that moment of the run, and in which colour."""
    if time_s < worker_s:
        return "gaitd's worker moves it", WALKS
    if time_s < standby_s:
        return "kill -9 worker: the standby walks on", WALKS_ON
    return "kill -9 standby: damping, it lies down softly", LIES


def frames(run: Path) -> list[Image.Image]:
    """From before the first kill to after the second one."""
    trace = Trace.load(run / "trace.npz")
    summary = json.loads((run / "summary.json").read_text())
    worker_s, standby_s = summary["failover"]["at_s"], summary["fault"]["at_s"]
    font = ImageFont.load_default(size=18)
    camera = Camera(SIZE)
    drawn = []
    try:
        for time_s in np.arange(worker_s - BEFORE_S, standby_s + AFTER_S, 1.0 / RATE_HZ):
            text, colour = caption(time_s, worker_s, standby_s)
            picture = camera.draw(trace, time_s, f"{time_s - worker_s:+.1f} s")
            bar = ImageDraw.Draw(picture)
            bar.rectangle((0, SIZE[1] - BAR_PX, SIZE[0], SIZE[1]), fill=colour)
            bar.text((SIZE[0] // 2, SIZE[1] - BAR_PX // 2), text, fill="white", font=font, anchor="mm")
            drawn.append(picture)
    finally:
        camera.close()
    return drawn


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Make the animation of README.")
    parser.add_argument("run", type=Path, help="the demo's --output")
    parser.add_argument("animation", type=Path, help="a .webp file")
    args = parser.parse_args()
    first, *others = frames(args.run)
    first.save(
        args.animation,
        save_all=True,
        append_images=others,
        duration=round(1000 / RATE_HZ),
        loop=0,
        quality=QUALITY,
        method=6,
    )
    print(f"wrote {args.animation}, {args.animation.stat().st_size / 1e6:.2f} MB, {1 + len(others)} pictures")


if __name__ == "__main__":
    main()
