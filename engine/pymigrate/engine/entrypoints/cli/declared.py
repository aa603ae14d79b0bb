"""Applies definitions from a YAML or JSON file: documents in the envelope that Git and Kubernetes use, each after those that it names."""

import heapq
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import grpc
import typer
import yaml
from google.protobuf.field_mask_pb2 import FieldMask

from pymigrate.engine.entrypoints.cli.client import Client, fail
from pymigrate.engine.entrypoints.cli.declared_kinds import KINDS, DeclaredKind
from pymigrate.v1.shape import ShapeError, from_data

API_VERSION = "pymigrate.io/v1alpha1"
FILE_BYTES_MAX = 4 * 1024 * 1024
EVENTS_MAX = 400_000
DEPTH_MAX = 64


def read_documents(path: Path) -> list[dict[str, Any]]:
    """The documents of a file of definitions."""
    documents = read_yaml(path)
    for document in documents:
        if not isinstance(document, dict) or document.get("apiVersion") != API_VERSION:
            _refuse(path, f"every document begins with `apiVersion: {API_VERSION}`")
        if document.get("kind") not in KINDS:
            _refuse(path, f"kind `{document.get('kind')}` is not one of {', '.join(KINDS)}")
    return documents


def read_yaml(path: Path, loader: type[yaml.SafeLoader] = yaml.SafeLoader) -> list[Any]:
    """What a file holds, but for empty documents. Aliases are refused, and size, depth and number of nodes are bounded, before anything is
    built. Ends the command with what is wrong."""
    body = path.read_bytes()
    if len(body) > FILE_BYTES_MAX:
        fail(f"{path} has {len(body):,} bytes; at most {FILE_BYTES_MAX:,} are read")
    try:
        text = body.decode()
        _check_events(path, text)
        return [document for document in yaml.load_all(text, loader) if document is not None]  # a SafeLoader
    except (yaml.YAMLError, ValueError) as error:  # a date or number that is none, or what is no UTF-8
        _refuse(path, f"is not YAML: {error}")


def apply(client: Client, path: Path) -> Iterator[tuple[str, str]]:
    """Creates what is missing and updates what differs; yields each name with `created`, `updated` or `unchanged`. A file with anything in
    it that can't be read changes nothing."""
    found = [(document["kind"], *_message(path, document)) for document in read_documents(path)]
    for kind, name, message in in_order(found):
        yield name, _apply_one(client, kind, name, message)


def delete(client: Client, name: str) -> None:
    """Deletes one object that was applied, by its resource name."""
    parts = name.split("/")
    kind = next((each for each in KINDS.values() if len(parts) in {2, 4} and each.collection == parts[-2]), None)
    if kind is None or name != kind.name(parts[1], parts[-1]):
        known = ", ".join(each.name("<environment>", "<name>") for each in KINDS.values())
        fail(f"`{name}` is no name of an object that a file declares: those are {known}")
    kind.call(client, "Delete", name=name)


def in_order(found: Iterable[tuple[str, str, Any]]) -> Iterator[tuple[str, str, Any]]:
    """Objects as kind, name and message, each after those that it names, and an environment after everything of its bases.

    Where that leaves a choice, by their kinds and as they were given. What goes round in a circle comes last: the engine tells what is
    wrong with it.
    """
    given = sorted(found, key=lambda each: list(KINDS).index(each[0]))
    within: dict[str, list[int]] = {}
    for place, (_, name, _) in enumerate(given):
        within.setdefault("/".join(name.split("/")[:2]), []).append(place)
    places = {name: place for place, (_, name, _) in enumerate(given)}
    needs: list[set[int]] = []
    for kind, name, message in given:
        named = {places[other] for other in _names(kind, name, message) if other in places}
        bases = message.bases if kind == "Environment" else ()
        below = {place for base in bases for place in within.get(f"environments/{base}", ())}
        needs.append((named | below) - {places[name]})
    needed_by: dict[int, list[int]] = {}
    for place, others in enumerate(needs):
        for other in others:
            needed_by.setdefault(other, []).append(place)
    ready = [place for place, others in enumerate(needs) if not others]  # in order, which is a heap
    left = dict(enumerate(given))
    while ready:
        place = heapq.heappop(ready)
        yield left.pop(place)
        for other in needed_by.get(place, ()):
            needs[other].discard(place)
            if not needs[other]:
                heapq.heappush(ready, other)
    yield from left.values()


def _names(kind: str, name: str, message: Any) -> Iterator[str]:
    """The environment of an object, and the other objects of its kind that it names."""
    parent = name.rpartition("/")[0]
    if kind != "Environment":
        yield "/".join(name.split("/")[:2])
    if kind in {"Department", "Plan"}:
        yield from (f"{parent}/{other}" for other in message.dependencies)
    elif kind == "AlertRule" and message.parent_rule:
        yield f"{parent}/{message.parent_rule}"


def _message(path: Path, document: dict[str, Any]) -> tuple[str, Any]:
    word = document["kind"]
    kind = KINDS[word]
    metadata = document.get("metadata") or {}
    if not isinstance(metadata, dict):
        _refuse(path, f"metadata of a {word} must be a map")
    object_id, environment = metadata.get("name"), metadata.get("environment")
    if not isinstance(object_id, str) or (not kind.is_top and not isinstance(environment, str)):
        _refuse(path, f"a {word} needs metadata.name" + ("" if kind.is_top else " and metadata.environment"))
    message: Any = kind.message()
    try:
        from_data(document.get("spec") or {}, message, "spec")
        if labels := metadata.get("labels"):
            from_data({"labels": labels}, message, "metadata")
    except ShapeError as error:
        _refuse(path, f"{word} {object_id}: {error}")
    message.name = kind.name(str(environment), object_id)
    return message.name, message


def _apply_one(client: Client, word: str, name: str, message: Any) -> str:
    kind = KINDS[word]
    parent, _, object_id = name.rpartition("/")
    try:
        before = kind.call(client, "Get", name=name)
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
        fields = {f"{kind.field}_id": object_id, kind.field: message}
        if not kind.is_top:
            fields["parent"] = parent.rpartition("/")[0]
        kind.call(client, "Create", **fields)
        return "created"
    mask = FieldMask(paths=_mask(kind, message))
    after = kind.call(client, "Update", **{kind.field: message, "update_mask": mask})
    return "unchanged" if after == before else "updated"


def _mask(kind: DeclaredKind, message: Any) -> list[str]:
    """Everything that a definition may say: what it leaves out goes back to its default."""
    fields = [message.DESCRIPTOR.fields_by_name[name] for name in kind.settable()]
    chosen = {oneof.name: message.WhichOneof(oneof.name) for oneof in message.DESCRIPTOR.oneofs}
    return [f.name for f in fields if f.containing_oneof is None or chosen[f.containing_oneof.name] == f.name]


def _check_events(path: Path, text: str) -> None:
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
        if isinstance(event, yaml.AliasEvent):
            _refuse(
                path,
                f"line {event.start_mark.line + 1 if event.start_mark else 0}: aliases are not allowed: write the value out",
            )
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEPTH_MAX or count > EVENTS_MAX:
            _refuse(path, f"is nested more than {DEPTH_MAX} deep, or has more than {EVENTS_MAX:,} nodes")


def _refuse(path: Path, description: str) -> NoReturn:
    typer.secho(f"{path}: {description}", fg=typer.colors.RED, err=True)
    raise typer.Exit(1)
