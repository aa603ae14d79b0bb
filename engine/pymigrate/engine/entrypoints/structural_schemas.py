"""Schemas of the contract's messages as custom resources have them: structural, so that the API server prunes and explains by them.

Messages stand in one another, as a structural schema knows no references. What the contract says in words for whoever calls is told here in
the words of whoever writes YAML. After https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from pymigrate.engine.domain.names import ID_PATTERN
from pymigrate.engine.entrypoints.definition_schemas import FLOATS, bounds, engine_fields
from pymigrate.engine.entrypoints.rest.schemas import PACKAGE, Schemas
from pymigrate.v1.shape import enum_word, enum_words

_ID = f"^{ID_PATTERN.pattern}$"
_HASH = "^(?:[0-9a-f]{64})?$"
WORDING: Mapping[str, str] = {
    "Plan.phases": "The phases by name.",
    "Dataset.quarantine": "Where rows go that a transform or a type refuses, and how many of them are borne. Unset: any such row fails the "
    "dataset, as more of them than are borne do.",
    "GitSource": "A repository whose definitions are what is stored. What it declares is its own: others may not change it.",
    "GitSource.interval_seconds": "How long after a fetch the next one comes, in seconds, 5 to 86,400; 0 means 60. A webhook makes it come "
    "at once.",
    "DowntimePolicy.DOWNTIME_POLICY_ONLINE": "They serve reads and writes meanwhile. What changes is caught up on; writes are blocked "
    "for the last of it alone, until the data took its place. Each dataset of the phase says by `catchUp` how.",
    "RunState.RUN_STATE_CANCELLED": "It was cancelled.",
    "RunSpec": "What the run is to do. `plan` and `triggers` can't be changed once it is accepted.",
    "RunSpec.triggers": "What tells this run from others of the plan, as it is shown with the run. At most 63.",
    "ObjectStatus": "Where it stands. Written by the operator.",
    "RunStatus": "Where it stands. Written by the operator; `pymigrate report` tells the details by its name.",
}
"""By what stands in the contract: what is told instead of its comment, where that speaks of calls."""
REQUIRED: Mapping[str, tuple[str, ...]] = {
    "RunSpec": ("plan",),
    "LaneScaling": ("lanes_max",),
    "GateApproval": ("phase", "gate", "plan_hash"),
    "ResourceCondition": ("type", "status"),
    "ResourcePhase": ("phase",),
    "Silence": ("reason",),
}
"""Fields that must be set, by message. Where inheritance or a parameter may give a value, nothing is required."""
NARROWED: Mapping[str, Mapping[str, Any]] = {
    "RunSpec.plan": {"pattern": _ID, "maxLength": 63},
    "RunSpec.approved_plan_hash": {"pattern": _HASH},
    "GateApproval.phase": {"pattern": f"^(?:{ID_PATTERN.pattern})?$"},
    "GateApproval.gate": {"minLength": 1},
    "GateApproval.plan_hash": {"pattern": "^[0-9a-f]{64}$"},
    "LaneScaling.lanes_max": {"minimum": 1},
    "Silence.reason": {"minLength": 1},
    "ResourceLanes.running": {"minimum": 0},
    "ResourceCondition.status": {"enum": ["True", "False", "Unknown"]},
}
"""What holds of a field's text or number beside the bounds that its comment gives."""
DEFAULTS: Mapping[str, Any] = {
    "RunSpec.approval_policy": "automatic",
    "RunSpec.deletion_policy": "cancel",
    "RunSpec.lanes": 0,
    "LaneScaling.lanes_min": 1,
    "LaneScaling.lag_seconds_max": 60,
    "LaneScaling.latency_factor_max": 3,
    "LaneScaling.cooldown_seconds": 60,
}
"""What the API server writes where nothing is said, which means the same. Of runs alone: what a definition says is part of the plan's hash,
and of what other environments inherit, so that a value that is written means more than none."""
KEYS: Mapping[str, tuple[str, ...]] = {
    "ResourceCondition": ("type",),
    "GateApproval": ("phase", "gate"),
    "ResourcePhase": ("phase",),
}
"""The fields by which lists of a message are merged. Every other list is replaced whole: most have an order that means something."""
ENUM_WORDS_MAX = 16


class StructuralSchemas(Schemas):
    """Structural schemas of messages. In a status whole numbers are numbers, as clients of conditions expect."""

    def __init__(self, comments: Mapping[str, str], *, is_status: bool) -> None:
        super().__init__(comments)
        self._is_status = is_status
        self._open: list[str] = []

    def reference(self, message: Descriptor) -> dict[str, Any]:
        """The message itself. One within itself ends where it comes again: what is in it is kept as it is, and the engine checks it."""
        if message.full_name in self._open:
            said = "Whatever may stand in it, kept as it is, as a schema of Kubernetes can't hold itself. The engine checks it."
            return {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "description": said}
        self._open.append(message.full_name)
        try:
            return self.message(message)
        finally:
            self._open.pop()

    def message(self, message: Descriptor) -> dict[str, Any]:
        """The schema of a message with what must be set, and what excludes what."""
        schema = super().message(message)
        if text := self._text(message.full_name, message):
            schema["description"] = text
        if required := REQUIRED.get(_short(message.full_name)):
            schema["required"] = [message.fields_by_name[name].camelcase_name for name in required]
        choices = list(self._choices(message))
        return {**schema, **(choices[0] if len(choices) == 1 else {"allOf": choices} if choices else {})}

    def fields(self, message: Descriptor) -> list[FieldDescriptor]:
        """Those that a resource may set."""
        unset = engine_fields(message)
        return [field for field in message.fields if field.name not in unset]

    def field(self, field: FieldDescriptor) -> dict[str, Any]:
        """The schema of a field with its bounds, its default and how its list is merged."""
        schema = super().field(field)
        comment = self.comments.get(field.full_name, "")
        short = _short(field.full_name)
        schema |= {"description": self._field_text(field)}
        schema |= {} if self._is_status else bounds(field, comment)
        schema |= NARROWED.get(short, {})
        if short in DEFAULTS:
            schema["default"] = DEFAULTS[short]
        if schema.get("type") == "array":
            keys = KEYS.get(field.message_type.name) if field.message_type else None
            schema["x-kubernetes-list-type"] = "map" if keys else "atomic"
            if keys:
                schema["x-kubernetes-list-map-keys"] = list(keys)
        return schema

    def number_or_text(self, field: FieldDescriptor) -> dict[str, Any]:
        """A single value. Whole numbers of 64 bits may be texts of digits, as some writers of JSON have them."""
        if field.cpp_type == FieldDescriptor.CPPTYPE_INT64 and not self._is_status:
            return {"x-kubernetes-int-or-string": True, "pattern": "^-?[0-9]+$"}
        return {"type": "number", "format": "double"} if field.cpp_type in FLOATS else super().number_or_text(field)

    def _field_text(self, field: FieldDescriptor) -> str:
        text = self._text(field.full_name, field.containing_type)
        oneof = field.containing_oneof
        if oneof is not None and len(oneof.fields) > 1:
            text += f" Excludes {', '.join(each.camelcase_name for each in oneof.fields if each is not field)}."
        if field.enum_type is not None and len(enum_words(field.enum_type)) <= ENUM_WORDS_MAX:
            for value in field.enum_type.values:
                said = self._text(f"{field.enum_type.full_name}.{value.name}", field.containing_type)
                text += f" `{enum_word(field.enum_type, value.number)}`: {said}" if value.number else ""
        return text

    def _text(self, full_name: str, message: Descriptor) -> str:
        """What is told of something in a message: fields beside it are called as YAML calls them."""
        text = WORDING.get(_short(full_name)) or self.comments.get(full_name, "")
        for field in message.fields:
            if field.full_name != full_name and field.camelcase_name != field.name:
                text = text.replace(f"`{field.name}`", f"`{field.camelcase_name}`")
        return text

    def _choices(self, message: Descriptor) -> Iterator[dict[str, Any]]:
        """What holds of fields that exclude one another: exactly one is set where the contract says so, otherwise at most one."""
        for oneof in message.oneofs:
            each = [{"required": [field.camelcase_name]} for field in oneof.fields]
            if len(each) == 1:
                continue
            is_needed = re.search(r"\bExactly one\b", self.comments.get(f"{message.full_name}.{oneof.name}", ""))
            yield {"oneOf": [*each, *([] if is_needed else [{"not": {"anyOf": each}}])]}


def _short(full_name: str) -> str:
    return full_name.removeprefix(PACKAGE)
