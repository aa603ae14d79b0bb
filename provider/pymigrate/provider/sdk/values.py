"""Values as Terraform sends and takes them. Every unknown is `Unknown`, refined ones too."""

from typing import Any

import msgpack
from tf.gen import tfplugin_pb2 as pb
from tf.types import Unknown
from tf.utils import read_dynamic_value, to_dynamic_value

__all__ = ["Unknown", "has_unknown", "is_empty", "read_value", "to_value", "without_unknowns"]


def read_value(value: pb.DynamicValue) -> Any:
    """A value; None for null. A refined unknown (extension 12 and whatever follows it) is as unknown as a plain one."""
    if value.msgpack:
        return msgpack.unpackb(value.msgpack, ext_hook=lambda code, data: Unknown)
    return read_dynamic_value(value)


def to_value(value: Any) -> pb.DynamicValue:
    """A value for the wire; null is written as such, not left out."""
    if value is None:
        return pb.DynamicValue(msgpack=msgpack.packb(None))
    return to_dynamic_value(value)


def has_unknown(value: Any) -> bool:
    """Whether anything in the value is unknown."""
    if value is Unknown:
        return True
    if isinstance(value, dict):
        return any(has_unknown(item) for item in value.values())
    return isinstance(value, list) and any(has_unknown(item) for item in value)


def without_unknowns(value: Any) -> Any:
    """The value with null in place of what is unknown, as a state must have it."""
    if value is Unknown:
        return None
    if isinstance(value, dict):
        return {name: without_unknowns(item) for name, item in value.items()}
    return [without_unknowns(item) for item in value] if isinstance(value, list) else value


def is_empty(value: Any) -> bool:
    """Whether it says nothing: null, an empty text, zero, false, or a collection of such things."""
    if isinstance(value, dict):
        return all(is_empty(item) for item in value.values())
    return value is None or value is False or value in ("", 0, [])
