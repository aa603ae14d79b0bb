"""The figures that a bound may be set to: the numbers of `Kpis`, by their path, as `errors.rate`; read off the contract."""

from collections.abc import Iterator
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from pymigrate.v1 import kpi_pb2

_NUMBERS: Final = frozenset(
    {
        FieldDescriptor.CPPTYPE_INT32,
        FieldDescriptor.CPPTYPE_INT64,
        FieldDescriptor.CPPTYPE_DOUBLE,
    }
)


def _paths(message: Descriptor, prefix: str = "") -> Iterator[str]:
    """Numbers of the message and of messages in it; not those of lists, maps and moments, of which there is not one value."""
    for each in message.fields:
        path = f"{prefix}{each.name}"
        if each.label == FieldDescriptor.LABEL_REPEATED:
            continue
        if each.cpp_type in _NUMBERS:
            yield path
        elif each.message_type is not None and each.message_type.file.package == message.file.package:
            yield from _paths(each.message_type, f"{path}.")


KPI_PATHS: Final = tuple(sorted(_paths(kpi_pb2.Kpis.DESCRIPTOR)))
