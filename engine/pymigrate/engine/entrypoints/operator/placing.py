"""Whether a custom resource may lie where it does: its name is one that the engine takes, and its environment is its namespace's. And what
it may be called in the engine, whatever its status says."""

from dataclasses import dataclass

from pymigrate.engine.application.gitops.definition_kinds import DEFINITION_KINDS
from pymigrate.engine.domain.names import ID_RULE, environment_of, is_id, last_segment
from pymigrate.engine.entrypoints.operator.objects import (
    EnvironmentRule,
    engine_name,
    environment_of_object,
    spec_of,
)
from pymigrate.engine.ports.cluster import Object

ENVIRONMENT = "Environment"
GIT_SOURCE = "GitSource"


@dataclass(frozen=True, slots=True)
class Misplaced:
    """Why the engine would not take it there: a condition's reason, the field to mend, and how."""

    reason: str
    field: str
    message: str


def misplaced(word: str, found: Object, rule: EnvironmentRule) -> Misplaced | None:
    """What is wrong with a resource's name or place; None: nothing. A Run's own name is not told to the engine."""
    metadata = found["metadata"]
    name, namespace = str(metadata["name"]), str(metadata.get("namespace", ""))
    environment = environment_of_object(word, found, rule)
    if word in DEFINITION_KINDS and not is_id(name):
        return Misplaced("InvalidName", "metadata.name", f"`{name}` is no name in the engine: use {ID_RULE}")
    if not is_id(environment):
        said = f"`{environment}` is no environment: use {ID_RULE}"
        return Misplaced("InvalidEnvironment", "metadata.namespace", said)
    if rule is EnvironmentRule.ANNOTATION:
        return None
    if word == ENVIRONMENT and name != namespace:
        said = f"an Environment is called like its namespace: call it `{namespace}`, or make it in namespace `{name}`"
        return Misplaced("WrongNamespace", "metadata.name", said)
    if word == GIT_SOURCE and (declared := spec_of(found).get("environment")) != namespace:
        said = f"a GitSource is for the environment of its namespace: set spec.environment to `{namespace}`, not `{declared}`"
        return Misplaced("WrongNamespace", "spec.environment", said)
    return None


def told_name(word: str, found: Object, rule: EnvironmentRule) -> str:
    """What it is called in the engine as its status tells; empty where it can't be called so: whoever may write to a status would reach
    by it what others declare. By annotation the environment may have been another one, and nothing else."""
    name = str((found.get("status") or {}).get("name", ""))
    environment = environment_of_object(word, found, rule)
    if rule is EnvironmentRule.ANNOTATION:
        environment = last_segment(environment_of(name))
    elif word == ENVIRONMENT and environment != found["metadata"].get("namespace"):
        return ""
    return name if name == engine_name(word, environment, str(found["metadata"]["name"])) else ""
