"""Values as Terraform sends and takes them. Every unknown is `Unknown`, refined ones too, and every number keeps its digits."""

from decimal import Decimal
from typing import Any

import msgpack
from tf.gen import tfplugin_pb2 as pb
from tf.types import Unknown
from tf.utils import read_dynamic_value, to_dynamic_value

__all__ = ["Unknown", "has_unknown", "is_empty", "number", "read_value", "to_number", "to_value", "without_unknowns"]

DIGITS_MAX = 300  # a larger number is no int here: Python makes neither a float nor a text of any
INTEGERS = range(-(2**63), 2**64)  # what MessagePack holds


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


def number(text: str) -> int | float | Decimal:
    """The number that a decimal text means: Terraform sends what no float64 holds exactly as text. A float when that has the same
    digits, such as 0.1; a whole one of many digits stays as it is, since a float would be sent as another one. Raises ArithmeticError for
    what is no number."""
    exact = Decimal(text)
    if exact == exact.to_integral_value():
        return int(exact) if exact.adjusted() < DIGITS_MAX else exact
    near = float(text)
    return near if Decimal(repr(near)) == exact else exact


def to_number(value: Any) -> Any:
    """A number for the wire: digits as text where float64 would be another number than the one that is written so."""
    if isinstance(value, float) and not value.is_integer():
        return format(Decimal(repr(value)), "f")
    if isinstance(value, Decimal):
        return format(value, "f")
    return str(value) if isinstance(value, int) and value not in INTEGERS else value


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
