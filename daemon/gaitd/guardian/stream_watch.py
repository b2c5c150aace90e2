"""What people hear of the streams of the policy that walks, or would: which one is stale, and since when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gaitd.policy.manifest import Stream
from gaitd.policy.stream import FrameFault
from gaitd.shared.memory import Words
from gaitd.system.log import log

THEN = {
    "hold": "the last frame stays",
    "zeros": "the policy sees zeros",
    "slow": "the last frame stays, and the robot walks slower",
    "damp": "states are refused: DAMPING",
}
"""What a stale stream leads to, by the word of the manifest."""


class StreamWatch:
    """Says it in the log when a stream becomes stale, or fresh again."""

    def __init__(self) -> None:
        self._stale: dict[str, bool] = {}

    def look(self, streams: Sequence[Stream], words: Words, now_ns: int) -> None:
        """``words``: of the worker whose policy has these streams."""
        for index, stream in enumerate(streams):
            since_ns = words.row("stream_stale_since_ns")[index]
            stale = since_ns != 0
            if self._stale.get(stream.name) is stale:
                continue
            if stale:
                never = words.row("stream_frames")[index] == 0
                log.warning(
                    "A STREAM IS STALE",
                    stream=stream.name,
                    since=f"{max(0, now_ns - since_ns) / 1e9:.3f} s",
                    frames="none yet" if never else words.row("stream_frames")[index],
                    refused=refused_frames(words, index) or "none",
                    then=THEN[stream.beyond],
                )
            else:
                log.info("a stream is fresh", stream=stream.name)
            self._stale[stream.name] = stale


def describe_streams(
    streams: Sequence[Stream], words: Words, is_produced: Callable[[str], bool], now_ns: int
) -> list[dict[str, Any]]:
    """Part of the reply to ``status``: one entry a stream."""
    found = []
    for index, stream in enumerate(streams):
        since_ns = words.row("stream_stale_since_ns")[index]
        found.append(
            {
                "name": stream.name,
                "stale": since_ns != 0,
                "stale_for_s": max(0, now_ns - since_ns) / 1e9 if since_ns else 0.0,
                "beyond": stream.beyond,
                "producer": is_produced(stream.name),
                "frames": words.row("stream_frames")[index],
                "refused": refused_frames(words, index),
            }
        )
    return found


def refused_frames(words: Words, index: int) -> dict[str, int]:
    """How many frames of the stream were not taken, by fault."""
    counts = words.row("stream_refused")
    return {
        fault.name.lower(): count
        for fault in FrameFault
        if (count := counts[index * len(FrameFault) + fault])
    }
