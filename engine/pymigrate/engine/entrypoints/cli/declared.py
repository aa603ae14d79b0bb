"""What the command line asks of the engine about declared objects: that files are applied, that an object is deleted."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pymigrate.engine.application.gitops.documents import Documents
from pymigrate.engine.entrypoints.cli.client import Client, fail
from pymigrate.engine.entrypoints.cli.declared_kinds import KINDS
from pymigrate.v1.definition_pb2 import ApplyDefinitionsRequest, ApplyDefinitionsResponse


def read_documents(path: Path) -> Sequence[Any]:
    """The data of a file's documents, but for empty ones. Ends the command with what is wrong."""
    found = Documents(str(path), path.read_bytes())
    if found.troubles:
        fail("\n".join(f"{path}:{each.line}:{each.column}: {each.description}" for each in found.troubles))
    return [document.data for document in found.documents]


def applied(client: Client, request: ApplyDefinitionsRequest) -> ApplyDefinitionsResponse:
    """What became, or would become, of what files declare."""
    answer: ApplyDefinitionsResponse = client.definitions.ApplyDefinitions(request, **client.options)
    return answer


def delete(client: Client, name: str, *, is_forced: bool = False) -> None:
    """Deletes one object that was applied, by its resource name; with `is_forced` a plan's phases too."""
    parts = name.split("/")
    kind = next((each for each in KINDS.values() if len(parts) in {2, 4} and each.collection == parts[-2]), None)
    if kind is None or name != kind.definition.name(parts[1], parts[-1]):
        known = ", ".join(each.definition.name("<environment>", "<name>") for each in KINDS.values())
        fail(f"`{name}` is no name of an object that a file declares: those are {known}")
    forced = {"force": True} if is_forced and kind.word == "Plan" else {}
    kind.call(client, "Delete", name=name, **forced)
