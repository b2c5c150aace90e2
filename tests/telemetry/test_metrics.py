"""What a Prometheus server sees of a running gaitd, and that nothing here touches the walk."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

import gaitd as package
from gaitd.policy.limits import LIMIT_NAMES
from gaitd.telemetry.metrics import ACTION_CAUSES, REASONS, STATE_CAUSES
from gaitd.wire.generated import Mode, Reason
from support.controller import Controller
from support.daemon import PATIENT, Gaitd, ask_metrics, samples, scrape, wait_until

HISTOGRAMS = (
    "gaitd_command_age_seconds",
    "gaitd_state_transport_seconds",
    "gaitd_inference_seconds",
    "gaitd_step_interval_seconds",
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def on_port(port: int) -> str:
    return f"{PATIENT}[metrics]\nport = {port}\n"


def walking(daemon: Gaitd) -> Controller:
    controller = daemon.controller()
    controller.activate()
    wait_until(lambda: any(controller.walk(3)), what="the first command")
    return controller


def test_a_scrape_over_tcp_shows_the_walk(small_bundle_path: Path) -> None:
    port = free_port()
    with Gaitd(small_bundle_path, config=on_port(port)) as daemon:
        daemon.wait_ready()
        controller = walking(daemon)
        controller.walk(40)
        steps = daemon.status()["counters"]["steps"]
        assert steps >= 30

        def fed() -> dict[str, float] | None:
            controller.step()
            metrics = samples(scrape(port))
            complete = metrics["gaitd_command_age_seconds_count"] >= steps
            return metrics if complete and metrics['gaitd_mode{mode="active"}'] == 1 else None

        metrics = wait_until(fed, what="histograms of all steps")
        assert metrics is not None
        info = {
            "backend": "onnx",
            "policy": "small",
            "policy_id": controller.contract["policies"][0]["id"],
            "policy_version": "1.0.0",
            "version": package.__version__,
        }
        info_line = next(name for name in metrics if name.startswith("gaitd_info{"))
        for label, value in info.items():
            assert f'{label}="{value}"' in info_line
        assert steps <= metrics["gaitd_steps_total"] <= daemon.status()["counters"]["steps"]
        assert metrics['gaitd_mode{mode="idle"}'] == metrics['gaitd_mode{mode="damping"}'] == 0
        assert metrics["gaitd_worker_ready"] == 1
        assert metrics["gaitd_worker_starts_total"] == 1
        for name in HISTOGRAMS:
            mean_s = metrics[f"{name}_sum"] / metrics[f"{name}_count"]
            assert 0 < mean_s < 0.2, name
            assert metrics[f'{name}_bucket{{le="+Inf"}}'] == metrics[f"{name}_count"]
            assert (
                metrics[f'{name}_bucket{{le="0.012"}}'] <= metrics[f"{name}_count"]
            )  # a bucket at the period
        assert metrics["gaitd_command_age_seconds_sum"] > metrics["gaitd_inference_seconds_sum"]
        for family, label, members in (
            ("gaitd_states_refused_total", "why", STATE_CAUSES),
            ("gaitd_actions_rejected_total", "why", ACTION_CAUSES),
            ("gaitd_damping_total", "reason", REASONS),
        ):
            for member in members:
                assert f'{family}{{{label}="{member.name.lower()}"}}' in metrics
        for limit in LIMIT_NAMES:
            assert f'gaitd_joints_clamped_total{{limit="{limit}"}}' in metrics


def test_damping_is_counted_by_reason_and_the_mode_follows(small_bundle_path: Path) -> None:
    with Gaitd(small_bundle_path, config=PATIENT) as daemon:
        daemon.wait_ready()
        controller = walking(daemon)
        controller.control.demand("damp", session=0, reason=int(Reason.OPERATOR))
        metrics = daemon.metrics()
        assert metrics['gaitd_damping_total{reason="operator"}'] == 1
        assert metrics['gaitd_mode{mode="damping"}'] == 1
        controller.control.demand("release", session=controller.session)
        assert daemon.metrics()['gaitd_mode{mode="idle"}'] == 1
        assert sum(value for name, value in daemon.metrics().items() if name.startswith("gaitd_damping")) == 1


def test_a_port_that_is_taken_leaves_the_daemon_walking(small_bundle_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with Gaitd(small_bundle_path, config=on_port(port)) as daemon:
            daemon.wait_ready()
            controller = walking(daemon)
            wait_until(
                lambda: controller.step() and f"127.0.0.1:{port}" in daemon.log, 20.0, "a word about the port"
            )
            assert "set metrics.address and metrics.port in gaitd.toml" in daemon.log
            assert "Traceback" not in daemon.log
            answers = controller.walk(20)
            assert {answer.mode for answer in answers if answer is not None} == {Mode.ACTIVE}
            assert daemon.status()["mode"] == "active"
            pid = daemon.status()["telemetry_pid"]
            taken.close()
            wait_until(lambda: controller.step() and _connects(port), 20.0, "the metrics, now that they may")
            assert daemon.status()["telemetry_pid"] == pid != 0


def test_telemetry_may_die_and_comes_back(small_bundle_path: Path) -> None:
    with Gaitd(small_bundle_path, config=PATIENT) as daemon:
        daemon.wait_ready()
        controller = walking(daemon)
        daemon.metrics()
        pid = daemon.status()["telemetry_pid"]
        os.kill(pid, signal.SIGKILL)
        answers = controller.walk(10)
        assert {answer.mode for answer in answers if answer is not None} == {Mode.ACTIVE}
        wait_until(lambda: daemon.status()["telemetry_pid"] not in (0, pid), what="a new telemetry process")

        def back() -> bool:
            controller.step()
            try:
                return daemon.metrics()["gaitd_steps_total"] > 0
            except ConnectionError:
                return False

        wait_until(back, 20.0, "metrics again")


def test_without_metrics_there_is_no_process(small_bundle_path: Path) -> None:
    with Gaitd(small_bundle_path, "--metrics-port", "0", config=PATIENT) as daemon:
        daemon.wait_ready()
        walking(daemon)
        assert daemon.status()["telemetry_pid"] == 0


@pytest.mark.parametrize("request_bytes", [b"", b"junk\r\n\r\n", b"GET /metrics HTTP/1.1\r\nHost: x"])
def test_a_reader_that_stalls_or_talks_nonsense_does_not_touch_the_walk(
    small_bundle_path: Path, request_bytes: bytes
) -> None:
    port = free_port()
    with Gaitd(small_bundle_path, config=on_port(port)) as daemon:
        daemon.wait_ready()
        controller = walking(daemon)
        wait_until(lambda: controller.step() and _connects(port), 20.0, "the metrics port")
        readers = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]
        for reader in readers:
            reader.sendall(request_bytes)
        answers = controller.walk(20)
        assert {answer.mode for answer in answers if answer is not None} == {Mode.ACTIVE}
        assert samples(scrape(port))["gaitd_steps_total"] > 0
        for reader in readers:
            reader.close()


@pytest.mark.parametrize("kind", ["TCP", "Unix socket"])
def test_metrics_can_only_be_read(small_bundle_path: Path, kind: str) -> None:
    port = free_port()
    with Gaitd(small_bundle_path, config=on_port(port) if kind == "TCP" else PATIENT) as daemon:
        daemon.wait_ready()
        controller = walking(daemon)
        controller.walk(10)
        controller.control.demand("release", session=controller.session)
        address: Path | int = port if kind == "TCP" else daemon.metrics_socket
        wait_until(lambda: _serves(address), 20.0, "the metrics")

        def counts() -> dict[str, float]:
            """What gaitd counts; the kernel's counters of its threads go on by themselves."""
            found = samples(scrape(address))
            ours = {name for name in found if not name.startswith("gaitd_thread_")}
            return {name: found[name] for name in ours if "_total" in name}

        before = counts()
        assert before["gaitd_steps_total"] > 0
        for method in ("POST", "PUT", "DELETE", "PATCH", "NONSENSE"):
            assert ask_metrics(address, method)[0] == 405, method
        assert counts() == before


def test_metrics_are_on_loopback_unless_told(small_bundle_path: Path) -> None:
    port = free_port()
    with Gaitd(small_bundle_path, config=on_port(port)) as daemon:
        daemon.wait_ready()
        wait_until(lambda: _serves(port), 20.0, "the metrics port")
        assert _listeners(port) == ["127.0.0.1"]


def _listeners(port: int) -> list[str]:
    """The addresses on which somebody on this machine listens at that port."""
    found = []
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        path = Path("/proc/net") / table
        for line in path.read_text().splitlines()[1:] if path.exists() else []:
            _, local, _, state, *_ = line.split()
            address, _, local_port = local.partition(":")
            if state == "0A" and int(local_port, 16) == port:
                words = (bytes.fromhex(address[i : i + 8])[::-1] for i in range(0, len(address), 8))
                found.append(socket.inet_ntop(family, b"".join(words)))
    return found


def _serves(address: Path | int) -> bool:
    try:
        return scrape(address) != ""
    except OSError:
        return False


def _connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
