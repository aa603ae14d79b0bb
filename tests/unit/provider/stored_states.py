"""States as they were stored by every version of every resource's schema: each a file of the schema's shape and of a state with every
attribute set. `python -m tests.unit.provider.stored_states` writes the files of versions that have none; it never changes one.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tf.types import Bool, List, Map, Number

from pymigrate.provider.provider import PymigrateProvider
from pymigrate.provider.sdk.schema import Attribute, Moment, Nesting

FOLDER = Path(__file__).with_name("states")


def resources() -> Iterator[tuple[str, Any]]:
    """Every resource by its type's name."""
    provider = PymigrateProvider()
    for each in provider.get_resources():
        yield f"{provider.get_model_prefix()}{each.get_name()}", each


def file(type_name: str, version: int) -> Path:
    """Where a version's state is kept."""
    return FOLDER / f"{type_name}.{version}.json"


def shape(attributes: Mapping[str, Attribute]) -> dict[str, Any]:
    """What a state of these attributes holds: a type for each, of a nested one how it nests and the shape of what it holds."""
    return {
        name: {attribute.nesting.value: shape(attribute.nested)}
        if attribute.nested
        else json.loads(attribute.type.tf_type())
        for name, attribute in attributes.items()
        if not attribute.is_write_only
    }


def example(attributes: Mapping[str, Attribute]) -> dict[str, Any]:
    """A state in which everything is set."""
    return {name: _example(name, attribute) for name, attribute in attributes.items() if not attribute.is_write_only}


def _example(name: str, attribute: Attribute) -> Any:
    if attribute.nested:
        inner = example(attribute.nested)
        return {Nesting.SINGLE: inner, Nesting.MAP: {"first": inner}, Nesting.LIST: [inner]}[attribute.nesting]
    if attribute.words:
        return attribute.words[0]
    match attribute.type:
        case Moment():
            return "2026-01-31T12:00:00Z"
        case Bool():
            return True
        case Number():
            return 7
        case List():
            return [name]
        case Map(element_type=Number()):
            return {name: 7}
        case Map():
            return {name: "text"}
        case _:
            return f"some {name}"


def main() -> None:
    """Writes what is missing."""
    FOLDER.mkdir(exist_ok=True)
    for type_name, resource in resources():
        schema = resource.get_schema()
        path = file(type_name, schema.version)
        if not path.exists():
            kept = {"shape": shape(schema.by_name), "state": example(schema.by_name)}
            path.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
