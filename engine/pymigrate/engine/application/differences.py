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
    return [
        row
        for name, variant in sorted(variants.items())
        for subject in sorted(_subjects(base) | _subjects(variant))
        for row in _rows(name, subject, _subject(base, subject), _subject(variant, subject))
    ]


def figures_of(message: Message) -> dict[str, float]:
    """The figures of a message by their path in it, such as `costs.EUR.p90`."""
    return dict(_figures("", message))


def _subjects(impact: impact_pb2.Impact) -> set[str]:
    return {
        "plan",
        *(f"phases/{name}" for name in impact.phases),
        *(f"departments/{name}" for name in impact.departments),
    }


def _subject(impact: impact_pb2.Impact, subject: str) -> dict[str, float] | None:
    """The figures of a subject; None where it is not there."""
    kind, _, name = subject.partition("/")
    match kind:
        case "phases":
            return figures_of(impact.phases[name]) if name in impact.phases else None
        case "departments":
            return figures_of(impact.departments[name]) if name in impact.departments else None
        case _:
            resources = {f"resources.{path}": value for path, value in _figures("", impact.resources)}
            return figures_of(impact.summary) | resources


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
