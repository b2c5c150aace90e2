from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from machine import PACKAGES, Layer, Machine, build_package, system_root
from measured import Measured
from rootfs import TargetUnavailableError
from standin import models
from standin.board import BOARD, host_of, make_board
from standin.build import build_standin
from standin.orders import Orders
from walking import controller_of

from gaitd.backends.rknn import RknnBackend
from gaitd.backends.rknn_host import RknnHost
from gaitd.bundle.read import open_bundle
from gaitd.policy.manifest import Model
from gaitforge.bundle.write import write_bundle
from support.bundles import lite3_manifest, write_small_bundle
from support.controller import Controller
from support.daemon import Gaitd


@pytest.fixture(scope="session")
def standin_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in runtime for this machine."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler: sudo apt-get install gcc")
    return build_standin(compiler, tmp_path_factory.mktemp("standin") / "librknnrt.so")


NUMBERS = pytest.StashKey[dict[str, str]]()


@pytest.fixture(scope="session")
def measured(pytestconfig: pytest.Config) -> Measured:
    """Keeps a number to be shown at the end of the run."""
    return pytestconfig.stash.setdefault(NUMBERS, {}).__setitem__


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    numbers = config.stash.get(NUMBERS, {})
    if numbers:
        terminalreporter.section("measured on the target")
    for name, text in numbers.items():
        terminalreporter.line(f"{name}: {text}")


@pytest.fixture(scope="session")
def amd64_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of this tree, to be tried in containers on this machine."""
    return _package(tmp_path_factory, "amd64")


@pytest.fixture(scope="session")
def arm64_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of this tree for the robot."""
    return _package(tmp_path_factory, "arm64")


def _package(tmp_path_factory: pytest.TempPathFactory, arch: str) -> Path:
    try:
        return build_package(tmp_path_factory.mktemp("package"), arch)
    except TargetUnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture
def orders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Orders:
    monkeypatch.setenv("GAITD_STANDIN_CONTROL", str(tmp_path / "orders"))
    return Orders(tmp_path / "orders")


@pytest.fixture
def host(standin_library: Path, orders: Orders, tmp_path: Path) -> RknnHost:
    """This machine in the role of a board with an RK3588, one NPU node and the stand-in runtime."""
    make_board(tmp_path)
    shutil.copy(standin_library, tmp_path)
    return host_of(tmp_path)


@pytest.fixture
def board(host: RknnHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Gaitd]:
    """Run gaitd in a process of its own on that board; told as ``support.daemon.Gaitd`` is."""
    monkeypatch.setenv(BOARD, str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).parent}:{os.environ.get('PYTHONPATH', '')}")
    return partial(Gaitd, module="standin.daemon")


@pytest.fixture
def load(host: RknnHost) -> Iterator[Callable[..., RknnBackend]]:
    """Load a model on the stand-in; closed after the test."""
    backends: list[RknnBackend] = []

    def _load(
        model_bytes: bytes | None = None,
        model: Model | None = None,
        observation_dim: int = models.OBSERVATION_DIM,
        action_dim: int = models.ACTION_DIM,
        core: str = "0",
    ) -> RknnBackend:
        backend = RknnBackend(
            models.policy() if model_bytes is None else model_bytes,
            model or Model(),
            observation_dim,
            action_dim,
            core,
            host,
        )
        backends.append(backend)
        return backend

    yield _load
    for backend in backends:
        backend.close()


@pytest.fixture(scope="package")
def machine(tmp_path_factory: pytest.TempPathFactory, amd64_package: Path) -> Iterator[Machine]:
    """A booted machine with the package, a policy active and a second, bad one installed."""
    scratch = tmp_path_factory.mktemp("machine")
    try:
        base = system_root("bookworm", PACKAGES)
    except TargetUnavailableError as error:
        pytest.skip(str(error))
    layer = Layer(base, scratch)
    try:
        delivery = layer.root / "delivery"
        delivery.mkdir()
        shutil.copy(amd64_package, delivery / "gaitd.deb")
        write_small_bundle(delivery / "good.gaitd", lite3_manifest())
        write_small_bundle(delivery / "better.gaitd", lite3_manifest(version="1.1.0"))
        _write_lying_bundle(delivery / "lying.gaitd")
        shutil.copy(Path(__file__).parent / "sandbox_probe.py", delivery)
        layer.run("dpkg", "--install", "/delivery/gaitd.deb")
        layer.run("gaitctl", "install", "/delivery/good.gaitd", "--activate")
        (layer.root / "etc/gaitd/gaitd.toml").write_text("[guard]\ndeadline_periods = 20\n")
        # Numbers that belong to no driver: the device policy alone decides how an open fails.
        layer.run("mknod", "--mode=0666", "/delivery/rknpu", "c", "10", "230")
        layer.run("mknod", "--mode=0666", "/delivery/foreign", "c", "10", "231")
        layer.before_boot()
        with Machine(layer.root, scratch / "console") as machine:
            machine.run("cp", "--archive", "/delivery/rknpu", "/delivery/foreign", "/dev/")
            yield machine
    finally:
        layer.close()


def _write_lying_bundle(target: Path) -> None:
    """A well-formed policy whose model does not answer as its golden vectors say."""
    honest = open_bundle(write_small_bundle(target.with_name("honest.gaitd"), lite3_manifest()))
    observation, action = honest.golden()
    golden = io.BytesIO()
    np.savez(golden, observation=observation, action=action + 1)
    files = {"model.onnx": honest.read_bytes("model.onnx"), "golden.npz": golden.getvalue()}
    write_bundle(target, lite3_manifest(version="6.6.6"), files)


@pytest.fixture
def running(machine: Machine) -> Iterator[Machine]:
    """gaitd ready."""
    machine.attempt("systemctl", "reset-failed", "gaitd")
    machine.run("systemctl", "start", "gaitd")
    yield machine
    machine.attempt("systemctl", "stop", "gaitd")


@pytest.fixture
def controller(running: Machine) -> Iterator[Controller]:
    """A controller that said hello."""
    controller = controller_of(running)
    controller.hello()
    yield controller
    controller.close()
