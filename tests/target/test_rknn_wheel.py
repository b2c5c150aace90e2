"""The NPU backend on an emulated aarch64 user land, beside the vendor's real wheel (rknn-toolkit-lite2).

The wheel is the witness for what the vendor's own software hands to the runtime, and for what gaitd must not
inherit from it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from measured import Measured
from rootfs import TargetUnavailableError, ensure_rootfs, run_python
from standin import models

pytestmark = [pytest.mark.target, pytest.mark.thorough]

EXPECTED = models.forward(models.layers(models.OBSERVATION_DIM, models.ACTION_DIM), models.observation())
RUN_FAULTS = [
    ("error -1", "rknn_run failed with RKNN_ERR_FAIL (-1)"),
    ("error -2", "rknn_run failed with RKNN_ERR_TIMEOUT (-2)"),
    ("error -3", "rknn_run failed with RKNN_ERR_DEVICE_UNAVAILABLE (-3)"),
    ("nan", "not finite"),
]


@pytest.fixture(scope="module")
def root() -> Path:
    try:
        return ensure_rootfs()
    except TargetUnavailableError as reason:
        pytest.skip(f"no emulated target: {reason}")


@pytest.fixture(scope="module")
def report(root: Path) -> dict[str, Any]:
    output = run_python(root, "/gaitd/tests/target/on_target.py")
    return dict(json.loads(output.splitlines()[-1]))


def test_backend_and_wheel_answer_as_the_network_does(report: dict[str, Any]) -> None:
    assert report["machine"] == "aarch64"
    np.testing.assert_allclose(report["wheel"]["action"], EXPECTED, atol=1e-5)
    np.testing.assert_allclose(report["backend"]["action"], EXPECTED, atol=1e-5)


def test_backend_hands_the_input_over_as_the_wheel_does(report: dict[str, Any]) -> None:
    handed = {
        name: [call for call in calls if call.startswith("inputs_set")]
        for name, calls in report["calls"].items()
    }
    assert handed["backend"] == handed["wheel"][:1]


def test_wheel_hands_out_an_array_after_a_failed_run(report: dict[str, Any]) -> None:
    """The reason why gaitd does not use it: if this ever fails, the wheel has become safer."""
    assert len(report["wheel_after_failed_run"]["action"]) == models.ACTION_DIM


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        *RUN_FAULTS,
        ("unwritten", "not written"),
    ],
)
def test_backend_refuses_a_failed_run(report: dict[str, Any], fault: str, message: str) -> None:
    assert message in report["run_faults"][fault]["error"]


def test_backend_waits_for_a_late_run(report: dict[str, Any]) -> None:
    np.testing.assert_allclose(report["run_faults"]["late 20"]["action"], EXPECTED, atol=1e-5)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("init -1", "rknn_init failed with RKNN_ERR_FAIL (-1)"),
        ("init -13", "another chip"),
        ("core -5", "rknn_set_core_mask failed"),
        ("query -7", "rknn_query failed"),
        ("input_elements 44", "inputs obs: 44"),
        ("api 1.4.0", "install librknnrt.so 2.3.2 or newer"),
    ],
)
def test_backend_refuses_a_failed_start(report: dict[str, Any], fault: str, message: str) -> None:
    assert message in report["start_faults"][fault]["error"]


def test_a_run_that_crashes_or_hangs_can_be_seen_from_outside(report: dict[str, Any]) -> None:
    assert report["endings"] == {"crash": "SIGSEGV", "hang": "SIGALRM", "late 10": "0"}


def test_backend_is_loaded_from_the_systems_library(report: dict[str, Any]) -> None:
    assert report["versions"]["library"].endswith("/lib/librknnrt.so")
    assert report["versions"]["driver"] == "0.9.8"


def test_backend_needs_a_fraction_of_the_wheels_time(report: dict[str, Any]) -> None:
    assert report["backend_cost"]["median_us"] < report["wheel_cost"]["median_us"] / 4


def test_backend_does_not_grow_where_the_wheel_does(report: dict[str, Any]) -> None:
    """Without the cyclic collector, over 20,000 runs; the wheel's growth proves that the measure sees it."""
    assert report["wheel_cost"]["bytes_per_call"] > 1000
    assert report["backend_cost"]["bytes_per_call"] < 2


def test_package_backend_answers_as_the_network_does(report: dict[str, Any]) -> None:
    np.testing.assert_allclose(report["lite"]["action"], EXPECTED, atol=1e-5)
    assert report["lite_versions"]["rknn-toolkit-lite2"] == "2.5.0"


def test_both_backends_treat_hidden_states_alike(report: dict[str, Any]) -> None:
    first, again, accepted, reset = report["hidden"]["RknnLiteBackend"]
    assert first == again == reset
    assert accepted != first
    np.testing.assert_allclose(
        report["hidden"]["RknnLiteBackend"], report["hidden"]["RknnBackend"], atol=1e-6
    )


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        *RUN_FAULTS,
        ("stale", "its output is that of an earlier run"),
    ],
)
def test_package_backend_refuses_a_failed_run(report: dict[str, Any], fault: str, message: str) -> None:
    assert message in report["lite_run_faults"][fault]["error"]


def test_package_backend_waits_for_a_late_run(report: dict[str, Any]) -> None:
    np.testing.assert_allclose(report["lite_run_faults"]["late 20"]["action"], EXPECTED, atol=1e-5)


def test_package_backend_checks_the_observation(report: dict[str, Any]) -> None:
    size, value = (answer["error"] for answer in report["lite_refuses"])
    assert "float32 (44,); the model takes float32 (45,)" in size
    assert "not finite" in value


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("init -1", "cannot start the NPU runtime /usr/lib/librknnrt.so"),
        ("init -13", "cannot start the NPU runtime"),
        ("core -5", "cannot start the NPU runtime"),
        ("input_elements 44", "inputs obs: 44"),
        ("api 1.4.0", "install librknnrt.so 2.3.2 or newer"),
    ],
)
def test_package_backend_refuses_a_failed_start(report: dict[str, Any], fault: str, message: str) -> None:
    assert message in report["lite_start_faults"][fault]["error"]


def test_package_backend_does_not_grow(report: dict[str, Any]) -> None:
    assert report["lite_cost"]["bytes_per_call"] < 300
    assert report["wheel_cost"]["bytes_per_call"] > 1000


@pytest.mark.board
def test_both_backends_side_by_side_over_100_000_runs(root: Path, measured: Measured) -> None:
    output = run_python(root, "/gaitd/tests/target/on_target.py", "100000", timeout_s=3600)
    found = json.loads(output.splitlines()[-1])
    for name, what in (("load_backend", "rknn"), ("load_lite", "rknnlite")):
        cost = found[name]
        measured(
            f"{what}, 100,000 runs", f"{cost['median_us']:.0f} us, {cost['bytes_per_call']:.2f} bytes a run"
        )
        assert cost["bytes_per_call"] < 5


def test_without_a_device_tree_it_says_so(root: Path) -> None:
    program = (
        "from gaitd.backends.rknn import RknnBackend as B; from gaitd.policy.manifest import Model\n"
        "from gaitd.errors import BackendError; from standin import models\n"
        "try: B(models.policy(), Model(), 45, 12)\n"
        "except BackendError as error: print(error)"
    )
    output = run_python(root, "-c", program, npu=False)
    assert "/proc/device-tree/compatible cannot be read: this aarch64 machine has no Rockchip NPU" in output
