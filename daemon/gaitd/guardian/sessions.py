"""Sessions: who may move the joints, and what was agreed with whom. Pure: time is an argument.

Holds the guardian's state and answers the control channel's requests. No sockets, no shared memory.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np

import gaitd
from gaitd.bundle.read import Bundle, fallback_damping
from gaitd.errors import InputError, printable
from gaitd.guardian import failover, rules
from gaitd.guardian.rules import GuardLimits, GuardState, WorkerView
from gaitd.policy.joints import check_same_joints, joint_array, order_from
from gaitd.policy.observation import required_fields
from gaitd.shared.guard_memory import SessionSetup
from gaitd.shared.processes import STANDBY_SLOT, WORKER_SLOT
from gaitd.wire.causes import NO_CAUSE, Cause
from gaitd.wire.control import Activate, Damp, Hello, Release, Reply, Request, Status, read_body
from gaitd.wire.endpoints import slot_channels
from gaitd.wire.frame import WireError
from gaitd.wire.generated import JOINT_TARGET, TRANSPORT, Mode, Reason
from gaitd.wire.messages import Float32Array

MAX_CONTROLLERS = 16
"""Connections whose hello is remembered; the one heard of longest ago is forgotten first."""
ASKED_FOR = (Reason.OPERATOR, Reason.CLIENT_DEADLINE)
"""The reasons that a request to damp may give."""
MAX_ERROR_CHARACTERS = 4000
"""An error may quote what the controller said, which may be long; the policy's joint names must fit."""


class RefusedError(Exception):
    """A request that is not granted."""

    def __init__(self, reason: Reason, error: str) -> None:
        super().__init__(error)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class JointGoal:
    """What the guardian asks of the joints; each (n,), controller order."""

    position: Float32Array
    """rad"""
    stiffness: Float32Array
    """Nm/rad"""
    damping: Float32Array
    """Nm s/rad"""


@dataclass(frozen=True, slots=True)
class JointOrder:
    """A controller's joint order against the policy's, and the guardian's commands in it."""

    setup: SessionSetup
    controller_from_policy: tuple[int, ...]
    """Index in the controller's order of each joint of the policy's."""
    limp: JointGoal
    """Nothing but the robot's damping."""
    stance: JointGoal
    """The policy's default stance, with its own gains."""


def one_line(text: str, length: int = 120) -> str:
    """What a peer wrote, fit for logs and service status."""
    return printable(text, length)


class Sessions:
    """One bundle's sessions."""

    def __init__(
        self,
        bundle: Bundle,
        limits: GuardLimits,
        first_session: int,
        status: Callable[[], dict[str, Any]],
        now_ns: int,
        *,
        slots: Sequence[int] = (WORKER_SLOT,),
    ) -> None:
        """``first_session`` must be unlike those of earlier runs; ``status`` fills the status reply.

        ``slots``: of the workers that there are.
        """
        self.state = GuardState(since_ns=now_ns)
        self._bundle = bundle
        self._pipeline = bundle.pipeline()
        self.joint_order = self._joint_order_of(bundle.manifest.joints, 0, 0, raw=False)
        """Joint order of the latest session; the policy's own before the first."""
        self._times = {
            "deadline_ns": limits.deadline_ns,
            "first_command_ns": limits.first_command_ns,
            "stance_ns": limits.stance_ns,
        }
        self._next_session = first_session
        self._epoch = 0
        self._status = status
        self._endpoints = [
            {"slot": slot, "transport": TRANSPORT, "state": state, "command": command}
            for slot in slots
            for state, command in [slot_channels(slot)]
        ]
        self._hellos: OrderedDict[bytes, Hello] = OrderedDict()
        self._owner: bytes = b""
        self._damped_by = ""
        self.worker_ready = False

    @property
    def peers(self) -> list[bytes]:
        """Connections whose hello is remembered."""
        return list(self._hellos)

    @property
    def owner(self) -> str:
        """Name of the controller that has, or had, the latest session; empty before the first."""
        return self._name_of(self._owner)

    def forget(self, peer: bytes) -> None:
        """The connection is gone. Its session is not: the timer ends that."""
        if peer != self._owner or self.state.mode is not Mode.ACTIVE:
            self._hellos.pop(peer, None)

    def _name_of(self, peer: bytes) -> str:
        """The name that it gave in its hello; empty without one."""
        return one_line(self._hellos[peer].controller, 40) if peer in self._hellos else ""

    def fail_over(self, worker: WorkerView, why: str, now_ns: int) -> None:
        """The standby goes on with the session of ``worker``, under a new epoch."""
        self._epoch += 1
        setup = replace(self.joint_order.setup, epoch=self._epoch, slot=STANDBY_SLOT)
        self.joint_order = replace(self.joint_order, setup=setup)
        self.state = failover.move(self.state, worker, self._epoch, STANDBY_SLOT, why, now_ns)

    def answer(self, peer: bytes, request: Request, now_ns: int) -> Reply:
        """Answer one request of a connection."""
        handlers: dict[str, Callable[[bytes, Request, int], dict[str, Any]]] = {
            "hello": self._hello,
            "activate": self._activate,
            "release": self._release,
            "damp": self._damp,
            "status": self._report,
        }
        try:
            if request.name not in handlers:
                known = ", ".join(handlers)
                raise RefusedError(
                    Reason.CONTRACT, f"unknown request {request.name[:40]!r}; known are {known}"
                )
            return Reply(request.request_id, True, handlers[request.name](peer, request, now_ns))
        except (RefusedError, WireError, InputError) as error:
            reason = error.reason if isinstance(error, RefusedError) else Reason.CONTRACT
            body = {"reason": int(reason), "error": one_line(str(error), MAX_ERROR_CHARACTERS)}
            return Reply(request.request_id, False, body)

    def _hello(self, peer: bytes, request: Request, now_ns: int) -> dict[str, Any]:
        hello = read_body(request, Hello)
        manifest = self._bundle.manifest
        check_same_joints(manifest.joints, hello.joints, f"hello of {hello.controller[:40]!r}")
        needed = required_fields(manifest) if hello.message == "state" else []
        for field in needed:
            if field not in hello.fields:
                raise RefusedError(
                    Reason.CONTRACT,
                    f"the policy needs the state field {field!r}, which controller {hello.controller[:40]!r} "
                    "does not fill",
                )
        self._hellos[peer] = hello
        self._hellos.move_to_end(peer)
        while len(self._hellos) > MAX_CONTROLLERS:
            del self._hellos[next(each for each in self._hellos if each != self._owner)]
        pipeline = self._pipeline
        order = self._joint_order_of(hello.joints, 0, 0, raw=False)
        command = manifest.velocity_command
        return {
            "gaitd": gaitd.__version__,
            "policies": [{"id": self._bundle.policy_id, "name": manifest.name, "version": manifest.version}],
            "policy": 0,
            "period_ns": manifest.period_ns,
            "times": self._times,
            "endpoints": self._endpoints,
            "joints": manifest.joints,
            "joint_targets": [JOINT_TARGET] * len(manifest.joints),
            "fields": needed,
            "inputs": [],
            "observation_dim": pipeline.builder.dim,
            "action_dim": len(manifest.joints),
            "velocity_command": {
                "unit": command.unit,
                "min": list(command.min),
                "max": list(command.max),
            },
            "default_joint_position": order.stance.position.tobytes(),
            "stiffness": order.stance.stiffness.tobytes(),
            "damping": order.stance.damping.tobytes(),
            "fallback_damping": order.limp.damping.tobytes(),
        }

    def _activate(self, peer: bytes, request: Request, now_ns: int) -> dict[str, Any]:
        read_body(request, Activate)
        hello = self._hellos.get(peer)
        if hello is None:
            raise RefusedError(Reason.CONTRACT, "activate needs a hello on the same connection first")
        if self.state.mode is Mode.ACTIVE and peer != self._owner:
            raise RefusedError(
                Reason.CONTRACT,
                f"session {self.state.session} of controller {self.owner or 'another'!r} is active",
            )
        if not self.worker_ready:
            raise RefusedError(Reason.BACKEND_ERROR, "the worker is not ready yet; try again in a moment")
        session = self._next_session
        self._next_session += 1
        self._epoch += 1
        self._owner, self._damped_by = peer, ""
        raw = hello.message == "raw_observation"
        self.joint_order = self._joint_order_of(hello.joints, session, self._epoch, raw=raw)
        self.state = rules.activate(session, self._epoch, now_ns)
        return {"session": session, "epoch": self._epoch, "slot": WORKER_SLOT}

    def _release(self, peer: bytes, request: Request, now_ns: int) -> dict[str, Any]:
        session = read_body(request, Release).session
        damped = self.state.mode is Mode.DAMPING
        if session not in (self.state.session, 0) or (session == 0 and not damped):
            raise RefusedError(Reason.CONTRACT, f"session {session} is not the running one")
        # In DAMPING nothing moves any more: whoever sees to the robot may end the session.
        if peer != self._owner and not damped:
            raise RefusedError(Reason.CONTRACT, f"session {session} was activated by another connection")
        self._damped_by = ""
        self.state = rules.release(self.state, now_ns)
        return {}

    def _damp(self, peer: bytes, request: Request, now_ns: int) -> dict[str, Any]:
        body = read_body(request, Damp)
        if body.reason not in ASKED_FOR:
            raise RefusedError(
                Reason.CONTRACT, f"damp: reason {body.reason} is not operator or client_deadline"
            )
        if body.session not in (0, self.state.session):
            raise RefusedError(Reason.CONTRACT, f"session {body.session} is not the running one")
        if self.state.mode is not Mode.DAMPING:
            self._damped_by = self._name_of(peer)
        self.state = rules.damp(self.state, Reason(body.reason), one_line(body.detail), now_ns)
        return {}

    def _report(self, peer: bytes, request: Request, now_ns: int) -> dict[str, Any]:
        read_body(request, Status)
        state = self.state
        return {
            "mode": state.mode.name.lower(),
            "reason": state.reason.name.lower(),
            "detail": state.explanation(self._bundle.manifest.joints),
            "cause": self._cause(state.cause),
            "session": state.session,
            "mode_for_s": (now_ns - state.since_ns) / 1e9,
            "damped_by": self._damped_by if state.reason in ASKED_FOR else "",
            "owner": self.owner if state.session else "",
            "controllers": [self._name_of(peer) for peer in self._hellos],
            "accounts": [
                {"controller": self._name_of(peer), "owns": peer == self._owner, **msgspec.to_builtins(told)}
                for peer, hello in self._hellos.items()
                if (told := hello.account) is not msgspec.UNSET
            ],
            "deadline_s": self._times["deadline_ns"] / 1e9,
            **self._status(),
        }

    def _cause(self, cause: Cause) -> dict[str, Any] | None:
        if cause is NO_CAUSE:
            return None
        joints = self._bundle.manifest.joints
        return {
            "kind": cause.kind.name.lower(),
            "joint": None if cause.joint is None else joints[cause.joint],
            "number": cause.number,
            "bound": cause.bound,
            "text": cause.text(joints),
        }

    def _joint_order_of(self, joints: list[str], session: int, epoch: int, *, raw: bool) -> JointOrder:
        manifest, mapper = self._bundle.manifest, self._pipeline.mapper
        policy = manifest.joints
        to_controller = order_from(policy, joints)
        default = joint_array(manifest.default_joint_position_rad, policy, "default_joint_position_rad")
        damping = fallback_damping(manifest)
        zeros = np.zeros_like(damping)
        return JointOrder(
            SessionSetup(session, epoch, WORKER_SLOT, raw, order_from(joints, policy)),
            tuple(joints.index(joint) for joint in policy),
            JointGoal(zeros, zeros, damping[to_controller]),
            JointGoal(default[to_controller], mapper.stiffness[to_controller], mapper.damping[to_controller]),
        )
