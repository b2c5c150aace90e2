"""The queries of the documentation and of the dashboard, as they are written there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "monitoring/grafana/dashboards/gaitd.json"
QUESTIONS = ROOT / "docs/monitoring.md"
_VARIABLES = {"$instance": ".*", "$__rate_interval": "1m", "$__range": "30m"}
"""What Grafana puts in their places."""


def asked_by_the_documentation() -> list[str]:
    """Every query of the table of questions."""
    rows = re.findall(r"^\| [^|]*\? \| (.*) \|$", QUESTIONS.read_text(), re.M)
    return [query for row in rows for query in re.findall(r"`([^`]*gaitd_[^`]*)`", row)]


def asked_by_the_dashboard() -> list[str]:
    """Every query of its panels and variables, as Grafana sends it."""
    found = [query for panel in _dashboard()["panels"] for query in _queries(panel)]
    for name, value in _VARIABLES.items():
        found = [query.replace(name, value) for query in found]
    assert not [query for query in found if "$" in query]
    return found


def variables_of_the_dashboard() -> list[tuple[str, str]]:
    """Metric and label whose values a variable offers."""
    texts = [each["query"] for each in _dashboard()["templating"]["list"] if each["type"] == "query"]
    matches = [re.fullmatch(r"label_values\((\w+), (\w+)\)", text) for text in texts]
    return [(match[1], match[2]) for match in matches if match]


def metrics_in(query: str) -> set[str]:
    """The names of gaitd's metrics and recorded series in a query."""
    return set(re.findall(r"(?<![\w:])(?:instance:)?gaitd_\w+(?::\w+)?", query))


def _dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return found


def _queries(panel: dict[str, Any]) -> Iterator[str]:
    assert panel["targets"], panel["title"]
    for target in panel["targets"]:
        yield target["expr"]
