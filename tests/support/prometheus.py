"""A real Prometheus over the repository's own configuration, with a faster pace."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from support.daemon import wait_until

MONITORING = Path(__file__).parents[2] / "monitoring"
PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")
NOT_INSTALLED = "Prometheus is not installed: apt install prometheus"

Sample = tuple[dict[str, str], float]
"""Labels, value."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Prometheus:
    """Scrapes every second; use as a context manager."""

    def __init__(self, directory: Path, targets: Mapping[str, int], past: str = "") -> None:
        """``targets``: ports here by ``instance``. ``past``: OpenMetrics text of what was before."""
        assert PROMETHEUS is not None
        assert PROMTOOL is not None
        shutil.copytree(MONITORING, directory / "monitoring")
        place = directory / "monitoring"
        config = place / "prometheus.yml"
        text = config.read_text()
        for interval in ("scrape_interval: 5s", "evaluation_interval: 15s"):
            assert interval in text
            text = text.replace(interval, f"{interval.partition(':')[0]}: 1s")
        config.write_text(text)
        (place / "robots").mkdir()
        groups = [
            {"targets": [f"127.0.0.1:{port}"], "labels": {"instance": name}} for name, port in targets.items()
        ]
        (place / "robots/hall.yml").write_text(json.dumps(groups))
        data = directory / "data"
        if past:
            (directory / "past").write_text(past)
            command = [PROMTOOL, "tsdb", "create-blocks-from", "openmetrics", directory / "past", data]
            subprocess.run(command, check=True, capture_output=True, timeout=60)
        self._port = free_port()
        self._log = (directory / "log").open("w+b")
        self._process = subprocess.Popen(
            [
                PROMETHEUS,
                f"--config.file={config}",
                f"--storage.tsdb.path={data}",
                f"--web.listen-address=127.0.0.1:{self._port}",
            ],
            stdout=self._log,
            stderr=self._log,
        )

    def __enter__(self) -> Prometheus:
        wait_until(self._is_ready, 60.0, "Prometheus")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(20)
        self._log.close()

    def ask(self, query: str) -> list[Sample]:
        """The answer to an instant query. Raises AssertionError with what the server says against it."""
        found = self.get("query", query=query)
        assert found["resultType"] == "vector", query
        return [(entry["metric"], float(entry["value"][1])) for entry in found["result"]]

    def alerts(self) -> set[tuple[str, str]]:
        """Name and instance of those that fire, or will when it lasts."""
        found = self.get("alerts")["alerts"]
        return {(alert["labels"]["alertname"], alert["labels"]["instance"]) for alert in found}

    def get(self, what: str, **parameters: str) -> Any:
        """The data of one request to the API."""
        try:
            page = self._read(f"api/v1/{what}?{urllib.parse.urlencode(parameters)}")
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from None
        return json.loads(page)["data"]

    def _is_ready(self) -> bool:
        self._log.seek(0)
        assert self._process.poll() is None, self._log.read().decode()
        with suppress(OSError):
            return bool(self._read("-/ready"))
        return False

    def _read(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/{path}", timeout=10) as answer:
            return bytes(answer.read())
