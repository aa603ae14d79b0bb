"""The figures that rules hold to bounds: each is in the contract, and everything of the contract that has a value is one."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from pymigrate.engine.domain.watched_figures import FIGURES, Figure, FigureUnit, figure_of
from pymigrate.v1 import kpi_pb2

NUMBERS = {
    FieldDescriptor.CPPTYPE_INT32,
    FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_DOUBLE,
}
NO_FIGURES = {"state", "parts", "update_time", "end_time"}


def paths(message: Descriptor, prefix: str = "") -> Iterator[str]:
    """Every number of a message, and every map of numbers as `lanes.`."""
    for field in message.fields:
        path = f"{prefix}{field.name}"
        if path in NO_FIGURES:
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            yield f"{path}."
        elif field.message_type is not None:
            yield from paths(field.message_type, f"{path}.")
        elif field.cpp_type in NUMBERS or field.enum_type is not None:
            yield path


def test_every_number_of_the_kpis_is_a_figure_and_no_other_is() -> None:
    expected = set(paths(kpi_pb2.Kpis.DESCRIPTOR))
    maps = {path for path in expected if path.endswith(".")}
    told = {next((of for of in maps if path.startswith(of)), path) for path in FIGURES}
    assert told | {"errors.by_reason."} == expected


@pytest.mark.parametrize("path", ["errors.by_reason.SOURCE_UNAVAILABLE", "errors.by_reason.OTHER"])
def test_failures_are_counted_by_any_reason(path: str) -> None:
    assert figure_of(path) is not None


@pytest.mark.parametrize(
    "path", ["", "errors", "errors.by_reason.", "errors.by_reason.A.b", "lanes.late", "name", "parts", "throughput.now"]
)
def test_what_has_no_value_is_no_figure(path: str) -> None:
    assert figure_of(path) is None


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("errors.rate", 0.125, "12.5%"),
        ("drift.drift", 0.3, "+30.0%"),
        ("lag_seconds", 90.0, "1 min 30 s"),
        ("rows", 1_200_000, "1,200,000 rows"),
        ("throughput.now.rows_per_second", 12.34, "12.3 rows a second"),
        ("lanes.stalled", 3, "3"),
        ("sla_risk.level", 4, "4"),
    ],
)
def test_values_are_spelled_in_their_unit(path: str, value: float, told: str) -> None:
    figure = figure_of(path)
    assert figure is not None
    assert figure.spell(value) == told


def test_a_negative_time_keeps_its_sign() -> None:
    assert Figure("Left.", FigureUnit.SECONDS).spell(-5) == "-5.0 s"


def test_the_guide_names_every_figure() -> None:
    guide = (Path(__file__).resolve().parents[3] / "docs/notifications.md").read_text()
    named = set(re.findall(r"`([a-z0-9_.]+(?:\.<\w+>)?)`", guide))
    of_maps = {f"{of}.<state>" for of in ("lanes", "phases", "runs")} | {"verifications.<word>"}
    assert of_maps | {"errors.by_reason.<REASON>"} <= named
    assert {path for path in FIGURES if f"{path.partition('.')[0]}.<" not in " ".join(of_maps)} <= named
