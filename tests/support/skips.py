"""A test that cannot run here: a line at the end that says so, or with --must-run a failure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator

import pytest

OWN_TARGET = {
    "board": "sudo make test-target",
    "monitoring": "make test-monitoring",
    "thorough": "make test-thorough",
    "trainers": "make test-trainers",
}
"""What runs the tests that the normal run leaves out, by their marker."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--must-run", action="store_true", help="a test that cannot run here is a failure")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and item.config.getoption("must_run"):
        report.outcome, report.longrepr = "failed", f"cannot run here: {_reason(report)}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.skipped and collector.config.getoption("must_run"):
        report.outcome, report.longrepr = "failed", f"cannot run here: {_reason(report)}"
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, None, None]:
    """The last line of all, below pytest's own."""
    yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:  # a process of several has none
        _say_what_did_not_run(reporter, session.config)


def _say_what_did_not_run(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    reasons = Counter(_reason(report) for report in terminalreporter.stats.get("skipped", []))
    texts = [f"{count} x {reason}" for reason, count in reasons.most_common()]
    if config.args_source is pytest.Config.ArgsSource.TESTPATHS:
        expression = str(config.getoption("markexpr"))
        left_out = [target for marker, target in OWN_TARGET.items() if f"not {marker}" in expression]
        texts += [f"left out: {', '.join(left_out)}"] if left_out else []
    if texts:
        terminalreporter.line(f"NOT RUN: {'; '.join(texts)}", yellow=True)


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")
