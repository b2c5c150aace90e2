"""gaitctl install, list, activate, rollback, remove: which policy runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from gaitd.bundle.read import open_bundle
from gaitd.bundle.store import DEFAULT_ROOT, SHORT_ID, PolicyStore, StoredPolicy
from gaitd.ctl import service
from gaitd.ctl.robot import refuse_while_walking
from gaitd.errors import GateError, InputError


def add_parsers(commands: Any) -> None:
    """Add this module's commands to gaitctl."""

    def command(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = commands.add_parser(name, help=text)
        parser.add_argument("--store", type=Path, default=DEFAULT_ROOT, help="/var/lib/gaitd")
        parser.set_defaults(command=run)
        return parser

    install = command("install", _install, "verify a bundle and keep it on this robot")
    install.add_argument("bundle", type=Path)
    install.add_argument("--activate", action="store_true", help="and run it")
    command("list", _list, "the policies on this robot")
    activate = command("activate", _activate, "run an installed policy; back to the old one if it fails")
    activate.add_argument("id", help="the beginning of its id, as gaitctl list shows it")
    rollback = command("rollback", _rollback, "run the policy that ran before")
    for switching in (install, activate, rollback):
        switching.add_argument("--no-restart", action="store_true", help="only from gaitd's next start on")
    remove = command("remove", _remove, "delete a policy that is neither active nor previous")
    remove.add_argument("id")


def _install(options: argparse.Namespace) -> int:
    store = PolicyStore(options.store)
    bundle = store.install(options.bundle)
    name = f"{bundle.manifest.name} {bundle.manifest.version}"
    print(f"installed {bundle.policy_id}  {name}")
    if options.activate:
        return _switch(store, store.find(bundle.id), options)
    print(f"to run it: gaitctl activate {bundle.policy_id}")
    return 0


def _list(options: argparse.Namespace) -> int:
    for policy in PolicyStore(options.store).policies():
        mark = "active" if policy.active else "previous" if policy.previous else ""
        try:
            manifest = open_bundle(policy.path).manifest
            text = f"{manifest.name} {manifest.version}"
        except InputError as error:
            text = f"DAMAGED: {error}"
        print(f"{policy.id[:SHORT_ID]}  {mark:8}  {text}")
    return 0


def _activate(options: argparse.Namespace) -> int:
    store = PolicyStore(options.store)
    return _switch(store, store.find(options.id), options)


def _rollback(options: argparse.Namespace) -> int:
    store = PolicyStore(options.store)
    return _switch(store, store.rollback_target(), options)


def _remove(options: argparse.Namespace) -> int:
    store = PolicyStore(options.store)
    policy = store.find(options.id)
    store.remove(policy)
    print(f"removed {policy.id[:SHORT_ID]}")
    return 0


def _switch(store: PolicyStore, policy: StoredPolicy, options: argparse.Namespace) -> int:
    """Activate and, where gaitd runs as a service, start it on the new policy or return to the old one."""
    before = store.links()
    short = policy.id[:SHORT_ID]
    if options.no_restart or not service.is_wanted():
        store.activate(policy)
        print(f"active {short}, from gaitd's next start on: sudo systemctl restart gaitd")
        return 0
    refuse_while_walking(options.runtime_dir, "a restart would drop the robot into damping")
    store.activate(policy)
    failure = service.restart()
    if not failure:
        print(f"active {short}, and gaitd is ready with it")
        return 0
    if before.active in ("", policy.id):
        raise GateError(f"gaitd did not become ready with policy {short}: {failure}")
    store.restore(before)
    back = service.restart()
    now = f"not ready with the old one either: {back}" if back else f"again on {before.active[:SHORT_ID]}"
    raise GateError(f"gaitd did not become ready with policy {short}: {failure}; gaitd is {now}")
