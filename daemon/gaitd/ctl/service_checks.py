"""gaitctl doctor: configuration, active policy, and the running gaitd itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gaitd.bundle.fit import check_fit
from gaitd.bundle.read import Bundle
from gaitd.ctl.check import Check, fail, ok, warn
from gaitd.errors import InputError
from gaitd.system.config import Config


def check_policy(bundle: Bundle | None, error: str, config: Config) -> Check:
    """The active policy, opened, or why it cannot be; and whether the configuration lets it run."""
    if bundle is None:
        return fail("policy", error, "sudo gaitctl install BUNDLE --activate")
    try:
        check_fit(bundle, config)
    except InputError as refusal:
        return fail("policy", str(refusal), "gaitd does not start with it; sudo gaitctl rollback")
    manifest = bundle.manifest
    return ok("policy", f"{manifest.name} {manifest.version} ({bundle.policy_id}), every file verified")


def check_npu_memory(bundle: Bundle | None, status: dict[str, Any] | None) -> Iterator[Check]:
    """What the active policy takes of the NPU's memory, where its manifest bounds that."""
    bound_kib = None if bundle is None else bundle.manifest.npu_memory_kib
    if bundle is None or bound_kib is None:
        return
    runs = status is not None and status["policy"]["id"] == bundle.policy_id
    memory = status["worker"]["npu_memory_bytes"] if status is not None and runs else {}
    if not memory:
        found = f"at most {bound_kib:g} KiB, not measured: no gaitd runs the policy on the NPU here"
        yield warn("NPU memory", found, "gaitctl selftest --backend rknn measures it, and refuses more")
        return
    taken_kib = (memory["weights"] + memory["internal"]) / 1024
    found = f"{taken_kib:.1f} of {bound_kib:g} KiB"
    if taken_kib > bound_kib:
        yield fail("NPU memory", found, "install a smaller policy, or one with a larger npu_memory_kib")
    else:
        yield ok("NPU memory", found)


def check_service(status: dict[str, Any] | None, npu_is_well: bool = False) -> Iterator[Check]:
    """The running gaitd; ``status`` is its own answer, None when none came.

    What it could not get at its start counts, not what a unit file promises. ``npu_is_well``: as it is now.
    """
    if status is None:
        fix = "sudo systemctl enable --now gaitd; journalctl -u gaitd says why if it does not start"
        yield fail("gaitd", "does not answer", fix)
        return
    worker = status["worker"]
    text = f"{status['mode']}, worker {'ready' if worker['ready'] else 'not ready'} on {worker['backend']}"
    if not worker["ready"]:
        yield fail("gaitd", text, "journalctl -u gaitd -n 20")
    elif worker.get("fallback"):
        fix = "remove the cause, which the findings above name; then sudo systemctl restart gaitd"
        if npu_is_well:
            fix = (
                "if the NPU's node came only after gaitd had started, its module is loaded late: "
                "echo rknpu | sudo tee /etc/modules-load.d/rknpu.conf; then sudo systemctl restart gaitd, "
                "and gaitctl selftest --backend rknn says whether the NPU works"
            )
        yield warn("gaitd", f"{text}, on the CPU because {worker['fallback']}", fix)
    elif worker["starts"] > 1:
        text += f", started {worker['starts']} times"
        yield warn("gaitd", text, "journalctl -u gaitd --grep='worker died' says why")
    else:
        yield ok("gaitd", text)
    missing = {
        f"{name} of the {process}": detail
        for process, settings in status["missing_realtime"].items()
        for name, detail in settings.items()
    }
    if not missing:
        yield ok("real time", "priority, cores and memory lock are as configured")
    for name, detail in missing.items():
        found, _, fix = detail.partition("; ")
        yield warn("real time", f"no {name}: {found}", fix)
