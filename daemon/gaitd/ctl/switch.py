"""gaitctl switch: a session goes on, or the next one begins, with another of the loaded policies."""

from __future__ import annotations

import argparse
from typing import Any

from gaitd.ctl import route
from gaitd.ctl.client import ControlClient
from gaitd.system.command_line import confirm


def add_parser(commands: Any) -> None:
    """Add the command to gaitctl."""
    parser = commands.add_parser(
        "switch",
        help="change to another loaded policy: at once where the robot walks, else for the next session",
    )
    parser.add_argument("policy", help="its name, or the beginning of its id, as gaitctl status shows them")
    route.add_options(parser)
    parser.set_defaults(command=_switch)


def _switch(options: argparse.Namespace) -> int:
    with ControlClient(route.of_options(options)) as client:
        before = client.demand("status")["policies"]
        reply = client.demand("switch", policy=options.policy)
    walked = any(policy["walks"] and policy["id"] == reply["id"] for policy in before)
    then = "is what the next session begins with"
    if reply["session"]:
        then = "walks already" if walked else "walks from now on"
    confirm(f"policy {reply['name']} {reply['version']} ({reply['id']}) {then}")
    return 0
