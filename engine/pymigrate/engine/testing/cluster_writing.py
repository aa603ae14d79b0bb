"""What becomes of an object that is written: what the API sets itself, keeps, counts and refuses."""

import re
import uuid
from collections.abc import Mapping
from typing import Any

import orjson

from pymigrate.engine.ports.cluster import Object, ObjectConflict, ObjectRefused
from pymigrate.engine.testing.cluster_types import STATUS, ServedType

NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
NAME_CHARACTERS_MAX = 253
KEPT = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")
PLACED = ("name", "namespace")


def merged(target: Any, patch: Any) -> Any:
    """RFC 7386: what is null goes, mappings merge, everything else replaces."""
    if not isinstance(patch, Mapping):
        return patch
    found = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = merged(found.get(key), value)
    return found


def plain(body: Object) -> dict[str, Any]:
    """A copy, as it comes over the wire. Raises ObjectRefused where it is no JSON."""
    try:
        found = orjson.loads(orjson.dumps(body, default=dict))
    except (TypeError, ValueError) as error:
        raise ObjectRefused(f"the object is no JSON: {error}") from error
    return dict(found)


def new_object(served: ServedType, body: Object, number: int, moment: str) -> dict[str, Any]:
    """As it is made; `number` tells one from another."""
    made = plain(body)
    metadata = made.setdefault("metadata", {})
    if metadata.get("resourceVersion"):
        raise _refused(served, metadata, "resourceVersion should not be set on objects to be created")
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = f"{metadata['generateName']}{number:05d}"
    _check(served, made)
    for key in KEPT:
        metadata.pop(key, None)
    made["apiVersion"], made["kind"] = served.kind.api_version, served.kind.kind
    metadata["uid"] = str(uuid.UUID(int=number, version=4))
    metadata["creationTimestamp"] = moment
    if served.has_generation:
        metadata["generation"] = 1
    if served.has_status:
        made.pop(STATUS, None)
    return made


def changed_object(served: ServedType, former: Object, body: Object, subresource: str = "") -> dict[str, Any]:
    """As it becomes: what was read is checked, and what may not be changed is as it was. It may be equal to the former one."""
    wanted = plain(body)
    metadata, before = wanted["metadata"], former["metadata"]
    version = metadata.get("resourceVersion")
    if version and version != before["resourceVersion"]:
        raise ObjectConflict(f"{_named(served, before)}: the API said 409: the object has been modified")
    for key in KEPT:
        metadata.pop(key, None)
        if key in before:
            metadata[key] = before[key]
    metadata["resourceVersion"] = before["resourceVersion"]
    if subresource == STATUS:
        kept = {key: value for key, value in former.items() if key != STATUS}
        return kept | ({STATUS: wanted[STATUS]} if STATUS in wanted else {})
    _check(served, wanted)
    if any(metadata.get(key) != before.get(key) for key in PLACED):
        raise _refused(served, before, "the name or the namespace of the object does not match the name on the URL")
    wanted["apiVersion"], wanted["kind"] = served.kind.api_version, served.kind.kind
    if served.has_status:
        wanted.pop(STATUS, None)
        wanted |= {STATUS: former[STATUS]} if STATUS in former else {}
    if "deletionTimestamp" in before and set(metadata.get("finalizers") or ()) - set(before.get("finalizers") or ()):
        raise _refused(served, before, "no new finalizers can be added if the object is being deleted")
    if served.has_generation and _counted(served, wanted) != _counted(served, former):
        metadata["generation"] = before["generation"] + 1
    return wanted


def _check(served: ServedType, wanted: Mapping[str, Any]) -> None:
    metadata, kind = wanted["metadata"], served.kind
    said = (wanted.get("apiVersion"), wanted.get("kind"))
    # The API's own types are known by their path; of a custom one both must be said.
    if said != (kind.api_version, kind.kind) and (served.has_generation or any(said)):
        raise _refused(served, metadata, f"apiVersion and kind must be {kind.api_version} and {kind.kind}, not {said}")
    name = metadata.get("name") or ""
    if len(name) > NAME_CHARACTERS_MAX or not NAME.fullmatch(name):
        raise _refused(served, metadata, f"metadata.name: Invalid value: {name!r}: a lowercase RFC 1123 subdomain")
    if kind.is_namespaced and not metadata.get("namespace"):
        raise _refused(served, metadata, "an object of this type lies in a namespace")


def _counted(served: ServedType, item: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value for key, value in item.items() if key != "metadata" and not (served.has_status and key == STATUS)
    }


def _named(served: ServedType, metadata: Mapping[str, Any]) -> str:
    return f"{served.kind.plural} {metadata.get('namespace', '')}/{metadata.get('name', '')}"


def _refused(served: ServedType, metadata: Mapping[str, Any], why: str) -> ObjectRefused:
    return ObjectRefused(f"{_named(served, metadata)}: the API said 422: {why}")
