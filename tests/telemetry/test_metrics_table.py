"""The table of metrics in the documentation is what the endpoint has, and the numbers in them are right."""

from __future__ import annotations

import os
import re
from collections import deque
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from gaitd.bundle.read import Bundle, open_bundle
from gaitd.shared.encoder_memory import EncoderMemory
from gaitd.shared.launch import Beside, TelemetryLaunch
from gaitd.shared.memory import create_memory
from gaitd.shared.processes import WORKERS
from gaitd.shared.telemetry_memory import TelemetryMemory
from gaitd.shared.worker_memory import WorkerMemory
from gaitd.system.config import Metrics, Recorder
from gaitd.telemetry.encoder_metrics import EncoderCollector
from gaitd.telemetry.headroom import Headroom
from gaitd.telemetry.machine_metrics import MachineCollector
from gaitd.telemetry.metrics import LabelledRegistry, MemoryCollector, StepHistograms
from gaitd.telemetry.npu import NpuCollector
from gaitd.telemetry.shadow_desk import ShadowDesk
from gaitd.telemetry.shadow_metrics import ShadowCollector
from support.bundles import contract, small_manifest, write_small_bundle
from support.daemon import samples
from support.shadows import REPORT
from support.tape import Tape, walking

TABLE = Path(__file__).parents[2] / "docs/metrics.md"
CONSTANT = {"robot", "policy"}
WORKER, GUARDIAN = os.getpid(), 1
"""Processes that there are: the memory of the one is asked of the kernel."""


@pytest.fixture(scope="module")
def limited_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A policy with every kind of limit."""
    manifest = small_manifest()
    manifest["limits"] |= {
        "slew": {"max_rad_per_step": 0.5},
        "torque": {"max_nm": 40.0},
        "posture": {"max_tilt_rad": 1.0, "max_start_error_rad": 2.0},
    }
    return open_bundle(write_small_bundle(tmp_path_factory.mktemp("limited") / "small.gaitd", manifest))


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """The files of a board with an NPU, a fan and two thermal zones."""
    files = {
        "sys/class/devfreq/fdab0000.npu/cur_freq": "1000000000",
        "sys/class/devfreq/fdab0000.npu/max_freq": "1000000000",
        "proc/rknpu/load": "NPU load:  Core0: 12%, Core1:  0%, Core2:  0%,",
        "sys/class/thermal/thermal_zone0/temp": "61234",
        "sys/class/thermal/thermal_zone0/type": "soc-thermal",
        "sys/class/thermal/thermal_zone1/temp": "59000",
        "sys/class/thermal/thermal_zone1/type": "npu-thermal",
        "sys/class/thermal/cooling_device0/type": "pwm-fan",
        "sys/class/thermal/cooling_device0/cur_state": "2",
        "sys/class/thermal/cooling_device0/max_state": "4",
    }
    status = "VmRSS:\t  70000 kB\nvoluntary_ctxt_switches:\t{}\nnonvoluntary_ctxt_switches:\t{}\n"
    stat = "{0} (gaitd) w) S 1 1 1 0 -1 4194304 100 0 {1} 0 10 10 0 0"
    for pid, waits, preemptions, faults in ((GUARDIAN, 500, 3, 0), (WORKER, 900, 7, 2)):
        files[f"proc/{pid}/task/{pid}/status"] = status.format(waits, preemptions)
        files[f"proc/{pid}/task/{pid}/stat"] = stat.format(pid, faults)
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return tmp_path


def registry_of(tape: Tape, root: Path) -> LabelledRegistry:
    """All that telemetry serves, over the memory of a walk."""
    manifest = tape.bundle.manifest
    launch = TelemetryLaunch(
        guard_memory_fd=-1,
        worker_memory_fds=[],
        slots=(0, 1, 2),
        telemetry_memory_fd=-1,
        manifest_fd=create_memory("manifest", 5, b"small"),
        metrics=Metrics(),
        recorder=Recorder(directory="/recordings"),
        period_s=manifest.control_period_s,
        deadline_s=5 * manifest.control_period_s,
        state_max_age_s=2 * manifest.control_period_s,
        policy={"id": tape.bundle.policy_id, "name": manifest.name, "version": manifest.version},
        beside=[Beside(policy={"id": "b" * 16, "name": "trot", "version": "1.0.0"}, manifest_fd=-1)],
        streams={0: ["height"]},
        backends=["onnx"],
        bundle="small.gaitd",
        joints=manifest.joints,
        runtime_dir=os.fsencode(root),
        hot_cpus=[],
    )
    for slot in range(len(WORKERS)):
        tape.guard.words.row("worker_pid")[slot] = WORKER
    registry = CollectorRegistry()
    headroom = Headroom([manifest, manifest], launch.deadline_s)
    histograms = StepHistograms(registry, launch.period_s)
    registry.register(headroom)
    workers = [tape.memory, *(WorkerMemory.create(*tape.memory.shape) for _ in range(2))]
    progress = TelemetryMemory.create(len(manifest.joints)).words
    registry.register(MemoryCollector(tape.guard, workers, progress, launch))
    registry.register(NpuCollector(root))
    registry.register(MachineCollector(tape.guard.words, GUARDIAN, root))
    desk = ShadowDesk(launch, deque())
    desk.report = REPORT
    registry.register(ShadowCollector(desk))
    registry.register(EncoderCollector({"latent": EncoderMemory.create().fd}))
    histograms.feed(tape.memory.steps, 0, headroom.feed)
    return LabelledRegistry(registry, {"robot": manifest.robot, "policy": manifest.name})


def rows_of(registry: LabelledRegistry) -> list[tuple[str, str, str, str]]:
    rows = []
    for family in registry.collect():
        suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
        names = {sample.name for sample in family.samples}
        labels = {label for sample in family.samples for label in sample.labels} - CONSTANT - {"le"}
        assert names, f"{family.name} has no sample on a whole board"
        rows.append((family.name + suffix, family.type, ", ".join(sorted(labels)), family.documentation))
    return rows


def test_the_table_is_what_the_endpoint_has(limited_bundle: Bundle, board: Path) -> None:
    with walking(limited_bundle, 30) as tape:
        rows = rows_of(registry_of(tape, board))
    lines = [f"| `{name}` | {kind} | {labels or '-'} | {text} |" for name, kind, labels, text in sorted(rows)]
    written = [line for line in TABLE.read_text().splitlines() if line.startswith("| `gaitd_")]
    assert written == lines


def test_nothing_else_is_on_the_page(limited_bundle: Bundle, board: Path) -> None:
    with walking(limited_bundle, 30) as tape:
        page = generate_latest(registry_of(tape, board)).decode()
    families = set(re.findall(r"^# TYPE (\S+)", page, re.M))
    described = set(re.findall(r"^\| `(gaitd_\w+)`", TABLE.read_text(), re.M))
    assert families == described
    assert 'reason="none"' not in page
    bounds = set(re.findall(r'[{,]le="([^"]+)"', page))
    assert "0.018" in bounds
    assert max(map(len, bounds)) <= 8, "as people write them"


def test_every_sample_tells_robot_and_policy(limited_bundle: Bundle, board: Path) -> None:
    with walking(limited_bundle, 30) as tape:
        page = generate_latest(registry_of(tape, board)).decode()
    for line in page.splitlines():
        assert line.startswith("#") or re.search(r'policy="small"', line), line
        assert line.startswith("#") or 'robot="tripod"' in line, line


def test_the_machine_is_read_as_it_is(limited_bundle: Bundle, board: Path) -> None:
    with walking(limited_bundle, 30) as tape:
        found = samples(generate_latest(registry_of(tape, board)).decode())
    assert found['gaitd_temperature_celsius{zone="soc-thermal"}'] == 61.234
    assert found['gaitd_cooling_ratio{device="pwm-fan"}'] == 0.5
    assert found['gaitd_thread_preemptions_total{process="worker"}'] == 7
    assert found['gaitd_thread_waits_total{process="guardian"}'] == 500
    assert found['gaitd_thread_page_faults_total{process="worker"}'] == 2
    assert found['gaitd_npu_load_ratio{core="0"}'] == 0.12
    assert found["gaitd_recorder_steps"] == 6000


def test_how_near_each_limit_is(limited_bundle: Bundle, board: Path) -> None:
    def headroom(tape: Tape) -> dict[str, float]:
        found = samples(generate_latest(registry_of(tape, board)).decode())
        part = re.compile(r'gaitd_limit_headroom_ratio\{limit="(\w+)"\}')
        return {match[1]: value for name, value in found.items() if (match := part.fullmatch(name))}

    with walking(limited_bundle, 50) as tape:
        calm = headroom(tape)
        assert set(calm) == {"position", "slew", "torque", "joint_velocity", "tilt", "deadline"}
        assert calm["tilt"] == 1.0
        assert calm["deadline"] > 0.95
        tape.transport_ns = 20_000_000
        tape.step(orientation=np.array([np.cos(0.25), np.sin(0.25), 0, 0], np.float32))
        tape.step(joint_velocity=np.array([0, 40, 0], np.float32))
        strained = headroom(tape)
    assert strained["tilt"] == pytest.approx(0.5, abs=1e-3)
    assert strained["joint_velocity"] == pytest.approx(0.2, abs=1e-3)
    assert strained["deadline"] == pytest.approx(1 - 20.8 / 60, abs=0.01)
    assert strained["position"] <= calm["position"] < 1.0


def test_which_policy_walks_is_told(limited_bundle: Bundle, board: Path) -> None:
    with walking(limited_bundle, 30) as tape:
        for mode, holder, expected in ((1, 0, [1, 0]), (1, 1, [1, 0]), (1, 2, [0, 1]), (2, 2, [0, 0])):
            words = tape.guard.words
            words["mode"], words["holder"] = mode, holder
            found = samples(generate_latest(registry_of(tape, board)).decode())
            walks = {name: value for name, value in found.items() if name.startswith("gaitd_policy_walks")}
            assert list(walks.values()) == expected
            assert 'number="1"' in list(walks)[1]
            assert 'name="trot"' in list(walks)[1]


def test_each_policy_has_its_own_limits(limited_bundle: Bundle) -> None:
    """And what one of them did before and after another one had the session is no motion of its own."""
    wide = small_manifest()
    wide["limits"] |= {"slew": {"max_rad_per_step": 2.0}}
    headroom = Headroom([limited_bundle.manifest, contract(wide)], 0.06)
    with walking(limited_bundle, 50) as tape:
        records = tape.memory.steps.read_since(0)[0].copy()
    records["target"] = 0.5
    records["target"][::2, 0] += 0.4
    for policy, expected in ((1, 1 - 0.4 / 2.0), (0, 1 - 0.4 / 0.5)):
        headroom.feed(records, policy)
        assert headroom.least()["slew"] == pytest.approx(expected, abs=1e-6)
    headroom = Headroom([limited_bundle.manifest], 0.06)
    apart = records[:2].copy()
    apart["epoch"][1] += 2
    headroom.feed(apart)
    assert "slew" not in headroom.least()
