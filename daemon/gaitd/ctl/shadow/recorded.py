"""A candidate over a recording: gaitctl replay's steps, judged."""

from __future__ import annotations

import numpy as np

from gaitd.backends.base import Backend
from gaitd.bundle.read import Bundle, decode_manifest
from gaitd.ctl.replay.run import Replayer
from gaitd.ctl.shadow.tally import JudgedStep, Tally
from gaitd.ctl.shadow.terms import TermComparison
from gaitd.policy.joints import order_from
from gaitd.telemetry.recording import Recording
from gaitd.wire.generated import CauseKind


def tally_recording(recording: Recording, bundle: Bundle, backend: Backend) -> tuple[Tally, TermComparison]:
    """All sessions of the recording. Raises InputError when the policy is for other joints."""
    replayed = Replayer(recording, bundle, backend).run()
    joints = recording.info.joints
    back = order_from(bundle.manifest.joints, joints)
    tally = Tally(joints, missed=replayed.missing, left_out=replayed.unknown_past)
    tally.refuse(replayed.refused)
    walking = decode_manifest(recording.manifest, "the recording's manifest")
    terms = TermComparison(bundle.manifest, walking)
    for row, index in enumerate(replayed.indices):
        record = recording.records[index]
        cause = CauseKind.received(replayed.causes[row])
        accepted = cause is CauseKind.NONE
        tally.add(
            JudgedStep(
                target=replayed.target[row][back] if accepted else None,
                applied=np.asarray(record["target"]) if record["cause"] == 0 else None,
                cause=cause,
                clamped=replayed.clamped[row],
                took_s=replayed.took_ns[row] / 1e9,
            )
        )
        terms.add(replayed.observation[row], record["observation"])
    return tally, terms
