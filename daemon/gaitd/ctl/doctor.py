"""gaitctl doctor: is this robot fit to walk, and if not, what to do."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gaitd.bundle.read import Bundle
from gaitd.bundle.store import DEFAULT_ROOT, PolicyStore
from gaitd.ctl import robot
from gaitd.ctl.check import Check, Level, System, fail, ok, warn
from gaitd.ctl.client import read_status
from gaitd.ctl.npu_checks import check_npu
from gaitd.ctl.route import Route
from gaitd.ctl.service_checks import check_npu_memory, check_policy, check_service
from gaitd.ctl.system_checks import check_system
from gaitd.errors import GateError, InputError
from gaitd.system.config import Config
from gaitd.system.config_files import config_files, load_config


def add_parser(commands: Any) -> None:
    """Add the command to gaitctl."""
    parser = commands.add_parser("doctor", help="check board, system and gaitd; every finding with its fix")
    parser.add_argument("--json", action="store_true", help="for programs")
    robot.add_config_option(parser)
    parser.add_argument("--system-root", type=Path, default=Path("/"), help="look at the system below it")
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> int:
    checks = examine(System(options.system_root), options.config, options.runtime_dir)
    print(json.dumps([as_map(check) for check in checks], indent=2) if options.json else in_words(checks))
    failed = [check.name for check in checks if check.level is Level.FAIL]
    return GateError.exit_code if failed else 0


def examine(system: System, config_path: Path | None, runtime_dir: Path) -> list[Check]:
    """All checks, in the order of the report."""
    return list(_examine(system, config_path, runtime_dir))


def in_words(checks: list[Check]) -> str:
    """The report: one line for each check, with the fix below it."""
    lines = []
    for check in checks:
        lines.append(f"{check.level.value:4}  {check.name:12}  {check.found}")
        if check.fix:
            lines.append(f"{'':20}-> {check.fix}")
    counts = [sum(check.level is level for check in checks) for level in Level]
    lines.append(f"{counts[0]} good, {counts[1]} to improve, {counts[2]} to fix before walking")
    return "\n".join(lines)


def _examine(system: System, config_path: Path | None, runtime_dir: Path) -> Iterator[Check]:
    config, check = _configuration(system, config_path)
    yield check
    bundle, error = _active_policy(system)
    yield check_policy(bundle, error, config)
    npu = list(check_npu(system, bundle))
    yield from npu
    yield from check_system(system, config)
    npu_is_well = all(check.level is not Level.FAIL for check in npu)
    status, route = read_status(runtime_dir), Route.local(runtime_dir)
    yield from check_npu_memory(bundle, status)
    if status is None and route.is_barred:
        yield fail("gaitd", "cannot be asked by this user", route.advice())
    else:
        yield from check_service(status, npu_is_well)


def _configuration(system: System, path: Path | None) -> tuple[Config, Check]:
    root = system.path("/")
    try:
        files = [path] if path is not None else config_files(root)
        config = load_config(path, root)
        found = ", ".join(map(str, files)) or "all defaults"
        if config.daemon.rehearsal:
            fix = "after gaitctl rehearse, take it out of the configuration and restart gaitd"
            return config, warn("config", f"{found}: daemon.rehearsal is on, not for walking", fix)
        return config, ok("config", found)
    except InputError as error:
        return Config(), fail("config", str(error), "gaitd config prints every field with its meaning")


def _active_policy(system: System) -> tuple[Bundle | None, str]:
    try:
        return PolicyStore(system.path(str(DEFAULT_ROOT))).open_active(), ""
    except InputError as error:
        return None, str(error)


def as_map(check: Check) -> dict[str, str]:
    """A check for programs."""
    return {"check": check.name, "level": check.level.value, "found": check.found, "fix": check.fix}
