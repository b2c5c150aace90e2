"""gaitctl doctor on a fake system, each time with one defect."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gaitd.bundle.read import open_bundle
from gaitd.bundle.store import PolicyStore
from gaitd.bundle.store_change import change_store
from gaitd.ctl.check import Check, Level, System, cpu_list
from gaitd.ctl.cli import main
from gaitd.ctl.doctor import examine
from gaitd.ctl.service_checks import check_npu_memory, check_service
from support.bundles import small_manifest, write_small_bundle
from support.fake_system import FakeSystem

CPU = "/sys/devices/system/cpu"
NPU = "/sys/class/devfreq/fdab0000.npu"


@pytest.fixture
def fake(tmp_path: Path) -> FakeSystem:
    fake = FakeSystem(tmp_path / "root")
    store = PolicyStore(fake.store)
    bundle = open_bundle(write_small_bundle(tmp_path / "small.gaitd"))
    with change_store(store) as change:
        change.install(bundle)
        change.activate(bundle.id)
    return fake


def look(fake: FakeSystem, kernel_log: str = "") -> list[Check]:
    return examine(System(fake.root, lambda: kernel_log), None, fake.root / "run")


def one(checks: list[Check], name: str) -> Check:
    return next(check for check in checks if check.name == name)


def test_a_healthy_board_without_gaitd_running(fake: FakeSystem) -> None:
    checks = look(fake)
    bad = {check.name: check.level for check in checks if check.level is not Level.OK}
    # The device of the sleep states is of the group gaitd, which a test machine does not have.
    assert bad == {"sleep states": Level.WARN, "gaitd": Level.FAIL}
    assert "small 1.0.0" in one(checks, "policy").found
    assert "2.3.2" in one(checks, "NPU runtime").found
    assert one(checks, "NPU driver").found == "0.9.8"


Defect = Callable[[FakeSystem], None]


def writes(name: str, text: str) -> Defect:
    return lambda fake: fake.write(name, text)


def removes(name: str) -> Defect:
    return lambda fake: fake.remove(name)


def locks(name: str) -> Defect:
    return lambda fake: (fake.root / name.lstrip("/")).chmod(0o600)


@pytest.mark.parametrize(
    ("name", "break_it", "level", "found"),
    [
        ("config", writes("/etc/gaitd/gaitd.toml", "[daemon]\nspeed = 3"), Level.FAIL, "speed"),
        ("policy", removes("/var/lib/gaitd/selection.json"), Level.FAIL, "no policy is active"),
        (
            "config",
            writes("/etc/gaitd/gaitd.toml", "[daemon]\nrehearsal = true"),
            Level.WARN,
            "not for walking",
        ),
        (
            "policy",
            writes("/etc/gaitd/gaitd.toml", "[guard]\nfallback_damping_min_nms_per_rad = 2.6"),
            Level.FAIL,
            "joint 'hip' has 2.5",
        ),
        ("chip", writes("/proc/device-tree/compatible", "raspberrypi,5\0"), Level.WARN, "no RK3588"),
        ("NPU node", removes("/dev/dri/renderD129"), Level.FAIL, "No such file"),
        ("NPU node", locks("/dev/dri/renderD129"), Level.FAIL, "may not open"),
        ("NPU driver", removes("/sys/kernel/debug/rknpu/version"), Level.WARN, "cannot be read"),
        ("NPU runtime", removes("/usr/lib/librknnrt.so"), Level.FAIL, "not installed"),
        ("NPU runtime", writes("/usr/lib/librknnrt.so", "something else"), Level.WARN, "no version"),
        ("NPU clock", writes(f"{NPU}/governor", "simple_ondemand"), Level.WARN, "ondemand"),
        ("cores", writes("/etc/gaitd/gaitd.toml", "[realtime]\nworker_cpus = [2]"), Level.WARN, "cpu2"),
        ("cores", writes(f"{CPU}/online", "0-5"), Level.WARN, "cpu6"),
        ("isolation", writes(f"{CPU}/isolated", "6"), Level.WARN, "share"),
        ("CPU clock", writes(f"{CPU}/cpu6/cpufreq/scaling_governor", "schedutil"), Level.WARN, "cpu6"),
        ("kernel", writes("/proc/version", "Linux version 5.10 SMP"), Level.WARN, "not preemptible"),
        ("RT budget", writes("/proc/sys/kernel/sched_rt_runtime_us", "500000"), Level.WARN, "500000"),
        ("clock", writes("/sys/devices/system/clocksource/clocksource0/current_clocksource", "jiffies"),
         Level.WARN, "jiffies"),
        ("temperature", writes("/sys/class/thermal/thermal_zone0/temp", "86000"), Level.WARN, "soc 86"),
        ("temperature", writes("/sys/class/thermal/thermal_zone0/temp", "99000"), Level.FAIL, "soc 99"),
        ("memory", writes("/proc/meminfo", "MemAvailable: 100000 kB"), Level.WARN, "97 MiB"),
        ("memory limit", writes("/sys/fs/cgroup/system.slice/gaitd.service/memory.high", "104857600"),
         Level.WARN, "gaitd.service is slowed down above 104857600 bytes"),
        ("uptime", writes("/proc/uptime", "2000000.0 1.0"), Level.WARN, "23.1 days"),
    ],
)  # fmt: skip
def test_each_defect_is_found_and_comes_with_its_fix(
    fake: FakeSystem, name: str, break_it: Defect, level: Level, found: str
) -> None:
    assert one(look(fake), name).level is Level.OK
    break_it(fake)
    check = one(look(fake), name)
    assert check.level is level
    assert found in check.found
    assert check.fix


def test_without_cores_of_its_own_none_are_named_to_be_isolated(fake: FakeSystem) -> None:
    fake.write("/etc/gaitd/gaitd.toml", "[realtime]\nworker_cpus = []\nguardian_cpus = []")
    isolation = one(look(fake), "isolation")
    assert isolation.level is Level.WARN
    assert "isolcpus" not in isolation.fix


NODE = "/sys/devices/platform/fdab0000.npu"
RUNNING = ("/proc/sys/kernel/osrelease", "6.12.1-new")
DRIVER_OF_OLD = ("/boot/config-5.10.160-old", "CONFIG_ROCKCHIP_RKNPU=y\n")
MODULE = ("/lib/modules/6.12.1-new/kernel/drivers/rknpu/rknpu.ko.xz", "")


def makes_rocket(fake: FakeSystem) -> None:
    device = fake.root / "sys/class/accel/accel0/device"
    device.mkdir(parents=True)
    (device / "driver").symlink_to("../../../../bus/platform/drivers/rocket")


@pytest.mark.parametrize(
    ("changes", "found", "fix"),
    [
        ([], "kernel 6.12.1-new has no RKNPU driver", "vendor's kernel"),
        ([writes("/proc/device-tree/npu@fdab0000/status", "disabled")], "npu@fdab0000/status", "overlay"),
        ([writes("/proc/device-tree/iommu@fdab9000/status", "disabled")], "iommu@fdab9000/status", "overlay"),
        ([makes_rocket], "/dev/accel/accel0 is of mainline's rocket driver", "vendor's kernel"),
        ([writes(*MODULE)], "has the module rknpu, but it is not loaded", "modprobe rknpu"),
        ([writes("/sys/module/rknpu/refcnt", "0")], "is loaded, but made no device node", "--grep=rknpu"),
        ([writes(*DRIVER_OF_OLD)], "5.10.160-old has: an update lost it", "boot 5.10.160-old"),
        ([writes("/lib/modules/6.1.99-old/extra/rknpu.ko", "")], "6.1.99-old has", "boot 6.1.99-old"),
    ],
)
def test_a_missing_node_has_a_cause(fake: FakeSystem, changes: list[Defect], found: str, fix: str) -> None:
    shutil.rmtree(fake.root / NODE.lstrip("/"))
    fake.write(*RUNNING)
    for change in changes:
        change(fake)
    check = one(look(fake), "NPU node")
    assert check.level is Level.FAIL
    assert found in check.found
    assert fix in check.fix


def test_a_driver_without_drm_needs_the_dma_heaps(fake: FakeSystem) -> None:
    shutil.rmtree(fake.root / NODE.lstrip("/"))
    fake.write("/dev/rknpu", "")
    (fake.root / "dev/rknpu").chmod(0o666)
    check = one(look(fake), "NPU memory")
    assert (check.level, "dma_heap is missing" in check.found) == (Level.FAIL, True)
    fake.write("/dev/dma_heap/system", "")
    (fake.root / "dev/dma_heap/system").chmod(0o666)
    assert {check.level for check in look(fake) if check.name == "NPU node"} == {Level.OK}


def test_a_policy_on_the_cpu_for_want_of_the_npu_is_found() -> None:
    fallen = status(backend="onnx", fallback="rknn does not work here: rknn_init failed")
    broken = next(check_service(fallen, npu_is_well=False))
    assert (broken.level, "rknn_init failed" in broken.found) == (Level.WARN, True)
    assert "the findings above" in broken.fix
    assert "module is loaded late" in next(check_service(fallen, npu_is_well=True)).fix


def test_kernel_messages_of_the_npu_are_found(fake: FakeSystem) -> None:
    log = "usb 1-1: reset\n[  44.1] RKNPU fdab0000.npu: RKNPU: failed to wait job, task counter: 0\n"
    check = one(look(fake, log), "kernel log")
    assert check.level is Level.WARN
    assert "failed to wait job" in check.found


def status(**worker: Any) -> dict[str, Any]:
    return {
        "mode": "idle",
        "worker": {"ready": True, "starts": 1, "backend": "rknn", **worker},
        "missing_realtime": {"guardian": {}, "worker": {}},
    }


def test_a_running_gaitd_is_judged_by_what_it_got() -> None:
    assert {check.level for check in check_service(status())} == {Level.OK}
    assert next(check_service(status(ready=False))).level is Level.FAIL
    assert next(check_service(status(starts=3))).level is Level.WARN
    missing = status()
    missing["missing_realtime"]["worker"] = {
        "sched_fifo": "SCHED_FIFO 60: not permitted; allow it with LimitRTPRIO"
    }
    check = list(check_service(missing))[-1]
    assert (check.level, check.fix) == (Level.WARN, "allow it with LimitRTPRIO")


@pytest.mark.parametrize(
    ("taken_kib", "level", "found"),
    [
        (90, Level.OK, "90.0 of 100 KiB"),
        (101, Level.FAIL, "101.0 of 100 KiB"),
        (None, Level.WARN, "at most 100 KiB, not measured"),
    ],
)
def test_the_npus_memory_is_held_against_the_manifests_bound(
    tmp_path: Path, taken_kib: int | None, level: Level, found: str
) -> None:
    path = write_small_bundle(tmp_path / "a.gaitd", small_manifest(model={"npu_memory_kib": 100.0}))
    bundle = open_bundle(path)
    memory = {} if taken_kib is None else {"weights": 1024 * taken_kib - 512, "internal": 512, "dma": 9}
    answer = {**status(npu_memory_bytes=memory), "policy": {"id": bundle.policy_id}}
    (check,) = check_npu_memory(bundle, answer)
    assert (check.level, check.found.startswith(found)) == (level, True)
    (other,) = check_npu_memory(bundle, {**answer, "policy": {"id": "another"}})
    assert other.level is Level.WARN
    (alone,) = check_npu_memory(bundle, None)
    assert alone.level is Level.WARN


def test_without_a_bound_the_npus_memory_is_no_finding(small_bundle_path: Path) -> None:
    assert list(check_npu_memory(open_bundle(small_bundle_path), None)) == []
    assert list(check_npu_memory(None, None)) == []


def test_the_command_prints_every_check_and_fails_for_programs(
    fake: FakeSystem, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--runtime-dir", str(fake.root / "run"), "doctor", "--system-root", str(fake.root)]
    assert main(options) == 3
    text = capsys.readouterr().out
    assert "to fix before walking" in text
    assert main([*options, "--json"]) == 3
    checks = json.loads(capsys.readouterr().out)
    assert {check["check"] for check in checks} >= {"policy", "NPU runtime", "gaitd"}
    assert all(check["check"] in text for check in checks)


@pytest.mark.parametrize(
    ("text", "cpus"), [("", set()), ("3", {3}), ("0-2,6", {0, 1, 2, 6}), ("4-4,1", {1, 4})]
)
def test_cpu_lists(text: str, cpus: set[int]) -> None:
    assert cpu_list(text) == cpus
