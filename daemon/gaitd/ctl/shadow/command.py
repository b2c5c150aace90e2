"""gaitctl shadow: the command."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from gaitd.backends import golden_tolerance, open_backend
from gaitd.backends.base import Backend
from gaitd.backends.selftest import run_selftest
from gaitd.bundle.read import Bundle, decode_manifest, open_bundle
from gaitd.ctl import robot
from gaitd.ctl.shadow import bounds, live
from gaitd.ctl.shadow.link import ShadowLink
from gaitd.ctl.shadow.recorded import tally_recording
from gaitd.ctl.shadow.reporting import Pair, check_pair, in_words, one_line, report_of
from gaitd.ctl.shadow.verdict import Bound
from gaitd.errors import GateError, InputError, ResourceError, printable
from gaitd.policy.manifest import Manifest
from gaitd.shared.shadow import ShadowReport
from gaitd.system.command_line import confirm
from gaitd.telemetry.recording import read_recording

GOOD = ("equivalent", "as simulated")
"""Verdicts of exit code 0."""


def add_parser(commands: Any) -> None:
    """Add the command to gaitctl."""
    parser = commands.add_parser(
        "shadow", help="run a policy beside the one that walks and compare them; or over a recording"
    )
    parser.add_argument("bundle", type=Path, nargs="?", help="the candidate; without one: how it does")
    parser.add_argument("--stop", action="store_true", help="end the shadow that runs")
    parser.add_argument("--recording", type=Path, metavar="FILE", help="compare over this recording instead")
    parser.add_argument("--seconds", type=robot.seconds, help="end after so long (default: Ctrl-C)")
    parser.add_argument(
        "--simulated", type=Path, metavar="FILE", help="what the two showed in simulation (--output)"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the report, as JSON")
    parser.add_argument("--json", action="store_true", help="for programs: only the report")
    parser.set_defaults(command=_run)


def _check(options: argparse.Namespace) -> None:
    """Raise InputError for an option that would be ignored beside the others."""
    given = [name for name in ("recording", "seconds", "simulated", "output") if getattr(options, name)]
    if options.stop and (given or options.bundle is not None):
        other = f"--{given[0]}" if given else options.bundle
        raise InputError(f"--stop ends the shadow that runs, whichever it is: leave out {other}")
    if given and options.bundle is None:
        raise InputError(f"--{given[0]}: name the candidate's bundle, too")
    if options.recording is not None and options.seconds is not None:
        raise InputError("--seconds: a recording is compared as a whole, leave it out with --recording")


def _run(options: argparse.Namespace) -> int:
    _check(options)
    if options.output is not None:
        _write(options.output, b"", "ab")  # a comparison of hours must not fail at its end
    if options.recording is not None:
        return _end(*_over_recording(options), options)
    if options.bundle is not None:
        try:
            return _end(*_beside(options), options)
        except MemoryError:
            most = live.MOST_BYTES >> 20
            raise ResourceError(
                f"{options.bundle}: a shadow may have {most} MB, this one takes more"
            ) from None
    with ShadowLink(options.runtime_dir) as link:
        news = link.stop() if options.stop else link.ask()
    if options.json:
        print(msgspec.json.encode(news).decode())
    elif options.stop:
        confirm("the shadow ends" if news.runs else "no shadow runs")
    elif news.report is None:
        print("a shadow begins" if news.runs else "no shadow runs; gaitctl shadow BUNDLE begins one")
    else:
        # Whoever may connect to the socket can have told it.
        print(printable(f"{news.report.policy} {'runs' if news.runs else 'ran'}: {one_line(news.report)}"))
    return 0


def _end(report: ShadowReport, period_s: float, options: argparse.Namespace) -> int:
    data = msgspec.json.format(msgspec.json.encode(report), indent=2)
    print(data.decode() if options.json else in_words(report, period_s))
    if options.output is not None:
        _write(options.output, data + b"\n")
    return 0 if report.verdict in GOOD else GateError.exit_code


def _write(path: Path, data: bytes, mode: str = "wb") -> None:
    try:
        with path.open(mode) as file:
            file.write(data)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None


def _over_recording(options: argparse.Namespace) -> tuple[ShadowReport, float]:
    recording = read_recording(options.recording)
    if recording.lack:
        print(f"{options.recording}: {recording.lack}", file=sys.stderr)
    bundle = open_bundle(options.bundle)
    info = recording.info
    walking = decode_manifest(recording.manifest, f"{options.recording}: its manifest")
    check_pair(bundle, walking)
    bound = _bound(options, bundle, info.policy_id, walking, info.backend)
    backend = _open(bundle)
    try:
        tally, terms = tally_recording(recording, bundle, backend)
    finally:
        backend.close()
    if not tally.judged + tally.errors:
        raise InputError(f"{options.recording}: no step can be computed again; gaitctl replay says why")
    return report_of(Pair(bundle, info.policy, info.policy_id, bound), tally, terms), info.period_s


def _beside(options: argparse.Namespace) -> tuple[ShadowReport, float]:
    live.keep_out_of_the_way()
    with ShadowLink(options.runtime_dir) as link:
        walking = live.Walking.of(link, options.bundle.name)
        about = walking.about
        bundle = open_bundle(options.bundle)
        check_pair(bundle, walking.manifest)
        bound = _bound(options, bundle, about.policy["id"], walking.manifest, walking.backend)
        bound = replace(bound, period_s=about.period_s)
        pair = Pair(bundle, f"{about.policy['name']} {about.policy['version']}", about.policy["id"], bound)
        backend = _open(bundle)
        try:
            report = live.follow(link, walking, pair, backend, options.seconds, quiet=options.json)
        finally:
            backend.close()
    return report, about.period_s


def _open(bundle: Bundle) -> Backend:
    """On the CPU, and proven as a worker's is. Raises InputError."""
    backend = open_backend("onnx", bundle)
    run_selftest(backend, bundle, golden_tolerance("onnx", bundle))
    return backend


def _bound(options: argparse.Namespace, bundle: Bundle, of_id: str, walking: Manifest, backend: str) -> Bound:
    if options.simulated is not None:
        return bounds.simulated_bound(options.simulated, bundle.policy_id, of_id, backend)
    return bounds.report_bound(bundle, walking, backend)
