"""Applies definitions from a YAML or JSON file: documents in the envelope that Git and Kubernetes use, each after those that it names."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import grpc
import typer
from google.protobuf.field_mask_pb2 import FieldMask

from pymigrate.engine.application.gitops.definition_order import in_order
from pymigrate.engine.application.gitops.documents import Documents
from pymigrate.engine.application.gitops.envelopes import read_definitions
from pymigrate.engine.entrypoints.cli.client import Client, fail
from pymigrate.engine.entrypoints.cli.declared_kinds import KINDS, DeclaredKind
from pymigrate.v1.definition_pb2 import DefinitionFile, DefinitionProblem


def read_documents(path: Path) -> list[Any]:
    """The data of a file's documents, but for empty ones. Ends the command with what is wrong."""
    found = Documents(str(path), path.read_bytes())
    if found.troubles:
        _refuse([f"{path}{_at(each.line, each.column)}: {each.description}" for each in found.troubles])
    return [document.data for document in found.documents]


def apply(client: Client, path: Path) -> Iterator[tuple[str, str]]:
    """Creates what is missing and updates what differs; yields each name with `created`, `updated` or `unchanged`. A file with anything in
    it that can't be read changes nothing."""
    read = read_definitions([DefinitionFile(path=str(path), content=path.read_bytes())])
    if read.problems:
        _refuse([_spelled(problem) for problem in read.problems])
    for each in in_order(read.definitions):
        yield each.name, _apply_one(client, each.word, each.name, each.message)


def delete(client: Client, name: str) -> None:
    """Deletes one object that was applied, by its resource name."""
    parts = name.split("/")
    kind = next((each for each in KINDS.values() if len(parts) in {2, 4} and each.collection == parts[-2]), None)
    if kind is None or name != kind.definition.name(parts[1], parts[-1]):
        known = ", ".join(each.definition.name("<environment>", "<name>") for each in KINDS.values())
        fail(f"`{name}` is no name of an object that a file declares: those are {known}")
    kind.call(client, "Delete", name=name)


def _apply_one(client: Client, word: str, name: str, message: Any) -> str:
    kind = KINDS[word]
    parent, _, object_id = name.rpartition("/")
    try:
        before = kind.call(client, "Get", name=name)
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
        fields = {f"{kind.field}_id": object_id, kind.field: message}
        if not kind.definition.is_top:
            fields["parent"] = parent.rpartition("/")[0]
        kind.call(client, "Create", **fields)
        return "created"
    mask = FieldMask(paths=_mask(kind, message))
    after = kind.call(client, "Update", **{kind.field: message, "update_mask": mask})
    return "unchanged" if after == before else "updated"


def _mask(kind: DeclaredKind, message: Any) -> list[str]:
    """Everything that a definition may say: what it leaves out goes back to its default."""
    fields = [message.DESCRIPTOR.fields_by_name[name] for name in kind.definition.settable()]
    chosen = {oneof.name: message.WhichOneof(oneof.name) for oneof in message.DESCRIPTOR.oneofs}
    return [f.name for f in fields if f.containing_oneof is None or chosen[f.containing_oneof.name] == f.name]


def _spelled(problem: DefinitionProblem) -> str:
    """A problem on a line of its own: where, and what."""
    where = f"{problem.file}{_at(problem.line, problem.column)}"
    return ": ".join(part for part in (where, problem.path, problem.description) if part)


def _at(line: int, column: int) -> str:
    return f":{line}:{column}" if line else ""


def _refuse(lines: list[str]) -> NoReturn:
    typer.secho("\n".join(lines), fg=typer.colors.RED, err=True)
    raise typer.Exit(1)
