"""gaitctl install, list, activate, rollback, remove: which policy runs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gaitd.bundle.fit import check_fit
from gaitd.bundle.read import Bundle, open_bundle
from gaitd.bundle.store import DEFAULT_ROOT, SHORT_ID, PolicyStore, Selection
from gaitd.bundle.store_change import StoreChange, change_store
from gaitd.bundle.together import check_together
from gaitd.ctl import robot, service
from gaitd.ctl.client import read_status
from gaitd.errors import GateError, InputError
from gaitd.system.command_line import confirm, tell
from gaitd.system.signals import undisturbed

RESTARTS = "a restart would drop the robot into damping"
CHANGES = "whatever starts gaitd again would find another policy"
FROM_NEXT_START = "add --force, or --no-restart for gaitd's next start"


def add_parsers(commands: Any) -> None:
    """Add this module's commands to gaitctl."""

    def command(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = commands.add_parser(name, help=text)
        parser.add_argument(
            "--store", type=Path, default=DEFAULT_ROOT, help="where policies are kept (default: %(default)s)"
        )
        parser.set_defaults(command=run)
        return parser

    install = command("install", _install, "verify a bundle and keep it on this robot")
    install.add_argument("bundle", type=Path, help="the policy: a directory or .gaitd file")
    install.add_argument("--activate", action="store_true", help="and run it")
    command("list", _list, "the policies on this robot")
    activate = command("activate", _activate, "run installed policies; back to the old ones if that fails")
    activate.add_argument(
        "id",
        nargs="+",
        help="the beginning of its id, as gaitctl list shows it; a session begins with the first one and may "
        "change to those behind it (gaitctl switch)",
    )
    rollback = command("rollback", _rollback, "run the policy that ran before")
    for switching in (install, activate, rollback):
        robot.add_config_option(switching)
        switching.add_argument("--no-restart", action="store_true", help="only from gaitd's next start on")
        robot.add_force_option(switching)
    remove = command("remove", _remove, "delete a policy that is neither active nor previous")
    remove.add_argument("id", help="the beginning of its id")


def _install(options: argparse.Namespace) -> int:
    bundle = open_bundle(options.bundle)
    check_fit(bundle, robot.read_config(options))
    with change_store(PolicyStore(options.store)) as change:
        change.install(bundle)
    _print_notes(change)
    confirm(f"installed {bundle.policy_id}  {bundle.manifest.name} {bundle.manifest.version}")
    if options.activate:
        return _switch([bundle.id], options)
    confirm(f"to run it: gaitctl activate {bundle.policy_id}")
    return 0


def _list(options: argparse.Namespace) -> int:
    store = PolicyStore(options.store)
    policies = store.policies()
    if not policies:
        tell(f"gaitctl: note: {store.root}: no policy is installed; sudo gaitctl install BUNDLE")
    for policy in policies:
        mark = "active" if policy.active else "beside" if policy.beside else ""
        mark = mark or ("previous" if policy.previous or policy.previous_beside else "")
        try:
            manifest = store.open(policy.id).manifest
            text = f"{manifest.name} {manifest.version}"
        except InputError as error:
            text = f"DAMAGED: {error}"
        print(f"{policy.id[:SHORT_ID]}  {mark:8}  {text}")
    return 0


def _activate(options: argparse.Namespace) -> int:
    return _switch(options.id, options)


def _rollback(options: argparse.Namespace) -> int:
    return _switch(None, options)


def _remove(options: argparse.Namespace) -> int:
    with change_store(PolicyStore(options.store)) as change:
        removed = change.remove(options.id)
    _print_notes(change)
    confirm(f"removed {removed[:SHORT_ID]}")
    return 0


def _switch(wanted: list[str] | None, options: argparse.Namespace) -> int:
    """Activate policies, None for those before, and see gaitd run them."""
    store = PolicyStore(options.store)
    with change_store(store) as change:
        policies = store.rollback_target() if wanted is None else [store.find(each) for each in wanted]
        ids = [policy.id for policy in policies]
        config, bundles = robot.read_config(options), [store.open(each) for each in ids]
        for bundle in bundles:
            check_fit(bundle, config)
        check_together(bundles, config)
        _note_same_names(bundles)
        restarts = not options.no_restart and service.is_wanted()
        if not options.no_restart:
            robot.refuse_while_walking(options, RESTARTS if restarts else CHANGES, FROM_NEXT_START)
        if not restarts:
            change.activate(*ids)
            then = "from gaitd's next start on: sudo systemctl restart gaitd"
        else:
            with undisturbed():
                _restart_with(change, store.selection(), ids)
            then = "and gaitd is ready with it"
            worker = (read_status(options.runtime_dir) or {}).get("worker", {})
            if worker.get("fallback"):
                then += f", ON THE CPU: {worker['fallback']}"
    _print_notes(change)
    first, *beside = (each[:SHORT_ID] for each in ids)
    with_them = f", beside it {', '.join(beside)}" if beside else ""
    confirm(f"active {first}{with_them}, {then}")
    return 0


def _note_same_names(bundles: Sequence[Bundle]) -> None:
    """Two versions of one policy, say; by its name a session could not change to either."""
    names = [bundle.manifest.name for bundle in bundles]
    for name in dict.fromkeys(names):
        ids = [bundle.policy_id for bundle in bundles if bundle.manifest.name == name]
        if len(ids) > 1:
            tell(
                f"gaitctl: note: {len(ids)} of these policies are called {name}: change between them by id, "
                f'gaitctl switch {ids[1][:6]} and select("{ids[1][:6]}")'
            )


def _restart_with(change: StoreChange, before: Selection, ids: list[str]) -> None:
    """Start the service on the policies, else on those before. Raises GateError if it did not start."""
    change.activate(*ids)
    failure = service.restart()
    if not failure:
        return
    failed = f"gaitd did not become ready with policy {ids[0][:SHORT_ID]}: {failure}"
    if before.active == "" or [before.active, *before.beside] == ids:
        raise GateError(failed)
    change.select(before)
    back = service.restart()
    now = f"not ready with the old one either: {back}" if back else f"again on {before.active[:SHORT_ID]}"
    raise GateError(f"{failed}; gaitd is {now}")


def _print_notes(change: StoreChange) -> None:
    for note in change.notes:
        tell(f"gaitctl: note: {note}")
