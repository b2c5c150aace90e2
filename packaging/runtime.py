"""The interpreter that the package carries: CPython and its C library from Debian 12, packages from PyPI.

Robots run Ubuntu 20.04 to 24.04, whose own Pythons are 3.8 to 3.12 on glibc 2.31 to 2.39. What is built here
brings its loader and C library along, so it is the same on all of them and needs nothing but a kernel.
"""

from __future__ import annotations

import compileall
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from py_compile import PycInvalidationMode

PREFIX = Path("/opt/gaitd")
"""Where the package lives on the robot; loader and library paths name it."""
PYTHON = "python3.11"
DEBIAN = ["bookworm", f"lib{PYTHON}-stdlib", f"{PYTHON}-minimal", "libstdc++6"]
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
REQUIREMENTS = Path(__file__).parent / "requirements.txt"
BASE_LIBRARIES = (
    "libc.so.6",
    "libdl.so.2",
    "libgcc_s.so.1",
    "libm.so.6",
    "libpthread.so.0",
    "libresolv.so.2",
    "librt.so.1",
    "libstdc++.so.6",
    "libutil.so.1",
)
"""Loaded with the interpreter, so that no wheel and no vendor's library brings the system's to our loader."""
WITH_DEBUG_SYMBOLS = ("msgpack", "zstandard")
"""Packages whose wheels hold them for some machines."""
NOT_NEEDED = [
    "lib/python3/dist-packages/**/tests",
    "lib/python3/dist-packages/numpy/**/*.a",
    "lib/python3/dist-packages/numpy/**/*.pyi",
    "lib/python3/dist-packages/numpy/_core/_simd*.so",
    "lib/python3/dist-packages/numpy/_core/include",
    "lib/python3/dist-packages/numpy/distutils",
    "lib/python3/dist-packages/numpy/f2py",
    "lib/python3/dist-packages/onnxruntime/backend",
    "lib/python3/dist-packages/onnxruntime/capi/libonnxruntime.so*",  # Python has its own copy
    "lib/python3/dist-packages/onnxruntime/quantization",
    "lib/python3/dist-packages/onnxruntime/tools",
    "lib/python3/dist-packages/onnxruntime/transformers",
    "lib/python3/dist-packages/yaml/_yaml*.so",  # the pure Python loader is the one in use
    "lib/python3/dist-packages/zstandard/*cffi*",  # the same once more, for other Pythons
    f"lib/{PYTHON}/EXTERNALLY-MANAGED",
    f"lib/{PYTHON}/__pycache__",
    f"lib/{PYTHON}/curses",
    f"lib/{PYTHON}/dbm",
    f"lib/{PYTHON}/distutils",
    f"lib/{PYTHON}/pydoc_data",
    f"lib/{PYTHON}/sitecustomize.py",
    f"lib/{PYTHON}/sqlite3",
    f"lib/{PYTHON}/test",
    f"lib/{PYTHON}/turtle.py",
    f"lib/{PYTHON}/venv",
    *(
        f"lib/{PYTHON}/lib-dynload/{name}*.so"
        for name in (
            *(
                "_codecs_",
                "_crypt",
                "_ctypes_test",
                "_curses",
                "_dbm",
                "_multibytecodec",
                "_sqlite3",
                "_test",
            ),
            *("_xx", "nis", "ossaudio", "readline", "xx"),
        )
    ),
]


def ensure_runtime(arch: str, cache: Path) -> Path:
    """The runtime tree for amd64 or arm64, to be installed at PREFIX; built into the cache if need be."""
    recipe = Path(__file__).read_bytes() + REQUIREMENTS.read_bytes() + arch.encode()
    tree = cache / f"runtime-{arch}-{hashlib.sha256(recipe).hexdigest()[:12]}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not tree.exists():
            with tempfile.TemporaryDirectory(dir=cache, prefix="draft-") as draft:
                _build(arch, Path(draft))
                (Path(draft) / "tree").rename(tree)
    return tree


def compile_python(tree: Path, directory: Path) -> None:
    """Compile what is below ``directory`` of a tree to be installed at PREFIX."""
    _compile(tree, directory, legacy=False)


def _compile_in_place(tree: Path, directory: Path) -> None:
    """Keep only what was compiled: the sources of Python and numpy would be 13 MB that nobody reads there."""
    _compile(tree, directory, legacy=True)
    for source in list(directory.rglob("*.py")):
        source.unlink()


def _compile(tree: Path, directory: Path, *, legacy: bool) -> None:
    if sys.version_info[:2] != (3, 11):
        raise SystemExit(f"building the package needs Python 3.11, this is {sys.version.split()[0]}")
    if not compileall.compile_dir(
        directory,
        invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
        legacy=legacy,
        prependdir=str(PREFIX),
        quiet=1,
        stripdir=str(tree),
    ):
        raise SystemExit(f"{directory}: some files do not compile")


def _build(arch: str, draft: Path) -> None:
    debian, tree = draft / "debian", draft / "tree"
    suite, *packages = DEBIAN
    _run("mmdebstrap", "--variant=extract", f"--arch={arch}", f"--include={','.join(packages)}",
         "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr", suite, str(debian))  # fmt: skip
    (tree / "bin").mkdir(parents=True)
    shutil.copy2(debian / "usr/bin" / PYTHON, tree / "bin")
    shutil.copytree(debian / "usr/lib" / PYTHON, tree / "lib" / PYTHON, symlinks=True)
    _unpack_wheels(arch, draft, tree / "lib/python3/dist-packages")
    for pattern in NOT_NEEDED:
        for path in list(tree.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for package in WITH_DEBUG_SYMBOLS:
        for library in (tree / "lib/python3/dist-packages" / package).rglob("*.so"):
            _run(f"{MACHINES[arch]}-linux-gnu-strip", "--strip-debug", str(library))
    libraries = debian / "usr/lib" / f"{MACHINES[arch]}-linux-gnu"
    _copy_libraries(tree, libraries)
    _copy_licenses(tree, debian)
    loader = next(path.name for path in (tree / "lib").glob("ld-linux-*"))
    python = tree / "bin" / PYTHON
    for name in BASE_LIBRARIES:
        _run("patchelf", "--add-needed", name, str(python))
    _run("patchelf", "--set-interpreter", str(PREFIX / "lib" / loader), str(python))
    _run("patchelf", "--force-rpath", "--set-rpath", str(PREFIX / "lib"), str(python))
    _compile_in_place(tree, tree / "lib")


def _unpack_wheels(arch: str, draft: Path, site: Path) -> None:
    wheels = draft / "wheels"
    tags = ("manylinux2014", "manylinux_2_17", "manylinux_2_26", "manylinux_2_27", "manylinux_2_28")
    pip = (sys.executable, "-m", "pip")
    lines = REQUIREMENTS.read_text().splitlines()
    pure = [line.split()[0] for line in lines if line.endswith("# source only")]
    _run(*pip, "wheel", "--quiet", "--no-deps", f"--wheel-dir={wheels}", *pure)
    _run(*pip, "download", "--quiet", "--no-deps", "--only-binary=:all:", "--python-version=3.11",
         "--implementation=cp", *(f"--platform={tag}_{MACHINES[arch]}" for tag in tags),
         f"--find-links={wheels}", f"--dest={wheels}", f"--requirement={REQUIREMENTS}")  # fmt: skip
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)


def _copy_libraries(tree: Path, libraries: Path) -> None:
    """Every shared library that anything here needs, and that is not here yet."""
    have = {path.name for path in tree.rglob("*.so*")}
    todo = [path for path in tree.rglob("*") if path.is_file() and _is_elf(path)]
    for name in (*BASE_LIBRARIES, "libnss_dns.so.2", "libnss_files.so.2"):
        shutil.copy(libraries / name, tree / "lib" / name)
        todo.append(tree / "lib" / name)
        have.add(name)
    while todo:
        for name in _needed(todo.pop()) - have:
            if not (libraries / name).exists():
                raise SystemExit(f"{name} is needed, but Debian's packages here do not hold it")
            shutil.copy(libraries / name, tree / "lib" / name)
            have.add(name)
            todo.append(tree / "lib" / name)


def _copy_licenses(tree: Path, debian: Path) -> None:
    """The copyright files of the Debian packages that files here come from."""
    for package in ("gcc-12-base", "libc6", "libexpat1", "libffi8", "liblzma5", "libbz2-1.0",
                    f"lib{PYTHON}-minimal", "libssl3", "libuuid1", "zlib1g"):  # fmt: skip
        shutil.copy(debian / "usr/share/doc" / package / "copyright", tree / "lib" / f"COPYRIGHT.{package}")


def _is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _needed(path: Path) -> set[str]:
    text = subprocess.run(["readelf", "-d", path], check=True, capture_output=True, text=True).stdout
    return set(re.findall(r"\(NEEDED\).*\[(.+)\]", text))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C.UTF-8"})
    if done.returncode:
        raise SystemExit(f"{command[0]} failed:\n{done.stderr[-2000:]}")
