"""Custom resources as the operator names them: their types, keys, annotations, and what they are called in the engine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pymigrate.engine.application.gitops.definition_kinds import DEFINITION_KINDS
from pymigrate.engine.entrypoints.custom_resources import RUN, resource_type
from pymigrate.engine.ports.cluster import Object, ResourceType

FINALIZER = "pymigrate.io/engine"
SUSPEND = "pymigrate.io/suspend"
DELETION_POLICY = "pymigrate.io/deletion-policy"
ORPHAN = "orphan"
ENVIRONMENT = "pymigrate.io/environment"
_TRUE = "true"
FINALIZERS_AT = 3
"""Where a shape has them."""


class EnvironmentRule(StrEnum):
    """How an object's environment is found: it is called like the namespace, or as an annotation says."""

    NAMESPACE = "namespace"
    ANNOTATION = "annotation"


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """A custom resource, by the word of its kind."""

    word: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.word} {self.namespace}/{self.name}"


RESOURCE_TYPES: Mapping[str, ResourceType] = {word: resource_type(word) for word in (*DEFINITION_KINDS, RUN)}


def key_of(word: str, found: Object) -> Key:
    """Its key."""
    return Key(word, found["metadata"].get("namespace", ""), found["metadata"]["name"])


def uid_of(found: Object) -> str:
    """What tells it from others that had its name before."""
    return str(found["metadata"].get("uid", ""))


def generation_of(found: Object) -> int:
    """Grows with each change of what is declared."""
    return int(found["metadata"].get("generation", 0))


def annotation_of(found: Object, name: str) -> str:
    """Empty where there is none."""
    return str((found["metadata"].get("annotations") or {}).get(name, ""))


def is_deleted(found: Object) -> bool:
    """Whether it is gone as soon as its finalizers are."""
    return bool(found["metadata"].get("deletionTimestamp"))


def is_suspended(found: Object) -> bool:
    """Whether the operator is to leave it alone."""
    return annotation_of(found, SUSPEND) == _TRUE


def is_orphaned(found: Object) -> bool:
    """Whether it stays in the engine when the resource goes."""
    return annotation_of(found, DELETION_POLICY) == ORPHAN


def has_finalizer(found: Object) -> bool:
    """Whether it waits for the operator when it is deleted."""
    return FINALIZER in finalizers_of(found)


def finalizers_of(found: Object) -> Sequence[str]:
    """All of them, also those of others."""
    return list(found["metadata"].get("finalizers") or ())


def spec_of(found: Object) -> Mapping[str, Any]:
    """What is declared."""
    return found.get("spec") or {}


def environment_of_object(word: str, found: Object, rule: EnvironmentRule) -> str:
    """The last segment of the environment that it belongs to; of an Environment its own name."""
    if word == "Environment":
        return str(found["metadata"]["name"])
    namespace = str(found["metadata"].get("namespace", ""))
    return (annotation_of(found, ENVIRONMENT) if rule is EnvironmentRule.ANNOTATION else "") or namespace


def engine_name(word: str, environment: str, name: str) -> str:
    """The resource name of an object that files may declare."""
    return DEFINITION_KINDS[word].name(environment, name)


def run_id(uid: str) -> str:
    """The last segment of the name of a resource's run: it follows from the uid alone, so that it is found again."""
    return f"k-{uid}".lower()


def shape_of(found: Object) -> tuple[Any, ...]:
    """What a pass depends on beside the status: as long as it is equal, what happened was a status being written."""
    metadata = found["metadata"]
    return (
        metadata.get("uid"),
        metadata.get("generation"),
        metadata.get("deletionTimestamp"),
        tuple(metadata.get("finalizers") or ()),
        tuple(sorted((metadata.get("annotations") or {}).items())),
    )


def is_just_held(before: tuple[Any, ...], shape: tuple[Any, ...]) -> bool:
    """Whether the operator's finalizer was taken since, and nothing else has become of it."""
    held = (*before[:FINALIZERS_AT], (*before[FINALIZERS_AT], FINALIZER), *before[FINALIZERS_AT + 1 :])
    return FINALIZER not in before[FINALIZERS_AT] and held == shape
