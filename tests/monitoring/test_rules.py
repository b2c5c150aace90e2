"""The rules for Prometheus: they name metrics that there are, and alert on what they should."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from support import dashboard
from support.prometheus import NOT_INSTALLED, PROMTOOL

ROOT = Path(__file__).parents[2]
RULES = ROOT / "monitoring/gaitd.rules.yml"
TESTS = ("gaitd.rules.test.yml", "gaitd.week.test.yml")
NOT_SCRAPED = 'up{job="gaitd"} == 0'
"""Prometheus' own: a robot that does not answer has none of gaitd's metrics."""
with_promtool = pytest.mark.skipif(PROMTOOL is None, reason=NOT_INSTALLED)


def metrics_of_the_table() -> dict[str, str]:
    """Type by name."""
    rows = re.findall(r"^\| `(gaitd_\w+)` \| (\w+) \|", (ROOT / "docs/metrics.md").read_text(), re.M)
    return dict(rows)


def test_every_query_names_metrics_that_there_are() -> None:
    known: set[str] = set()
    for name, kind in metrics_of_the_table().items():
        known |= {f"{name}_{part}" for part in ("bucket", "sum", "count")} if kind == "histogram" else {name}
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    recorded = {rule["record"] for rule in rules if "record" in rule}
    ours, asked = dashboard.asked_by_the_dashboard(), dashboard.asked_by_the_documentation()
    assert len(ours) > 30
    assert len(asked) > 12
    about_gaitd = [rule["expr"] for rule in rules if rule["expr"] != NOT_SCRAPED]
    assert len(about_gaitd) == len(rules) - 1
    for query in [*about_gaitd, *ours, *asked]:
        assert dashboard.metrics_in(query), query
        assert dashboard.metrics_in(query) <= known | recorded, query


def test_a_robot_that_does_not_answer_is_of_the_configured_job() -> None:
    config = yaml.safe_load((RULES.parent / "prometheus.yml").read_text())
    assert [f'up{{job="{job["job_name"]}"}} == 0' for job in config["scrape_configs"]] == [NOT_SCRAPED]


def promtool(*arguments: str, given: str = "", cwd: Path = RULES.parent) -> str:
    assert PROMTOOL is not None
    done = subprocess.run(
        [PROMTOOL, *arguments], input=given, capture_output=True, text=True, cwd=cwd, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.monitoring
@with_promtool
def test_the_rules_alert_on_what_they_should() -> None:
    promtool("check", "rules", RULES.name)
    promtool("check", "config", "prometheus.yml")
    promtool("test", "rules", *TESTS)


@pytest.mark.monitoring
@with_promtool
@pytest.mark.parametrize(
    ("rule", "changed"),
    [
        ('reason!~"operator|shutdown|none"', 'reason!~"shutdown|none"'),
        ("increase(gaitd_failovers_total[5m])", "increase(gaitd_standby_starts_total[5m])"),
        ("== 0\n        for: 1m", "== 0\n        for: 0m"),
        ("> 1.25 *", "> 2.5 *"),
        ("group_left () 1.5 *", "group_left () 5 *"),
        ('limit!="deadline"', 'limit!="torque"'),
        ("histogram_quantile(0.99,", "histogram_quantile(0.5,"),
    ],
)
def test_a_rule_that_is_wrong_is_found(tmp_path: Path, rule: str, changed: str) -> None:
    text = RULES.read_text()
    assert rule in text
    (tmp_path / RULES.name).write_text(text.replace(rule, changed, 1))
    for name in TESTS:
        shutil.copy(RULES.parent / name, tmp_path)
    with pytest.raises(AssertionError):
        promtool("test", "rules", *TESTS, cwd=tmp_path)
