"""What an update may set of an object: the fields of its mask, none that the engine gives, and never another system in the place of one."""

from typing import Any, TypeVar

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from pymigrate.engine.application.kind import OUTPUT_ONLY, Kind
from pymigrate.engine.domain.errors import InvalidDefinition, Problem
from pymigrate.engine.domain.names import nearest

M = TypeVar("M", bound=Message)


def settable_copy(kind: Kind[M], message: M) -> Any:
    """What a caller may set of it."""
    copy = kind.message()
    copy.CopyFrom(message)
    for field in OUTPUT_ONLY | kind.held_elsewhere | kind.output_only:
        if field in copy.DESCRIPTOR.fields_by_name:
            copy.ClearField(field)
    return copy


def merge_masked(kind: Kind[M], stored: Message, wanted: M, mask: FieldMask) -> None:
    """Sets the fields of a mask as they are wanted; without a mask, all of them. Raises InvalidDefinition for a mask of other fields."""
    settable = kind.settable()
    source = settable_copy(kind, wanted)
    if not mask.paths or list(mask.paths) == ["*"]:
        for field, _ in stored.ListFields():
            if field.name not in {"name", *kind.output_only}:
                stored.ClearField(field.name)
        stored.MergeFrom(source)
        return
    for path in mask.paths:
        if path.split(".")[0] not in settable:
            raise InvalidDefinition((Problem("update_mask", f"`{path}` can't be set{nearest(path, settable)}"),))
    if not mask.IsValidForDescriptor(stored.DESCRIPTOR):
        raise InvalidDefinition(
            (Problem("update_mask", f"names a field that does not exist: {', '.join(mask.paths)}"),)
        )
    for path in mask.paths:
        _clear(stored, path)  # so that an unset value in the request clears it
    mask.MergeMessage(source, stored, True, True)


def refuse_another_system(kind: Kind[M], before: Message, after: Message) -> None:
    """Raises InvalidDefinition where an object would become one of another system or backend."""
    oneof = next((name for name in ("system", "backend") if name in before.DESCRIPTOR.oneofs_by_name), "")
    if not oneof:
        return
    was, becomes = before.WhichOneof(oneof), after.WhichOneof(oneof)
    if becomes and was != becomes:
        raise InvalidDefinition(
            (
                Problem(
                    f"{kind.noun}.{becomes}",
                    f"the {kind.noun.replace('_', ' ')} is {was} and can't become {becomes}: create another one",
                ),
            )
        )


def _clear(message: Message, path: str) -> None:
    *outer, last = path.split(".")
    for name in outer:
        if not message.HasField(name):
            return
        message = getattr(message, name)
    message.ClearField(last)
