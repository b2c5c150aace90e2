"""``make fuzz``: messages by the million against the contract, then the coverage-guided fuzzers."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import secrets
import sys
import tempfile
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from fuzz import guided, native
from fuzz.campaign import Tally, run
from fuzz.targets import TARGETS
from support.bundles import mixed_manifest, small_manifest, write_small_bundle


def main() -> int:
    """Exit code 1 when anything was found."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--messages", type=int, default=10_000_000, help="that violate the contract")
    parser.add_argument("--seconds", type=int, default=12, help="of each coverage-guided target")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=None, help="to repeat a run with the same number of jobs")
    options = parser.parse_args()
    seed = secrets.randbits(32) if options.seed is None else options.seed
    start_s = time.monotonic()
    if options.seconds and not guided.atheris_available():
        print(f"{guided.ATHERIS_MISSING}; --seconds 0 leaves the coverage-guided part out", file=sys.stderr)
        return 1
    programs = native.build()
    print(f"seed {seed}", flush=True)
    tally = Tally()
    for manifest in (small_manifest(), mixed_manifest()):  # a policy of each format
        tally += _campaign(manifest, programs / "judge", seed, options.messages // 2, options.jobs)
    print(
        f"{tally.violating.total()} messages that violate the contract, {tally.accepted} accepted; "
        f"{tally.good.total()} good ones, all accepted"
        if not tally.findings
        else "\n".join(tally.findings)
    )
    outcomes = _guided(programs, options.seconds) if options.seconds else []
    for outcome in outcomes:
        print(f"{outcome.target}: {outcome.runs} runs{'' if outcome.ok else ', FAILED'}")
        if not outcome.ok:
            print(outcome.output)
    report = {
        "seed": seed,
        "jobs": options.jobs,
        "violating": dict(tally.violating),
        "violating_total": tally.violating.total(),
        "violating_readings": dict(tally.readings),
        "accepted": tally.accepted,
        "good": dict(tally.good),
        "findings": tally.findings,
        "guided": {outcome.target: asdict(outcome) for outcome in outcomes},
        "seconds": round(time.monotonic() - start_s, 1),
    }
    target = native.BUILD / "report.json"
    target.write_text(json.dumps(report, indent=1) + "\n")
    print(f"{target}: {report['seconds']} s")
    return int(bool(tally.findings) or not all(outcome.ok for outcome in outcomes))


def _campaign(manifest: dict[str, Any], judge: Path, seed: int, messages: int, jobs: int) -> Tally:
    with tempfile.TemporaryDirectory() as scratch:
        bundle = write_small_bundle(Path(scratch) / "policy.gaitd", manifest)
        # "spawn": the workers share nothing with this process, neither pipes nor random numbers.
        with multiprocessing.get_context("spawn").Pool(jobs) as pool:
            part = partial(run, bundle, judge, violating=-(-messages // jobs))
            total = Tally()
            for tally in pool.imap_unordered(part, [seed + index for index in range(jobs)]):
                total += tally
            return total


def _guided(programs: Path, seconds: int) -> list[guided.Outcome]:
    outcome = guided.fuzz_native(programs / guided.NATIVE_TARGET, seconds, native.BUILD)
    return [outcome, *(guided.fuzz_python(name, seconds, native.BUILD) for name in TARGETS)]


if __name__ == "__main__":
    sys.exit(main())
