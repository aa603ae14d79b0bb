"""What differs between the impacts of a plan and of its variants, figure by figure."""

import math
from collections.abc import Iterator, Mapping

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from pymigrate.v1 import impact_pb2

REL_TOLERANCE = 1e-9
NOT_KNOWN = -1
_SIZES = ("rows", "bytes")
_SKIPPED = frozenset({"downtime_policy", "datasets"})


def differences(
    base: impact_pb2.Impact, variants: Mapping[str, impact_pb2.Impact]
) -> list[impact_pb2.ImpactDifference]:
    """Every figure that differs, ordered by variant, subject and measure. Moments are seconds since 1970, and what is broken is counted;
    a figure that one side does not have is NaN."""
    before = _subjects(base)
    rows: list[impact_pb2.ImpactDifference] = []
    for name, variant in sorted(variants.items()):
        after = _subjects(variant)
        for subject in sorted(before.keys() | after.keys()):
            rows.extend(_rows(name, subject, before.get(subject), after.get(subject)))
    return rows


def figures_of(message: Message) -> dict[str, float]:
    """The figures of a message by their path in it, such as `costs.EUR.p90`."""
    return dict(_figures("", message))


def _subjects(impact: impact_pb2.Impact) -> dict[str, dict[str, float]]:
    """The figures of the plan, its phases and its departments."""
    resources = {f"resources.{path}": value for path, value in figures_of(impact.resources).items()}
    return {
        "plan": figures_of(impact.summary) | resources,
        **{f"phases/{name}": figures_of(phase) for name, phase in impact.phases.items()},
        **{f"departments/{name}": figures_of(department) for name, department in impact.departments.items()},
    }


def _rows(
    variant: str, subject: str, base: dict[str, float] | None, value: dict[str, float] | None
) -> Iterator[impact_pb2.ImpactDifference]:
    for measure in sorted((base or {}).keys() | (value or {}).keys()):
        before, after = _figure(base, measure), _figure(value, measure)
        if (math.isnan(before) and math.isnan(after)) or math.isclose(before, after, rel_tol=REL_TOLERANCE):
            continue
        difference = after - before
        yield impact_pb2.ImpactDifference(
            variant=variant,
            subject=subject,
            measure=measure,
            base=before,
            value=after,
            difference=difference,
            share=difference / before if before else 0.0,
        )


def _figure(figures: dict[str, float] | None, measure: str) -> float:
    """A cost or a connection that is not named is 0; any other figure that is missing is not there."""
    if figures is None:
        return math.nan
    return figures.get(
        measure, 0.0 if measure.split(".", maxsplit=1)[0] == "costs" or "connections_peak" in measure else math.nan
    )


def _figures(prefix: str, message: Message) -> Iterator[tuple[str, float]]:
    for field in message.DESCRIPTOR.fields:
        value, path = getattr(message, field.name), f"{prefix}{field.name}"
        if field.name in _SKIPPED:
            continue
        if field.name == "breaches":
            yield path, float(value if isinstance(value, int) else len(value))
        elif isinstance(value, Timestamp):
            if message.HasField(field.name):
                yield path, value.ToNanoseconds() / 1e9
        elif isinstance(value, Message):
            yield from _figures(f"{path}.", value)
        elif isinstance(value, Mapping):
            for key, entry in sorted(value.items()):
                if isinstance(entry, Message):
                    yield from _figures(f"{path}.{key}.", entry)
                else:
                    yield f"{path}.{key}", float(entry)
        elif isinstance(value, int | float) and not (field.name.endswith(_SIZES) and value == NOT_KNOWN):
            yield path, float(value)
