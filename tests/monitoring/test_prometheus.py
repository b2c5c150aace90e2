"""Three walking gaitd under one Prometheus: each query that is written down somewhere has an answer."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gaitd.errors import GaitdError
from gaitd.telemetry.machine import cooling, temperatures
from gaitd.telemetry.npu import npu_frequencies, npu_loads
from gaitd.wire.generated import Mode
from support import dashboard
from support.controller import Controller
from support.daemon import PATIENT, Gaitd, wait_until
from support.prometheus import NOT_INSTALLED, PROMETHEUS, Prometheus, free_port

pytestmark = [
    pytest.mark.monitoring,
    pytest.mark.skipif(PROMETHEUS is None, reason=NOT_INSTALLED),
]
ROBOTS = ("lite3-01", "lite3-02", "lite3-03")
SLOW, FAILING, GETTING_SLOW = ROBOTS
"""Its model is slower than the others'; its worker is killed; it was faster a week ago, and has a standby."""
WEEK_S = 7 * 24 * 3600
OF_SEVERAL_POLICIES = {"gaitd_policy_walks"}
"""The robots here have one each."""
NOT_ON_THIS_MACHINE = {
    name
    for name, found in (
        ("gaitd_temperature_celsius", temperatures()),
        ("gaitd_cooling_ratio", cooling()),
        ("gaitd_npu_frequency_hertz", npu_frequencies(Path("/"))),
        ("gaitd_npu_frequency_max_hertz", npu_frequencies(Path("/"))),
        ("gaitd_npu_load_ratio", npu_loads(Path("/"))),
    )
    if not found
}
"""Its kernel does not tell."""


@dataclass
class Robot:
    """One gaitd, and a controller that walks in a thread of its own until the end."""

    gaitd: Gaitd
    controller: Controller
    done: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._walk, daemon=True)
        self.thread.start()

    def _walk(self) -> None:
        """Whatever ends a session, stand up again."""
        while not self.done.wait(0.1):
            with suppress(GaitdError):
                self.controller.activate()
                while not self.done.is_set() and self._answers():
                    pass

    def _answers(self) -> bool:
        answer = self.controller.step()
        return answer is None or answer.mode is Mode.ACTIVE

    def fails_over(self) -> bool:
        """Kill its worker; whether the standby went on. It may not have been ready, on a busy machine."""
        before = self.gaitd.status()
        if before["mode"] != "active" or not (before["worker"]["ready"] and before["standby"]["ready"]):
            return False
        os.kill(before["worker"]["pid"], signal.SIGKILL)

        def heard() -> dict[str, Any]:
            status = self.gaitd.status()
            return status if status["failover"] or status["session"] != before["session"] else {}

        return wait_until(heard, what="the end of the worker")["failover"] != ""

    def stop(self) -> None:
        self.done.set()
        self.thread.join(10)


def last_week() -> str:
    """What is recorded of the robots a week ago: one was faster than it is now, and two were slower."""
    lines = ["# TYPE instance:gaitd_inference_seconds:mean_1h gauge"]
    for name in ROBOTS:
        value = 1e-9 if name == GETTING_SLOW else 10.0
        labels = f'instance="{name}",robot="tripod",policy="small"'
        for minute in range(-10, 30):
            at_s = time.time() - WEEK_S + 60 * minute
            lines.append(f"instance:gaitd_inference_seconds:mean_1h{{{labels}}} {value} {at_s:.0f}")
    return "\n".join([*lines, "# EOF\n"])


@pytest.fixture(scope="module")
def prometheus(small_bundle_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """It has seen them walk, one of them end in damping, and one walk on with its standby."""
    ports = {name: free_port() for name in ROBOTS}
    robots = {}
    with ExitStack() as stack:
        for name, port in ports.items():
            recordings = tmp_path_factory.mktemp("recordings")
            config = f'{PATIENT}[metrics]\nport = {port}\n[recorder]\ndirectory = "{recordings}"\n'
            config += '[standby]\nmode = "on"\n' if name == GETTING_SLOW else ""
            gaitd = stack.enter_context(Gaitd(small_bundle_path, config=config, fault=name == SLOW))
            gaitd.wait_ready()
            if name == SLOW:
                gaitd.set_fault("slow")
            robots[name] = Robot(gaitd, gaitd.controller())
            stack.callback(robots[name].stop)
        directory = tmp_path_factory.mktemp("prometheus")
        server = stack.enter_context(Prometheus(directory, ports, last_week()))

        def walked() -> bool:
            steps = server.ask("increase(gaitd_steps_total[1m]) > 50")
            recorded = server.ask("instance:gaitd_inference_seconds:mean_1h")
            return len(steps) == len(recorded) == len(ROBOTS)

        wait_until(walked, 60.0, "the walk in Prometheus")
        os.kill(robots[FAILING].gaitd.worker_pid(), signal.SIGKILL)
        wait_until(robots[GETTING_SLOW].fails_over, 60.0, "a failover")
        for seen in ('gaitd_damping_total{reason="worker_died"} > 0', "gaitd_failovers_total > 0"):
            wait_until(lambda seen=seen: server.ask(seen), 20.0, f"{seen} in Prometheus")
        yield server


def test_it_scrapes_each_of_them_and_evaluates_every_rule(prometheus: Prometheus) -> None:
    assert {labels["instance"] for labels, value in prometheus.ask("up") if value == 1} == set(ROBOTS)
    rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
    assert len(rules) > 10
    assert [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"] == []


def test_every_sample_tells_its_robot_and_policy(prometheus: Prometheus) -> None:
    labels = prometheus.ask('count by (robot, policy) ({__name__=~"gaitd_.+"})')
    assert [found for found, _ in labels] == [{"robot": "tripod", "policy": "small"}]


@pytest.mark.parametrize(
    "query", [*dashboard.asked_by_the_documentation(), *dashboard.asked_by_the_dashboard()]
)
def test_every_query_has_an_answer(prometheus: Prometheus, query: str) -> None:
    answers = prometheus.ask(query)
    if not dashboard.metrics_in(query) & (NOT_ON_THIS_MACHINE | OF_SEVERAL_POLICIES):
        assert answers, "no answer"
        assert any(value == value for _, value in answers), "not a number"


def test_the_variables_of_the_dashboard_offer_the_robots(prometheus: Prometheus) -> None:
    (variable,) = dashboard.variables_of_the_dashboard()
    metric, label = variable
    found = prometheus.ask(f"group by ({label}) ({metric})")
    assert {labels[label] for labels, _ in found} == set(ROBOTS)


def test_the_answers_are_right(prometheus: Prometheus) -> None:
    damped = prometheus.ask('increase(gaitd_damping_total{reason="worker_died"}[1d]) > 0')
    assert FAILING in [labels["instance"] for labels, _ in damped]
    slow = f'instance:gaitd_inference_seconds:mean_1h{{instance="{SLOW}"}}'
    ((_, mean_s),) = prometheus.ask(slow)
    assert 0.02 <= mean_s < 0.1
    ratios = prometheus.ask(
        "instance:gaitd_inference_seconds:mean_1h / (instance:gaitd_inference_seconds:mean_1h offset 1w)"
    )
    assert {labels["instance"] for labels, value in ratios if value > 1} == {GETTING_SLOW}
    standby = prometheus.ask("max_over_time(gaitd_standby_ready[5m]) == 1")
    assert [labels["instance"] for labels, _ in standby] == [GETTING_SLOW]


def test_it_alerts_on_what_was_done_to_each(prometheus: Prometheus) -> None:
    wanted = {
        ("GaitdDamped", FAILING),
        ("GaitdFailedOver", GETTING_SLOW),
        ("GaitdLateCommands", SLOW),
        ("GaitdOneOfTheFleetDiffers", SLOW),
        ("GaitdSlowerThanLastWeek", GETTING_SLOW),
    }
    wait_until(lambda: wanted <= prometheus.alerts(), 20.0, "the alerts")
    for_one = ("GaitdOneOfTheFleetDiffers", "GaitdSlowerThanLastWeek")
    assert {alert for alert in prometheus.alerts() - wanted if alert[0] in for_one} == set()
