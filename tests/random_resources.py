"""Custom resources as chance has them: spec and status of each kind, as messages of the contract."""

import random
from typing import Any

from google.protobuf.message import Message

from pymigrate.engine.application.gitops.definition_kinds import DEFINITION_KINDS
from pymigrate.engine.application.kind import OUTPUT_ONLY
from pymigrate.engine.entrypoints.custom_resources import RUN, custom_resource_definition
from pymigrate.engine.entrypoints.structural_schemas import KEYS
from pymigrate.v1.custom_resource_pb2 import ObjectStatus, RunSpec, RunStatus
from tests.random_messages import RandomMessages

KINDS = (*DEFINITION_KINDS, RUN)
UNSET = {word: OUTPUT_ONLY | kind.kind.output_only for word, kind in DEFINITION_KINDS.items()} | {"Phase": OUTPUT_ONLY}


def messages_of(word: str) -> dict[str, Message]:
    """The messages of a kind, with nothing in them."""
    if word == RUN:
        return {"spec": RunSpec(), "status": RunStatus()}
    return {"spec": DEFINITION_KINDS[word].kind.message(), "status": ObjectStatus()}


def schemas_of(word: str) -> dict[str, Any]:
    """What its CustomResourceDefinition says of them."""
    version = custom_resource_definition(word)["spec"]["versions"][0]
    found: dict[str, Any] = version["schema"]["openAPIV3Schema"]["properties"]
    return found


def filled(word: str, rng: random.Random) -> dict[str, Message]:
    """One of a kind."""
    found, schemas = messages_of(word), schemas_of(word)
    for part, message in found.items():
        RandomMessages(rng, KEYS, UNSET if part == "spec" else {}).fill(message, schemas[part])
    return found
