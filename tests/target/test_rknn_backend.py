"""The NPU backend against the stand-in runtime, on this machine."""

from __future__ import annotations

import gc
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from standin import models
from standin.model_file import Tensor, layers_of_onnx, model_bytes
from standin.orders import Orders

from gaitd.backends.rknn import RknnBackend
from gaitd.backends.rknn_host import RknnHost
from gaitd.errors import BackendError, InputError
from gaitd.policy.manifest import Model

Load = Callable[..., RknnBackend]

EXPECTED = models.forward(models.layers(models.OBSERVATION_DIM, models.ACTION_DIM), models.observation())
REFERENCE_POLICY = Path(__file__).parents[3] / "shared/lite3/policy.onnx"


def test_answers_as_the_network_does(load: Load) -> None:
    action = load().infer(models.observation())
    assert action.shape == (models.ACTION_DIM,)
    assert action.dtype == np.float32
    np.testing.assert_allclose(action, EXPECTED, atol=1e-5)


@pytest.mark.skipif(not REFERENCE_POLICY.exists(), reason=f"{REFERENCE_POLICY} is absent")
def test_answers_as_onnxruntime_does_for_the_reference_policy(load: Load) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    session = onnxruntime.InferenceSession(REFERENCE_POLICY.read_bytes())
    obs, action = session.get_inputs()[0], session.get_outputs()[0]
    network = layers_of_onnx(REFERENCE_POLICY)
    model = model_bytes(network, [Tensor(obs.name, (1, 45))], [Tensor(action.name, (1, 12))])
    backend = load(model, Model(input=obs.name, output=action.name))
    for seed in range(20):
        observation = models.observation(seed)
        expected = session.run(None, {obs.name: observation[None]})[0][0]
        np.testing.assert_allclose(backend.infer(observation), expected, atol=1e-4)


def test_hidden_state_moves_only_when_committed(load: Load) -> None:
    file, model, network = models.recurrent_policy()
    backend = load(file, model)

    def expected(hidden: models.Float32Array) -> tuple[models.Float32Array, models.Float32Array]:
        both = models.forward(network, np.concatenate([models.observation(), hidden]))
        return both[: models.ACTION_DIM], both[models.ACTION_DIM :]

    first, hidden = expected(np.zeros(models.HIDDEN_DIM, np.float32))
    second, _ = expected(hidden)
    np.testing.assert_allclose(backend.infer(models.observation()), first, atol=1e-5)
    np.testing.assert_allclose(backend.infer(models.observation()), first, atol=1e-5)
    backend.commit()
    np.testing.assert_allclose(backend.infer(models.observation()), second, atol=1e-5)
    backend.reset()
    np.testing.assert_allclose(backend.infer(models.observation()), first, atol=1e-5)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ("at 2 error -1", r"rknn_run failed with RKNN_ERR_FAIL \(-1\)"),
        ("at 2 error -2", r"rknn_run failed with RKNN_ERR_TIMEOUT \(-2\).*dmesg"),
        ("at 2 error -3", r"rknn_run failed with RKNN_ERR_DEVICE_UNAVAILABLE \(-3\)"),
        ("at 2 error -77", r"rknn_run failed with unknown code \(-77\)"),
        ("inputs -8", r"rknn_inputs_set failed with RKNN_ERR_INPUT_INVALID \(-8\)"),
        ("outputs -9", r"rknn_outputs_get failed with RKNN_ERR_OUTPUT_INVALID \(-9\)"),
        ("at 2 nan", "not finite"),
        ("at 2 unwritten", "was not written"),
    ],
)
def test_a_failed_run_never_passes_for_an_answer(
    load: Load, orders: Orders, order: str, message: str
) -> None:
    backend = load()
    backend.infer(models.observation())
    orders.give(order)
    with pytest.raises(BackendError, match=message):
        backend.infer(models.observation())
    orders.give()
    np.testing.assert_allclose(backend.infer(models.observation()), EXPECTED, atol=1e-5)


def test_a_late_run_is_right(load: Load, orders: Orders) -> None:
    backend = load()
    orders.give("at 1 late 50")
    start = time.monotonic()
    action = backend.infer(models.observation())
    assert time.monotonic() - start >= 0.05
    np.testing.assert_allclose(action, EXPECTED, atol=1e-5)


@pytest.mark.parametrize(
    ("observation", "message"),
    [
        (np.zeros(44, np.float32), r"float32 \(44,\); the model takes float32 \(45,\)"),
        (np.zeros((1, 45), np.float32), r"\(1, 45\)"),
        (np.zeros(45, np.float64), "float64"),
        (np.where(np.arange(45) == 9, np.nan, 0).astype(np.float32), r"observation\[9\] is not finite"),
        (np.full(45, np.inf, np.float32), r"observation\[0\] is not finite"),
    ],
)
def test_refuses_an_observation_that_does_not_fit(
    load: Load, observation: models.Float32Array, message: str
) -> None:
    with pytest.raises(BackendError, match=message):
        load().infer(observation)


def test_calls_the_runtime_with_one_core_and_leaves_the_priority_alone(
    load: Load, orders: Orders, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    orders.give(f"trace {trace}")
    backend = load(core="2")
    backend.infer(models.observation())
    backend.close()
    backend.close()
    calls = trace.read_text().splitlines()
    assert calls[0].endswith("flag=0x2000 extend=0")
    assert "set_core_mask mask=4" in calls
    run = calls.index("run 1 extend=0")
    assert calls[run - 1] == "inputs_set index=0 size=180 pass_through=0 type=0 fmt=3"
    assert calls[run + 1] == "outputs_get index=0 want_float=1 is_prealloc=1 size=48 extend=0"
    assert calls[run + 2 :] == ["outputs_release", "destroy"]


def test_reports_versions(load: Load, host: RknnHost, orders: Orders) -> None:
    orders.give("api 2.3.9 (abc@2025)", "driver 0.9.8")
    assert load(core="1").versions() == {
        "runtime": "2.3.9 (abc@2025)",
        "driver": "0.9.8",
        "toolkit": "2.3.2",
        "library": host.library,
        "npu_core": "1",
    }


WEIGHTS_BYTES = 2 * (32 * 46 + 32 * 33 + 12 * 33)


def test_tells_what_the_model_takes_of_the_npus_memory(load: Load) -> None:
    memory = load(None, Model(npu_memory_kib=10)).memory()
    assert memory == {"weights": WEIGHTS_BYTES, "internal": 114, "dma": WEIGHTS_BYTES + 114}


def test_refuses_a_model_beyond_its_declared_memory(load: Load) -> None:
    with pytest.raises(InputError, match=r"takes 5\.8 KiB of the NPU's memory.*npu_memory_kib is 5"):
        load(None, Model(npu_memory_kib=5))


def test_a_bound_that_the_runtime_cannot_check_is_refused(load: Load, orders: Orders) -> None:
    orders.give("memory -5")
    assert load().memory() == {}
    with pytest.raises(BackendError, match="install a newer librknnrt"):
        load(None, Model(npu_memory_kib=10))


def test_refuses_a_second_thread(load: Load) -> None:
    backend = load()
    backend.infer(models.observation())
    errors: list[BaseException] = []

    def call() -> None:
        try:
            backend.infer(models.observation())
        except BackendError as error:
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert "second thread" in str(errors[0])


def test_refuses_to_run_when_closed(load: Load) -> None:
    backend = load()
    backend.close()
    with pytest.raises(BackendError, match="closed"):
        backend.infer(models.observation())


@pytest.mark.parametrize(
    ("file", "error", "message"),
    [
        (
            models.policy(toolkit="2.4.0"),
            BackendError,
            r"toolkit2 2\.4\.0.*version 2\.3\.2.*install librknnrt",
        ),
        (models.policy(platform="rk3576"), BackendError, "for rk3576, but this machine is .*rockchip,rk3588"),
        (models.policy()[:-40], InputError, "cut short"),
        (models.policy()[:1000], InputError, "cut short"),
        (b"", InputError, "does not begin with RKNN"),
        (b"ONNX" + models.policy()[4:], InputError, "does not begin with RKNN"),
        (b"CYPTRKNN" + models.policy()[8:], InputError, "encrypted"),
    ],
)
def test_refuses_a_file_that_does_not_fit(
    load: Load, file: bytes, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        load(file)


@pytest.mark.parametrize(
    ("model", "dims", "message"),
    [
        (Model(input="observation"), (45, 12), "inputs obs: 45, but the manifest wants observation: 45"),
        (Model(output="actions"), (45, 12), "outputs action: 12, but the manifest wants actions: 12"),
        (Model(), (46, 12), "obs: 45, but the manifest wants obs: 46"),
        (Model(), (45, 16), "action: 12, but the manifest wants action: 16"),
        (models.recurrent_policy()[1], (45, 12), "wants obs: 45, h_in: 8"),
    ],
)
def test_refuses_tensors_other_than_the_manifests(
    load: Load, model: Model, dims: tuple[int, int], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        load(None, model, *dims)


def test_believes_the_runtime_about_the_input_size(load: Load, orders: Orders) -> None:
    orders.give("input_elements 44")
    with pytest.raises(InputError, match="inputs obs: 44"):
        load()


def test_refuses_an_older_runtime_that_hides_its_version(load: Load, orders: Orders) -> None:
    orders.give("api 1.4.0 (a10f100eb@2022-09-09T09:07:14)")
    with pytest.raises(BackendError, match=r"toolkit2 2\.3\.2.*version 1\.4\.0"):
        load()


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ("init -1", r"rknn_init failed with RKNN_ERR_FAIL \(-1\).*toolkit2 2\.3\.2, runtime 2\.3\.2 at "),
        ("init -13", "another chip"),
        ("core -5", "rknn_set_core_mask failed with RKNN_ERR_PARAM_INVALID"),
        ("query -7", "rknn_query failed with RKNN_ERR_CTX_INVALID"),
    ],
)
def test_a_failed_start_is_an_error(load: Load, orders: Orders, order: str, message: str) -> None:
    orders.give(order)
    with pytest.raises(BackendError, match=message):
        load()


def test_unknown_core(load: Load) -> None:
    with pytest.raises(InputError, match="NPU core '3' is unknown; choose one of 0, 1, 2"):
        load(core="3")


def start_error(host: RknnHost) -> str:
    with pytest.raises(BackendError) as caught:
        RknnBackend(models.policy(), Model(), models.OBSERVATION_DIM, models.ACTION_DIM, host=host)
    return str(caught.value)


def test_without_a_runtime_it_says_what_to_install(host: RknnHost) -> None:
    text = start_error(replace(host, library="libnorknnrt.so"))
    assert "libnorknnrt.so" in text
    assert "/usr/lib/librknnrt.so" in text


def test_another_library_is_refused(host: RknnHost) -> None:
    assert "no NPU runtime for RK3588" in start_error(replace(host, library="libm.so.6"))


def test_this_machine_has_no_npu() -> None:
    if RknnHost().chips():
        pytest.skip("this machine has a device tree")
    assert "use the onnx backend" in start_error(RknnHost())


def test_a_disabled_npu_is_named(host: RknnHost, orders: Orders) -> None:
    (host.device_tree / "npu@fdab0000").mkdir()
    (host.device_tree / "npu@fdab0000/status").write_bytes(b"disabled\0")
    orders.give("init -1")
    assert "the device tree has the NPU disabled" in start_error(host)


def test_a_disabled_memory_unit_is_named(host: RknnHost, orders: Orders) -> None:
    (host.device_tree / "iommu@fdab9000").mkdir()
    (host.device_tree / "iommu@fdab9000/status").write_bytes(b"disabled\0")
    orders.give("init -1")
    assert "the device tree has the NPU disabled" in start_error(host)


def test_mainlines_driver_is_named(host: RknnHost, orders: Orders) -> None:
    shutil.rmtree(host.sys)
    device = host.sys / "class/accel/accel0/device"
    device.mkdir(parents=True)
    (device / "driver").symlink_to("../../../../bus/platform/drivers/rocket")
    orders.give("init -1")
    assert f"the kernel drives the NPU with rocket ({host.devices}/accel/accel0)" in start_error(host)


def test_a_missing_driver_is_named(host: RknnHost, orders: Orders, tmp_path: Path) -> None:
    orders.give("init -1")
    assert "the kernel lacks Rockchip's RKNPU driver" in start_error(replace(host, sys=tmp_path / "none"))


def test_a_hidden_node_is_named(host: RknnHost, orders: Orders) -> None:
    (host.devices / "dri/renderD129").unlink()
    orders.give("init -1")
    assert "renderD129 is missing" in start_error(host)


def test_a_closed_node_names_user_and_groups(host: RknnHost) -> None:
    with tempfile.TemporaryDirectory() as place:  # pytest's own directories are closed to others
        devices = Path(place)
        devices.chmod(0o755)
        (devices / "dri").mkdir(mode=0o755)
        (devices / "dri/renderD129").touch(mode=0)
        shutil.copytree(host.sys, devices / "sys")
        board = RknnHost(host.library, devices / "device-tree", devices, devices / "sys")
        text = as_nobody(board.diagnosis)
    assert re.search(r"user \d+ may not open .*renderD129 \(group ", text)
    assert "add the user to the groups render and video" in text


def as_nobody(ask: Callable[[], str]) -> str:
    """The answer of a child without root's rights."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setuid(65534)
            os.write(write, ask().encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read) as answer:
        return answer.read()


@pytest.mark.thorough
def test_memory_does_not_grow_over_100_000_runs(load: Load) -> None:
    backend = load()
    observation = models.observation()

    def resident_kb() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4

    for _ in range(1000):
        backend.infer(observation)
    gc.collect()
    gc.disable()
    try:
        before_kb = resident_kb()
        for _ in range(100_000):
            backend.infer(observation)
        assert resident_kb() - before_kb < 500
        assert gc.collect() < 100  # no reference cycles left behind
    finally:
        gc.enable()


CHILD = """
import sys, threading, time, os
sys.path.insert(0, {tests!r})
from pathlib import Path
from standin import models
from gaitd.backends.rknn import RknnBackend
from gaitd.backends.rknn_host import RknnHost
from gaitd.policy.manifest import Model
host = RknnHost({library!r}, Path({tree!r}))
backend = RknnBackend(models.policy(), Model(), 45, 12, host=host)
def tick():
    for _ in range(5):
        time.sleep(0.01)
    os.write(1, b"another thread lived on")
    os._exit(0)
threading.Thread(target=tick, daemon=True).start()
backend.infer(models.observation())
"""


def run_child(host: RknnHost) -> subprocess.CompletedProcess[str]:
    code = CHILD.format(tests=str(Path(__file__).parent), library=host.library, tree=str(host.device_tree))
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)


def test_a_hung_run_holds_up_its_thread_only(host: RknnHost, orders: Orders) -> None:
    orders.give("at 1 hang")
    assert run_child(host).stdout == "another thread lived on"


def test_a_crash_in_the_runtime_ends_the_process(host: RknnHost, orders: Orders) -> None:
    orders.give("at 1 crash")
    assert run_child(host).returncode == -signal.SIGSEGV
