"""What makes another run due: whether a planned change alters what a run moves, from where or to where. The engine's digests leave out the
same fields, to which a test holds both."""

from collections.abc import Collection, Mapping
from typing import Any

from google.protobuf.message import Message

from pymigrate.provider.formats import REFERENCE
from pymigrate.provider.sdk.resource import State
from pymigrate.provider.sdk.values import has_unknown

# How a phase or a connection is called and steered, and what the engine tells of it.
PHASE_STEERED = ("name", "uid", "definition_hash", "display_name", "labels", "priority", "schedule")
CONNECTION_STEERED = (
    "name",
    "uid",
    "description",
    "labels",
    "lanes_max",
    "latency_factor_max",
    "bytes_per_second_max",
    "rows_per_second_max",
)
# What opens a system and how it is spoken to; and so does every secret reference among its headers and options.
OPENED = ("password", "ssl_mode", "timeout_seconds", "retries_max", "requests_per_second_max", "ca_file")
OPENED_WITH = ("headers", "options")


class MovedConnections:
    """Connections that are changed, by what this process plans or has made, so that phases move from or to other systems. Terraform plans
    and changes a connection before the phases that refer to it."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    def forget(self) -> None:
        """Another command begins."""
        self._names.clear()

    def add(self, name: str) -> None:
        """One more, by its resource name."""
        self._names.add(name)

    def has_any_of(self, plan: str, phase: Mapping[str, Any]) -> bool:
        """Whether a phase of a plan reads from one of them, looks up in it or writes to it."""
        if not self._names:
            return False
        environment = plan.rpartition("/plans/")[0]
        return any(f"{environment}/connections/{name}" in self._names for name in connections_of(phase))


def connections_of(phase: Mapping[str, Any]) -> set[str]:
    """The connections that a phase's state names, as far as they are known."""
    found = set()
    for dataset in _items(phase.get("datasets")):
        sides = [dataset.get("source"), dataset.get("target")]
        for transform in _items(dataset.get("transforms")):
            lookup = transform.get("lookup")
            sides.append(lookup.get("source") if isinstance(lookup, dict) else None)
        found |= {
            side["connection"] for side in sides if isinstance(side, dict) and isinstance(side["connection"], str)
        }
    return found


def is_phase_moved(prior: Any, planned: Any, state: State) -> bool:
    """Whether another phase's messages move something else; `state` is the planned one, in which a part may not be known yet."""
    if any(has_unknown(state.get(name)) for name in ("department", "datasets", "gates", "steps", *_ORDERLESS)):
        return True
    return bool(_without_steering(prior, PHASE_STEERED) != _without_steering(planned, PHASE_STEERED))


def is_connection_moved(prior: Any, planned: Any, state: State) -> bool:
    """Whether a connection's messages reach something else, likewise."""
    kind = planned.WhichOneof("system") or ""
    if has_unknown({name: value for name, value in (state.get(kind) or {}).items() if name not in OPENED}):
        return True
    return bool(_without_steering(prior, CONNECTION_STEERED) != _without_steering(planned, CONNECTION_STEERED))


_ORDERLESS = ("dependencies", "department_dependencies")


def _without_steering(message: Any, steered: Collection[str]) -> Message:
    kept: Any = type(message)()
    kept.CopyFrom(message)
    known = kept.DESCRIPTOR.fields_by_name
    for name in steered:
        kept.ClearField(name)
    for name in (name for name in _ORDERLESS if name in known):
        names = sorted(getattr(kept, name))
        kept.ClearField(name)
        getattr(kept, name).extend(names)
    if "datasets" in known:
        for dataset in kept.datasets.values():
            dataset.ClearField("declared")  # for estimates alone
    if "system" in kept.DESCRIPTOR.oneofs_by_name and (system := kept.WhichOneof("system")):
        _leave_out_opening(getattr(kept, system))
    found: Message = kept
    return found


def _leave_out_opening(system: Any) -> None:
    for name in OPENED:
        if name in system.DESCRIPTOR.fields_by_name:
            system.ClearField(name)
    for name in OPENED_WITH:
        if name in system.DESCRIPTOR.fields_by_name:
            entries = getattr(system, name)
            for entry in [entry for entry, value in entries.items() if not REFERENCE(value)]:
                del entries[entry]


def _items(value: Any) -> list[Mapping[str, Any]]:
    entries = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [each for each in entries if isinstance(each, dict)]
