"""Whether a custom resource may lie where it does: its name is one that the engine takes, and its environment is its namespace's."""

from collections.abc import Iterator

from pymigrate.engine.application.gitops.definition_kinds import DEFINITION_KINDS
from pymigrate.engine.domain.errors import Problem
from pymigrate.engine.domain.names import ID_RULE, is_id
from pymigrate.engine.entrypoints.operator.objects import ENVIRONMENT, EnvironmentRule, environment_of_object, spec_of
from pymigrate.engine.ports.cluster import Object


def placing_problems(word: str, found: Object, rule: EnvironmentRule) -> Iterator[Problem]:
    """What is wrong with its name and its place."""
    metadata = found["metadata"]
    name, namespace = str(metadata.get("name", "")), str(metadata.get("namespace", ""))
    if word in DEFINITION_KINDS and not is_id(name):
        yield Problem("metadata.name", f"`{name[:100]}` is no name: use {ID_RULE}")
    environment = environment_of_object(word, found, rule)
    if word == "Environment":
        if rule is EnvironmentRule.NAMESPACE and name != namespace:
            said = f"an Environment is called like its namespace: name it `{namespace}`, or make a namespace `{name[:100]}` for it"
            yield Problem("metadata.name", said)
    elif not is_id(environment):
        where = f"the annotation {ENVIRONMENT}" if rule is EnvironmentRule.ANNOTATION else "the namespace"
        yield Problem(
            "metadata.namespace", f"{where} names the environment, and `{environment[:100]}` is no name: use {ID_RULE}"
        )
    if word == "GitSource" and rule is EnvironmentRule.NAMESPACE and spec_of(found).get("environment") != namespace:
        said = f"a GitSource is for the environment of its namespace: say `{namespace}`, so that it declares nothing in others"
        yield Problem("spec.environment", said)
