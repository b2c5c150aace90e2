"""A candidate over a recording: gaitctl replay's steps, judged."""

from __future__ import annotations

from gaitd.backends.base import Backend
from gaitd.bundle.read import Bundle, decode_manifest
from gaitd.ctl.replay.run import Replayer
from gaitd.ctl.shadow.tally import JudgedStep, Tally, applied_in
from gaitd.ctl.shadow.terms import TermComparison
from gaitd.policy.joints import order_from
from gaitd.telemetry.recording import Recording
from gaitd.wire.generated import CauseKind


def tally_recording(recording: Recording, bundle: Bundle, backend: Backend) -> tuple[Tally, TermComparison]:
    """All sessions of the recording. Raises InputError when the policy is for other joints."""
    replayed = Replayer(recording, bundle, backend).run()
    joints = recording.info.joints
    back = order_from(bundle.manifest.joints, joints)
    left_out = replayed.unknown_past + replayed.missing
    tally = Tally(joints, left_out=left_out, another_policy=replayed.of_others)
    walking = decode_manifest(recording.manifest, "the recording's manifest")
    terms = TermComparison(bundle.manifest, walking)
    for row, index in enumerate(replayed.indices):
        record = recording.records[index]
        cause = CauseKind.received(replayed.causes[row])
        target = replayed.target[row][back] if cause is CauseKind.NONE else None
        took, clamped = replayed.took[row], replayed.clamped[row]
        tally.add(JudgedStep(target, applied_in(record), cause, clamped, took))
        terms.add(replayed.observation[row], record["observation"])
    for index, cause in replayed.unanswered:
        tally.add(JudgedStep(None, applied_in(recording.records[index]), cause, {}, None))
    return tally, terms
