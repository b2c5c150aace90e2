"""Sessions: who may move the joints, and what was agreed with whom. Pure: time is an argument.

Holds the guardian's state and answers the control channel's requests. No sockets, no shared memory.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec

import gaitd
from gaitd.bundle.read import Bundle
from gaitd.errors import InputError, printable
from gaitd.guardian import failover, rules, switching
from gaitd.guardian.policies import Policy
from gaitd.guardian.rules import GuardLimits, GuardState, WorkerView
from gaitd.policy.joints import check_same_joints
from gaitd.shared.lanes import SHM_CHANNEL
from gaitd.shared.processes import POLICY_SLOTS, STANDBY_SLOT, WORKER_SLOT, policy_in
from gaitd.wire.causes import NO_CAUSE, Cause
from gaitd.wire.control import Activate, Damp, Hello, Release, Reply, Request, Status, Switch, read_body
from gaitd.wire.endpoints import slot_channels
from gaitd.wire.frame import WireError
from gaitd.wire.generated import SHM_TRANSPORT, TRANSPORT, Mode, Reason

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


class _Greeted(NamedTuple):
    """What was agreed on in a hello."""

    hello: Hello
    policy: int
    """Index of the policy that sessions began with then."""
    over_network: bool
    """It reaches the first worker only."""


def one_line(text: str, length: int = 120) -> str:
    """What a peer wrote, fit for logs and service status."""
    return printable(text, length)


class Sessions:
    """The sessions of one gaitd."""

    def __init__(
        self,
        bundle: Bundle,
        limits: GuardLimits,
        first_session: int,
        status: Callable[[], dict[str, Any]],
        now_ns: int,
        *,
        slots: Sequence[int] = (WORKER_SLOT,),
        beside: Sequence[Bundle] = (),
        view: Callable[[int], WorkerView | None] = lambda slot: None,
        shared_memory: bool = False,
    ) -> None:
        """``first_session`` must be unlike those of earlier runs; ``status`` fills the status reply.

        ``slots``: of the workers that there are. ``beside``: further policies, which agree with the first
        one (gaitd.bundle.together). ``view``: what the worker in a slot says of itself; None: not ready.
        ``shared_memory``: it is served as a transport.
        """
        self.state = GuardState(since_ns=now_ns)
        self._policies = [Policy(each) for each in (bundle, *beside)]
        self.first = 0
        """Index of the policy that a session begins with."""
        self._limits = limits
        self._view = view
        self.joint_order = self._policies[0].joint_order(self._joints, 0, 0, WORKER_SLOT, raw=False)
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
        if shared_memory:
            at = {"transport": SHM_TRANSPORT, "state": SHM_CHANNEL, "command": SHM_CHANNEL}
            self._endpoints += [{"slot": slot, **at} for slot in slots]
        self._hellos: OrderedDict[bytes, _Greeted] = OrderedDict()
        self._owner: bytes = b""
        self._owner_name = ""
        self._damped_by = ""
        self.worker_ready = False

    @property
    def _joints(self) -> list[str]:
        """In the order that all policies have."""
        return self._policies[0].manifest.joints

    def title(self, slot: int) -> dict[str, str]:
        """Of the policy that the worker in a slot runs: ``id``, ``name``, ``version``."""
        return self._policies[policy_in(slot)].title

    @property
    def titles(self) -> list[dict[str, str]]:
        """Of all policies, in their order."""
        return [each.title for each in self._policies]

    @property
    def peers(self) -> list[bytes]:
        """Connections whose hello is remembered."""
        return list(self._hellos)

    @property
    def owner(self) -> str:
        """Name of the controller that has, or had, the latest session; empty before the first.

        Its connection may be gone: after damping a client makes new ones.
        """
        return self._owner_name

    def forget(self, peer: bytes) -> None:
        """The connection is gone. Its session is not: the timer ends that."""
        if peer != self._owner or self.state.mode is not Mode.ACTIVE:
            self._hellos.pop(peer, None)

    def name_of(self, peer: bytes) -> str:
        """The name that it gave in its hello; empty without one."""
        return one_line(self._hellos[peer].hello.controller, 40) if peer in self._hellos else ""

    def fail_over(self, worker: WorkerView, why: str, now_ns: int) -> None:
        """The standby goes on with the session of ``worker``, under a new epoch."""
        self._hand_over(STANDBY_SLOT)
        last = replace(self.state, changed_from=None)
        self.state = failover.move(last, worker, self._epoch, STANDBY_SLOT, why, now_ns)

    def undo_switch(self) -> None:
        """The worker before the newest change of policies goes on, under a new epoch."""
        assert self.state.changed_from is not None
        self._hand_over(self.state.changed_from)
        self.state = switching.undo(self.state, self._epoch)

    def _hand_over(self, slot: int) -> None:
        """The session goes on with the worker in that slot."""
        self._epoch += 1
        setup = replace(self.joint_order.setup, epoch=self._epoch, slot=slot)
        self.joint_order = replace(self.joint_order, setup=setup)

    def answer(self, peer: bytes, request: Request, now_ns: int) -> Reply:
        """Answer one request of a connection."""
        handlers: dict[str, Callable[[bytes, Request, int], dict[str, Any]]] = {
            "hello": self._hello,
            "activate": self._activate,
            "release": self._release,
            "damp": self._damp,
            "switch": self._switch,
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
        policy, raw = self._policies[self.first], hello.message == "raw_observation"
        check_same_joints(self._joints, hello.joints, f"hello of {hello.controller[:40]!r}")
        for field in [] if raw else policy.fields:
            if field not in hello.fields:
                raise RefusedError(
                    Reason.CONTRACT,
                    f"the policy needs the state field {field!r}, which controller {hello.controller[:40]!r} "
                    "does not fill",
                )
        for declared in [] if raw else policy.inputs:
            if declared["name"] not in hello.inputs:
                raise RefusedError(
                    Reason.CONTRACT,
                    f"the policy needs the named input {declared['name']!r} ({declared['length']} values, "
                    f"{declared['unit']}), which controller {hello.controller[:40]!r} does not send",
                )
        if policy.needs_raw and not raw:
            raise RefusedError(
                Reason.CONTRACT,
                f"the policy's observation is made by the controller (raw_observation), but controller "
                f"{hello.controller[:40]!r} sends states",
            )
        self._hellos[peer] = _Greeted(hello, self.first, request.over_network)
        self._hellos.move_to_end(peer)
        while len(self._hellos) > MAX_CONTROLLERS:
            del self._hellos[next(each for each in self._hellos if each != self._owner)]
        return {
            "gaitd": gaitd.__version__,
            "policies": self.titles,
            "policy": self.first,
            "period_ns": policy.manifest.period_ns,
            "times": self._times,
            "endpoints": self._endpoints[:1] if request.over_network else self._endpoints,
            **policy.contract(hello.joints, raw=raw),
        }

    def _activate(self, peer: bytes, request: Request, now_ns: int) -> dict[str, Any]:
        read_body(request, Activate)
        if peer not in self._hellos:
            raise RefusedError(Reason.CONTRACT, "activate needs a hello on the same connection first")
        if self.state.mode is Mode.ACTIVE and peer != self._owner:
            raise RefusedError(
                Reason.CONTRACT,
                f"session {self.state.session} of controller {self.owner or 'another'!r} is active",
            )
        if not self.worker_ready:
            raise RefusedError(Reason.BACKEND_ERROR, "the worker is not ready yet; try again in a moment")
        hello, policy, over_network = self._hellos[peer]
        raw, first = hello.message == "raw_observation", self._policies[self.first]
        if policy != self.first:
            # Its default pose and gains may be others, and a controller stands up with what hello said.
            raise RefusedError(
                Reason.CONTRACT,
                f"hello agreed on policy {self.titles[policy]['name']}, and sessions begin with "
                f"{first.title['name']} by now: say hello again",
            )
        if over_network and self.first != 0:
            name = self.titles[0]["name"]
            raise RefusedError(
                Reason.CONTRACT,
                f"sessions begin with policy {first.title['name']}, and over TCP only {name} can be reached: "
                f"gaitctl switch {name}",
            )
        session = self._next_session
        self._next_session += 1
        self._epoch += 1
        self._owner, self._owner_name, self._damped_by = peer, self.name_of(peer), ""
        slot = POLICY_SLOTS[self.first]
        self.joint_order = first.joint_order(hello.joints, session, self._epoch, slot, raw=raw)
        self.state = rules.activate(session, self._epoch, now_ns, slot)
        return {"session": session, "epoch": self._epoch, "slot": slot}

    def _switch(self, peer: bytes, request: Request, now_ns: int) -> dict[str, Any]:
        policy = self._policy_named(read_body(request, Switch).policy)
        title = self._policies[policy].title
        slot = failover.slot_of(self.state, policy)
        view = self._view(slot)
        if self.state.mode is Mode.DAMPING:
            raise RefusedError(
                Reason.CONTRACT, "gaitd is in damping: release the session or activate anew first"
            )
        if self.state.mode is Mode.ACTIVE:
            self._switch_session(peer, slot, view, now_ns)
        elif view is None:
            raise RefusedError(Reason.BACKEND_ERROR, f"policy {title['name']}: its worker is not ready")
        else:
            self.first, self.worker_ready = policy, True
        state = self.state
        return {"policy": policy, "session": state.session, "epoch": state.epoch, "slot": slot, **title}

    def _switch_session(self, peer: bytes, slot: int, view: WorkerView | None, now_ns: int) -> None:
        """The session goes on with the policy of the worker in ``slot``, under a new epoch."""
        state, owner = self.state, self._hellos.get(self._owner)
        if peer != self._owner and not (owner is not None and owner.hello.switchable):
            raise RefusedError(
                Reason.CONTRACT,
                f"session {state.session} of controller {self.owner or 'another'!r} is active, and its hello "
                "has not agreed that others change its policy",
            )
        if owner is not None and owner.over_network:
            raise RefusedError(
                Reason.CONTRACT, "the controller is connected over TCP, where it reaches one worker"
            )
        if self.joint_order.setup.raw:
            raise RefusedError(
                Reason.CONTRACT, "the controller builds the observations, and those of one policy"
            )
        if slot == state.slot:
            return
        holder = self._view(state.slot)
        why_not = "the worker that has the session is not ready"
        if holder is not None:
            why_not = switching.obstacle(state, holder, view, self._limits, now_ns, self._joints)
        if holder is None or why_not:
            name = self.title(slot)["name"]
            raise RefusedError(Reason.BACKEND_ERROR, f"no change to policy {name}: {why_not}")
        self._hand_over(slot)
        self.state = switching.move(state, holder, self._epoch, slot, now_ns)

    def _policy_named(self, wanted: str) -> int:
        """The index of the policy of that name or id, or whose id begins so."""
        titles = self.titles
        found = [index for index, title in enumerate(titles) if wanted in (title["name"], title["id"])] or [
            index for index, title in enumerate(titles) if wanted and title["id"].startswith(wanted)
        ]
        if len(found) != 1:
            known = ", ".join(f"{title['name']} {title['version']} ({title['id']})" for title in titles)
            which = "several policies are" if found else "no policy is"
            raise RefusedError(
                Reason.CONTRACT, f"{which} called {one_line(wanted, 60)!r}; loaded are {known}"
            )
        return found[0]

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
            self._damped_by = self.name_of(peer)
        self.state = rules.damp(self.state, Reason(body.reason), one_line(body.detail), now_ns)
        return {}

    def _report(self, peer: bytes, request: Request, now_ns: int) -> dict[str, Any]:
        read_body(request, Status)
        state = self.state
        return {
            "mode": state.mode.name.lower(),
            "reason": state.reason.name.lower(),
            "detail": state.explanation(self._joints),
            "cause": self._cause(state.cause),
            "session": state.session,
            "mode_for_s": (now_ns - state.since_ns) / 1e9,
            "damped_by": self._damped_by if state.reason in ASKED_FOR else "",
            "owner": self.owner if state.session else "",
            "controllers": [self.name_of(peer) for peer in self._hellos],
            "accounts": [
                {"controller": self.name_of(peer), "owns": peer == self._owner, **msgspec.to_builtins(told)}
                for peer, greeted in self._hellos.items()
                if (told := greeted.hello.account) is not msgspec.UNSET
            ],
            "deadline_s": self._times["deadline_ns"] / 1e9,
            **self._status(),
        }

    def _cause(self, cause: Cause) -> dict[str, Any] | None:
        if cause is NO_CAUSE:
            return None
        joints = self._joints
        return {
            "kind": cause.kind.name.lower(),
            "joint": None if cause.joint is None else joints[cause.joint],
            "number": cause.number,
            "bound": cause.bound,
            "text": cause.text(joints),
        }
