"""What is under test: each reader of messages, asked only whether it accepts the bytes."""

from __future__ import annotations

import contextlib
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar

from fuzz.oracle import Peers
from gaitd.bundle.read import Bundle
from gaitd.guardian.rules import GuardLimits
from gaitd.guardian.sessions import Sessions
from gaitd.policy.observation import required_fields
from gaitd.wire.codec import decode_command, decode_either
from gaitd.wire.control import Request, decode_reply, decode_request
from gaitd.wire.frame import WireError
from gaitd.wire.generated import FIRST_COMMAND_NS

PEER = b"controller"
LIMITS = GuardLimits(deadline_ns=60_000_000, first_command_ns=FIRST_COMMAND_NS)


class PythonReaders:
    """gaitd's own side. A method raises whatever the reader raises beside its documented error."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        manifest = bundle.manifest
        self._hello = {
            "controller": "fuzz",
            "joints": list(manifest.joints),
            "fields": required_fields(manifest),
            "inputs": [each.name for each in manifest.inputs],
        }
        self._sessions = self._running()

    @property
    def peers(self) -> Peers:
        """What the readers agreed on: the joints of the policy and its running session."""
        return Peers(
            joint_names=tuple(self._bundle.manifest.joints),
            needed_fields=frozenset(self._hello["fields"]),
            needed_inputs=frozenset(self._hello["inputs"]),
            session=self._sessions.state.session,
            policy=(self._bundle.manifest.name, self._bundle.policy_id),
        )

    def sample(self, data: bytes, peers: Peers) -> bool:
        """As the worker reads what a controller publishes."""
        try:
            decode_either(data, peers.observation_dim, peers.joints, peers.input_sizes)
        except WireError:
            return False
        return True

    def command(self, data: bytes, peers: Peers) -> bool:
        """As tools read what gaitd publishes."""
        try:
            decode_command(data, peers.joints)
        except WireError:
            return False
        return True

    def reply(self, data: bytes, peers: Peers) -> bool:
        """As gaitctl reads it."""
        try:
            decode_reply(data)
        except WireError:
            return False
        return True

    def request(self, data: bytes, peers: Peers) -> bool:
        """As the guardian answers it, in a session of this controller's."""
        try:
            reply = self._sessions.answer(PEER, decode_request(data), 2)
        except WireError:
            return False
        if reply.ok:
            self._sessions = self._running()
        return reply.ok

    def _running(self) -> Sessions:
        sessions = Sessions(self._bundle, LIMITS, 7, dict, 0)
        sessions.worker_ready = True
        for name, body in (("hello", self._hello), ("activate", {})):
            if not sessions.answer(PEER, Request(1, name, body), 1).ok:
                raise AssertionError(f"a good {name} is refused")
        return sessions


class NativeReaders:
    """The C++ client's side, in a process of its own with the sanitizers in it."""

    KINDS: ClassVar = {"state": 1, "command": 3, "reply": 5}

    def __init__(self, judge: Path) -> None:
        self._process = subprocess.Popen([str(judge)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def accept(self, kind: str, messages: Sequence[bytes], peers: Peers) -> list[bool]:
        """Whether each is accepted. Raises RuntimeError when the process died of one."""
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise AssertionError("pipes were asked for")
        parts = [struct.pack("<I", len(messages))]
        for message in messages:
            inputs = bytes([len(peers.input_sizes), *peers.input_sizes])
            parts += bytes([self.KINDS[kind], peers.joints]), inputs, struct.pack("<I", len(message)), message
        try:
            stdin.write(b"".join(parts))
            stdin.flush()
            verdicts = stdout.read(len(messages))
        except BrokenPipeError:
            verdicts = b""
        if len(verdicts) != len(messages):
            raise RuntimeError(f"the C++ reader of {kind} ended with {self._process.wait()}")
        return [verdict == 1 for verdict in verdicts]

    def __enter__(self) -> NativeReaders:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        self._process.wait()
