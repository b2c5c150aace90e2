"""What a process needs around it: its parent, its descriptors, its CPUs, and how it says what it lacks."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gaitd.errors import InputError, ResourceError, error_of
from gaitd.system import realtime
from gaitd.system.command_line import run_command
from support.daemon import wait_until

WITH_PARENT = [sys.executable, "-m", "gaitd.system.with_parent"]
STARTS_ONE = """
import os, subprocess, sys
command = [*sys.argv[1:4], str(os.getpid()), sys.argv[4]]
print(subprocess.Popen(command, stdout=subprocess.DEVNULL).pid, flush=True)
sys.stdin.read()
"""


def gone(pid: int) -> bool:
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_child_whose_parent_died_before_its_first_instruction_does_nothing(tmp_path: Path) -> None:
    """Its guardian is killed while the system still loads the interpreter: pid 1 is its parent by then."""
    done = subprocess.run(
        [*WITH_PARENT, str(os.getpid() + 1), "support.of_other_code"], capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    done = subprocess.run([*WITH_PARENT, str(os.getpid()), "support.of_other_code"], check=False)
    assert done.returncode == 8, "with its parent it runs"


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("python", "MemoryError"),
        ("system", "[Errno 12] Cannot allocate memory: 'zmq'"),
        ("loader", "_random.so: failed to map segment from shared object"),
    ],
)
def test_a_child_without_memory_for_its_imports_says_so_in_one_line(said: str, line: str) -> None:
    arguments = [*WITH_PARENT, str(os.getpid()), "support.out_of_memory"]
    done = subprocess.run([*arguments, said], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (7, f"support.out_of_memory: out of memory: {line}\n")


def test_another_error_of_an_import_says_where_it_is() -> None:
    arguments = [*WITH_PARENT, str(os.getpid()), "support.out_of_memory", "other"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_a_child_ends_with_its_parent_also_while_it_imports() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STARTS_ONE, *WITH_PARENT, "support.never_ends"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        comm = Path(f"/proc/{pid}/comm")
        wait_until(lambda: comm.read_text() == "never_ends\n", what="the import")
        parent.send_signal(signal.SIGKILL)
        wait_until(lambda: gone(pid), what="the child's end")


PRINTS = """
import os, subprocess, sys
from gaitd.system.command_line import run_command
def command():
    fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
    print("to standard output"); print("to standard error", file=sys.stderr)
    os.write(fd, str(fd).encode())
    return subprocess.call([sys.executable, "-c", "import os; [os.fstat(fd) for fd in (0, 1, 2)]"])
sys.exit(run_command("test", command))
"""


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_what_is_printed_never_goes_into_another_file(tmp_path: Path, closed: str) -> None:
    file = tmp_path / "memory"
    command = f'exec "$0" -c "$1" "$2" {closed}'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable, PRINTS, file],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0
    assert int(file.read_text()) > 2


def test_all_cpus_are_those_that_the_kernel_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container may number fewer CPUs than it has, or other ones."""
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {max(before)})
        monkeypatch.setattr(os, "cpu_count", lambda: 1)
        realtime.use_all_cpus()
        assert os.sched_getaffinity(0) >= before
    finally:
        os.sched_setaffinity(0, before)

    def refuse(*_: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    realtime.use_all_cpus()


def test_what_may_pass_by_itself_is_not_the_users_mistake() -> None:
    for number in (errno.ENOSPC, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EADDRINUSE, errno.EROFS):
        assert isinstance(error_of(number, "text"), ResourceError)
    for number in (errno.ENOENT, errno.EACCES, errno.ENOTDIR, errno.ENAMETOOLONG, None):
        assert isinstance(error_of(number, "text"), InputError)


def test_what_nobody_expected_of_the_system_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> int:
        raise OSError(errno.ENFILE, "Too many open files in system", "/dev/shm")

    assert run_command("gaitd", command) == 7
    expected = "gaitd: error: /dev/shm: Too many open files in system; the system refused it, try again\n"
    assert capsys.readouterr().err == expected


def test_out_of_memory_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> int:
        raise MemoryError

    assert run_command("gaitd", command) == 7
    expected = "gaitd: error: out of memory; end other programs or raise the limit, then try again\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize("descriptors", [20, 160])
def test_too_few_descriptors_are_refused_at_the_start(
    descriptors: int, tmp_path: Path, small_bundle_path: Path
) -> None:
    """Peers that keep to their limits would make libzmq abort."""
    limit = f"ulimit -n {descriptors}; exec"
    options = f"--bundle {small_bundle_path} --config /dev/null --metrics-port 0 --runtime-dir {tmp_path}/run"
    done = subprocess.run(
        ["sh", "-c", f"{limit} {sys.executable} -m gaitd.cli run {options}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert done.returncode == 7
    assert f"this process may have {descriptors} file descriptors, gaitd needs 512" in done.stderr


ACTS_AND_PRINTS = """
import sys
from gaitd.errors import GateError
from gaitd.system.command_line import confirm, run_command
def command():
    confirm("damping")
    print("more")
    if sys.argv[1:]: raise GateError("not good enough")
    return 0
def shows():
    print("idle")
    return 0
sys.exit(run_command("test", shows if sys.argv[1:] == ["shows"] else command))
"""


def printing_to(
    stdout: int, *arguments: str, stderr: int = subprocess.PIPE, unbuffered: str = ""
) -> tuple[int, str | None]:
    command = [sys.executable, "-c", ACTS_AND_PRINTS, *arguments]
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(
        command, stdout=stdout, stderr=stderr, text=True, check=False, timeout=60, env=environment
    )
    return done.returncode, done.stderr


def test_what_was_done_decides_the_exit_code_not_what_could_be_printed() -> None:
    """A person who asks for damping while the disk is full has it, and is told so."""
    full = os.open("/dev/full", os.O_WRONLY)
    read_end, closed = os.pipe()
    os.close(read_end)
    try:
        for stdout, unbuffered in ((full, ""), (closed, "1")):
            told = ["damping", "more", "test: error: not good enough"]
            code, error = printing_to(stdout, "fails", unbuffered=unbuffered)
            assert (code, sorted((error or "").splitlines())) == (3, sorted(told))
            assert printing_to(stdout, "fails", stderr=full, unbuffered=unbuffered)[0] == 3
            assert printing_to(stdout, stderr=full, unbuffered=unbuffered) == (0, None)
        lost = "test: error: standard output: No space left on device; not all was printed\n"
        assert printing_to(full, "shows") == (7, lost)
        assert printing_to(closed, "shows") == (128 + signal.SIGPIPE, "")
    finally:
        os.close(full)
        os.close(closed)


def test_letters_that_the_terminal_does_not_have_are_escaped() -> None:
    code = "from gaitd.system.command_line import run_command; run_command('x', lambda: print('\u7b56') or 0)"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True
    )
    assert (done.stdout, done.stderr) == (b"\\u7b56\n", b"")
