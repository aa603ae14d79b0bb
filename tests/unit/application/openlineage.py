"""What OpenLineage's specification (2-0-2, and its facets) demands of a run event, as a check that tells every breach at once."""

import re
import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

FACETS: dict[str, dict[str, type]] = {
    "parent": {"run": dict, "job": dict},
    "errorMessage": {"message": str, "programmingLanguage": str},
    "processing_engine": {"version": str},
    "jobType": {"processingType": str, "integration": str},
    "schema": {"fields": list},
    "dataSource": {"name": str, "uri": str},
    "outputStatistics": {"rowCount": int, "size": int},
}
KINDS = {"START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"}


def breaches(event: dict[str, Any]) -> list[str]:
    """Every demand that an event does not meet."""
    return list(_breaches(event))


def _breaches(event: dict[str, Any]) -> Iterator[str]:
    for name in ("eventTime", "producer", "schemaURL", "run", "job"):
        if name not in event:
            yield f"{name} is required"
    if event.get("eventType") not in KINDS:
        yield f"eventType is {event.get('eventType')}"
    if datetime.fromisoformat(event["eventTime"]).tzinfo is None:
        yield "eventTime has no zone"
    yield from (f"{name} is no URI" for name in ("producer", "schemaURL") if not urlsplit(event[name]).scheme)
    if str(uuid.UUID(event["run"]["runId"])) != event["run"]["runId"]:
        yield "runId is no UUID"
    yield from _named("job", event["job"])
    yield from _faceted("run", event["run"].get("facets", {}))
    yield from _faceted("job", event["job"].get("facets", {}))
    for side, own in (("inputs", "inputFacets"), ("outputs", "outputFacets")):
        for dataset in event.get(side, []):
            yield from _named(side, dataset)
            yield from _faceted(side, dataset.get("facets", {}))
            yield from _faceted(side, dataset.get(own, {}))
            if unknown := dataset.keys() - {"namespace", "name", "facets", own}:
                yield f"{side} has {unknown}"
    for field in (f for d in event["outputs"] for f in d.get("facets", {}).get("schema", {}).get("fields", [])):
        if not field.get("name") or not isinstance(field.get("type"), str):
            yield f"a field is {field}"


def _named(place: str, named: dict[str, Any]) -> Iterator[str]:
    for name in ("namespace", "name"):
        if not isinstance(named.get(name), str) or not named[name]:
            yield f"{place}.{name} is required"


def _faceted(place: str, facets: dict[str, Any]) -> Iterator[str]:
    for name, facet in facets.items():
        for known in ("_producer", "_schemaURL"):
            if not urlsplit(facet.get(known, "")).scheme:
                yield f"{place}.{name}.{known} is no URI"
        if not re.fullmatch(r".*/facets/\d+-\d+-\d+/(\w+)\.json#/\$defs/\1", facet["_schemaURL"]):
            yield f"{place}.{name}._schemaURL names no version of its schema"
        for field, kind in FACETS[name].items():
            if not isinstance(facet.get(field), kind):
                yield f"{place}.{name}.{field} is {facet.get(field)!r}"
    source = facets.get("dataSource", {}).get("uri", "file:///")
    if not urlsplit(source).scheme or " " in source:
        yield f"{place}.dataSource.uri is {source!r}, which is no URI"
    if parent := facets.get("parent"):
        uuid.UUID(parent["run"]["runId"])
        yield from _named(f"{place}.parent.job", parent["job"])
