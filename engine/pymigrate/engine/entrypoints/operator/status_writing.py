"""The one place that writes the status of custom resources: what differs from what is there, into the version that was looked at, and never
more than etcd and whoever lists thousands can bear."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
import structlog

from pymigrate.engine.entrypoints.custom_resources import resource_type
from pymigrate.engine.entrypoints.operator.objects import Key, generation_of
from pymigrate.engine.entrypoints.operator.verdicts import (
    MESSAGE_CHARACTERS_MAX,
    REASON_CHARACTERS_MAX,
    Condition,
    Verdict,
)
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.cluster import Cluster, Object
from pymigrate.v1.shape import to_json_data

log = structlog.get_logger(__name__)
STATUS_BYTES_MAX = 16_000
TEXT_BYTES_MAX = 1_200
LATE_SECONDS = 2.0
CUTS_MAX = 64
Note = Callable[[Key, Object], None]
Turned = Callable[[Key, Object, Sequence[Condition]], None]


class StatusWriter:
    """`note` is told of each object as it was written, `turned` of the conditions whose status or reason is another one than before."""

    def __init__(self, cluster: Cluster, clock: Clock, note: Note, turned: Turned = lambda _, __, ___: None) -> None:
        self._cluster = cluster
        self._clock = clock
        self._note = note
        self._turned = turned
        self._written_at: dict[Key, float] = {}

    async def write(self, key: Key, found: Object, verdict: Verdict) -> float | None:
        """Writes what differs, nothing where nothing does. Returns after how many seconds to look again: late fields that were not written
        ask for it. Raises ObjectConflict where the object is another one by now, and whatever else the API says."""
        now = self._clock.monotonic()
        status = self._status(found, verdict)
        patch = difference(found.get("status") or {}, status)
        if not patch:
            return verdict.look_again_seconds
        if patch.keys() <= verdict.late_fields:
            wait = self._written_at.get(key, now - LATE_SECONDS) + LATE_SECONDS - now
            if wait > 0:
                return verdict.after(wait).look_again_seconds
        version = found["metadata"]["resourceVersion"]
        written = await self._cluster.patch(
            resource_type(key.word),
            key.namespace,
            key.name,
            {"metadata": {"resourceVersion": version}, "status": patch},
            subresource="status",
        )
        self._written_at[key] = now
        self._note(key, written)
        self._tell_turned(key, found, verdict)
        return verdict.look_again_seconds

    def forget(self, key: Key) -> None:
        """Of what is gone."""
        self._written_at.pop(key, None)

    def _status(self, found: Object, verdict: Verdict) -> dict[str, Any]:
        generation = generation_of(found)
        known = {each.get("type"): each for each in (found.get("status") or {}).get("conditions") or ()}
        moment = _told(self._clock.now())
        status = bounded(to_json_data(verdict.status))
        status["observedGeneration"] = generation
        status["conditions"] = [
            _condition(each, known.get(each.type.value) or {}, generation, moment) for each in verdict.conditions
        ]
        return status

    def _tell_turned(self, key: Key, found: Object, verdict: Verdict) -> None:
        known = {each.get("type"): each for each in (found.get("status") or {}).get("conditions") or ()}
        turned = [
            each
            for each in verdict.conditions
            if (before := known.get(each.type.value)) is None
            or (before.get("status"), before.get("reason")) != (each.status, each.reason)
        ]
        if turned and verdict.is_told:
            self._turned(key, found, turned)


def _condition(condition: Condition, known: Mapping[str, Any], generation: int, moment: str) -> dict[str, Any]:
    is_same = known.get("status") == condition.status
    return {
        "type": condition.type.value,
        "status": condition.status,
        "observedGeneration": generation,
        "lastTransitionTime": (known.get("lastTransitionTime") if is_same else None) or moment,
        "reason": condition.reason[:REASON_CHARACTERS_MAX] or "Unknown",
        "message": short(condition.message[:MESSAGE_CHARACTERS_MAX], TEXT_BYTES_MAX),
    }


def difference(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The merge patch (RFC 7386) that makes the one the other; empty where they are equal."""
    patch: dict[str, Any] = {key: None for key in there if key not in wanted}
    for key, value in wanted.items():
        known = there.get(key)
        if isinstance(known, Mapping) and isinstance(value, Mapping):
            if below := difference(known, value):
                patch[key] = below
        elif key not in there or known != value:
            patch[key] = value
    return patch


def bounded(status: dict[str, Any]) -> dict[str, Any]:
    """The fields, with texts and lists cut so far that they and six conditions fit."""
    status = {key: _with_short_texts(value, TEXT_BYTES_MAX) for key, value in status.items()}
    room = STATUS_BYTES_MAX - 6 * (TEXT_BYTES_MAX + 2 * REASON_CHARACTERS_MAX)
    texts_max = TEXT_BYTES_MAX
    for _ in range(CUTS_MAX):
        if _bytes(status) <= room:
            return status
        name, longest = max(status.items(), key=lambda item: _bytes(item[1]))
        if (cut := _halved(longest)) is not longest:
            status[name] = cut
        else:
            texts_max //= 2
            status = {key: _with_short_texts(value, texts_max) for key, value in status.items()}
    log.error("status.unbounded", bytes=_bytes(status))
    return {}


def short(text: str, bytes_max: int) -> str:
    """The text, or its beginning where its JSON would take more."""
    if _bytes(text) <= bytes_max:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _bytes(text[:middle]) <= bytes_max - 8 else (low, middle - 1)
    return f"{text[:low]} ..."


def _halved(value: Any) -> Any:
    """With half of the entries of the longest collection in it; the same where there is none of more than one."""
    if isinstance(value, Mapping):
        name, longest = max(value.items(), key=lambda item: _bytes(item[1]), default=("", None))
        if (cut := _halved(longest)) is not longest:
            return {**value, name: cut}
        if len(value) > 1 and all(isinstance(each, int | float) for each in value.values()):
            return dict(list(value.items())[: len(value) // 2])
    if isinstance(value, list) and len(value) > 1:
        return value[: len(value) // 2]
    return value


def _with_short_texts(value: Any, bytes_max: int) -> Any:
    if isinstance(value, str):
        return short(value, bytes_max)
    if isinstance(value, Mapping):
        return {short(key, bytes_max): _with_short_texts(each, bytes_max) for key, each in value.items()}
    return [_with_short_texts(each, bytes_max) for each in value] if isinstance(value, list) else value


def _bytes(value: Any) -> int:
    return len(orjson.dumps(value))


def _told(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
