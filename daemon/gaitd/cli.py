"""The command ``gaitd``: run the daemon, check a bundle."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from pathlib import Path
from typing import get_args

import msgspec

import gaitd
from gaitd.backends import (
    WantedBackend,
    backends_to_try,
    golden_tolerance,
    has_onnxruntime,
    open_backend,
)
from gaitd.backends.selftest import run_selftest
from gaitd.bundle.describe import describe_bundle
from gaitd.bundle.fit import check_fit, notes_of_fit
from gaitd.bundle.read import Bundle, open_bundle
from gaitd.bundle.store import PolicyStore
from gaitd.bundle.together import check_together
from gaitd.errors import BackendError, InputError, ResourceError, printable
from gaitd.guardian.standby_choice import StandbyChoice, choose_standby
from gaitd.guardian.systemd import ServiceManager
from gaitd.system.command_line import run_command
from gaitd.system.config import Config
from gaitd.system.config_files import load_config
from gaitd.system.log import start_logging
from gaitd.system.memory import available_bytes

log = logging.getLogger("gaitd")

TRY_AGAIN_S = 8.0
"""What the machine refuses may last longer than the eight starts a minute that gaitd.service allows."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code (gaitd.errors)."""
    options = make_parser().parse_args(arguments)
    return run_command("gaitd", lambda: options.command(options))


def make_parser() -> argparse.ArgumentParser:
    """All commands and options; also what the reference and the manual page are made from."""
    parser = argparse.ArgumentParser(
        prog="gaitd", description="Run a trained locomotion policy, or put the joints to damping."
    )
    parser.add_argument("--version", action="version", version=f"gaitd {gaitd.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run the daemon in the foreground")
    run.add_argument(
        "--bundle",
        type=Path,
        action="append",
        help="policy bundle: a directory or .gaitd file (default: the active policies of gaitctl); "
        "given again: a further policy, to which a session may change",
    )
    run.add_argument("--config", type=Path, help="this file alone (default: the robot's)")
    run.add_argument("--runtime-dir", help="directory of the sockets (default: from the config, /run/gaitd)")
    run.add_argument("--backend", choices=get_args(WantedBackend), help="overrides the config")
    run.add_argument("--metrics-port", type=int, help="overrides the config; 0 turns the endpoint off")
    run.set_defaults(command=_run)
    check = commands.add_parser("check", help="say what is in a bundle, or what is wrong with it")
    check.add_argument("bundle", type=Path, nargs="?", help="default: the active policy")
    check.add_argument("--config", type=Path, help="of another robot (default: this one's)")
    check.set_defaults(command=_check)
    config = commands.add_parser("config", help="check a gaitd.toml, or print what holds on this robot")
    config.add_argument("config", type=Path, nargs="?", help="the file to check")
    config.set_defaults(command=_config)
    return parser


def _run(options: argparse.Namespace) -> int:
    try:
        return _guard(options)
    except (ResourceError, OSError) as error:
        manager = ServiceManager()
        if manager.is_there:
            manager.say_status(f"{error}; trying again in {TRY_AGAIN_S:.0f} s")
            time.sleep(TRY_AGAIN_S)
        raise


def _guard(options: argparse.Namespace) -> int:
    from gaitd.guardian.main import Guardian

    config = _configured(options)
    bundles = _open_bundles(options.bundle)
    for each in bundles:
        check_fit(each, config)
    check_together(bundles, config)
    bundle, *beside = bundles
    writer = start_logging()
    for note in notes_of_fit(bundle, config):
        log.warning("%s", note)
    try:
        Guardian(bundle, config, backends_to_try(config.daemon.backend, bundle), beside=beside).run()
    finally:
        writer.stop()
    return 0


def _open_bundles(paths: list[Path] | None) -> list[Bundle]:
    """The first one first."""
    if paths is None:
        return PolicyStore().open_selected()
    # A link may point elsewhere when a worker starts again.
    return [open_bundle(path.resolve()) for path in paths]


def _configured(options: argparse.Namespace) -> Config:
    """The file's configuration with what the command line says instead. Raises InputError."""
    values = msgspec.to_builtins(load_config(options.config))
    daemon, metrics = values["daemon"], values["metrics"]
    if options.runtime_dir:
        daemon["runtime_dir"] = options.runtime_dir
    if options.backend:
        daemon["backend"] = options.backend
    if options.metrics_port is not None:
        metrics |= {"enabled": True, "port": options.metrics_port}
    try:
        return msgspec.convert(values, Config)
    except msgspec.ValidationError as error:
        raise InputError(f"command line: {printable(str(error))}") from None


def _check(options: argparse.Namespace) -> int:
    config = load_config(options.config)
    bundle = PolicyStore().open_active() if options.bundle is None else open_bundle(options.bundle)
    check_fit(bundle, config)
    print(describe_bundle(bundle))
    print(f"  standby here:  {_standby_here(bundle, config).text}")
    _replay_capture(bundle)
    for note in notes_of_fit(bundle, config):
        print(f"  note: {note}")
    return 0


def _standby_here(bundle: Bundle, config: Config) -> StandbyChoice:
    """What gaitd run would decide on this machine."""
    backends = backends_to_try(config.daemon.backend, bundle)
    return choose_standby(
        config, bundle, backends, has_onnx=has_onnxruntime(), memory_bytes=available_bytes()
    )


def _replay_capture(bundle: Bundle) -> None:
    """Ask the float model what the capture asked it. Raises InputError when it answers something else."""
    if bundle.captured_states() is None or not bundle.has_models("onnx"):
        return
    try:
        backend = open_backend("onnx", bundle)
    except BackendError as error:
        print(f"  note: the captured actions are not compared: {error}")
        return
    try:
        result = run_selftest(backend, bundle, golden_tolerance("onnx", bundle))
    finally:
        backend.close()
    print(f"  replayed:      model.onnx answers all {result.count} captured observations as captured")


def _config(options: argparse.Namespace) -> int:
    from gaitd.system.config_doc import documented

    if options.config is None:
        print(documented(load_config(None)), end="")
    else:
        load_config(options.config)
        print(f"{options.config}: good")
    return 0


if __name__ == "__main__":
    sys.exit(main())
