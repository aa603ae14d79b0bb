"""The provider's schemas as Terraform is told them, in Markdown: what is required, optional and read-only, with nested ones below."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pymigrate.provider.provider import PymigrateProvider
from pymigrate.provider.sdk.ephemeral import messages
from pymigrate.provider.sdk.servicer import Servicer

NESTINGS = {1: "Attributes", 2: "Attributes List", 3: "Attributes Set", 4: "Attributes Map"}
SUBCATEGORIES = {
    "stakeholder": "Notifications",
    "notification_channel": "Notifications",
    "notification_template": "Notifications",
    "alert_rule": "Notifications",
    "on_call_schedule": "Notifications",
    "silence": "Notifications",
    "run": "Runs",
    "run_gate": "Runs",
    "run_status": "Runs",
}


@dataclass(frozen=True)
class Section:
    """What a page is made of; `page` is its path below docs; what stands before and after its body are titles, paths below
    examples/terraform, and languages."""

    page: str
    title: str
    heading: str
    description: str
    subcategory: str
    before: Sequence[tuple[str, str, str]]
    body: str
    after: Sequence[tuple[str, str, str]]


def sections() -> Iterator[Section]:
    """The provider itself, every resource, data source, ephemeral resource and function."""
    told = Servicer(PymigrateProvider()).GetProviderSchema(None, None)
    added = messages()["SchemaAddition"].FromString(told.SerializeToString())
    yield Section(
        "index.md",
        "pymigrate Provider",
        "pymigrate Provider",
        told.provider.block.description,
        "",
        [("Example Usage", "provider/provider.tf", "terraform")],
        schema(told.provider.block),
        [],
    )
    for kind, folder, blocks in (
        ("Resource", "resources", told.resource_schemas),
        ("Data Source", "data-sources", told.data_source_schemas),
        (
            "Ephemeral Resource",
            "ephemeral-resources",
            {entry.key: entry.value for entry in added.ephemeral_resource_schemas},
        ),
    ):
        for name in sorted(blocks):
            noun = name.removeprefix("pymigrate_")
            usage = f"{folder}/{name}/{kind.lower().replace(' ', '-')}.tf"
            yield Section(
                f"{folder}/{noun}.md",
                f"{name} {kind} - pymigrate",
                f"{name} ({kind})",
                blocks[name].block.description,
                SUBCATEGORIES.get(noun, ""),
                [("Example Usage", usage, "terraform")],
                schema(blocks[name].block),
                [("Import", f"{folder}/{name}/import.sh", "shell")],
            )
    yield from _functions(told)


def _functions(told: Any) -> Iterator[Section]:
    for name in sorted(told.functions):
        function = told.functions[name]
        arguments = ", ".join(f"{each.name} {_type(json.loads(each.type)).lower()}" for each in function.parameters)
        answer = _type(json.loads(getattr(function, "return").type)).lower()
        lines = "\n".join(
            f"{at}. `{each.name}` ({_type(json.loads(each.type))}) {each.description}"
            for at, each in enumerate(function.parameters, 1)
        )
        yield Section(
            f"functions/{name}.md",
            f"{name} function - pymigrate",
            f"function: {name}",
            function.summary + f".\n\n{function.description}",
            "",
            [("Example Usage", f"functions/{name}/function.tf", "terraform")],
            f"## Signature\n\n```text\n{name}({arguments}) {answer}\n```\n\n## Arguments\n\n{lines}",
            [],
        )


def schema(block: Any) -> str:
    """A schema with everything that is nested in it."""
    parts = ["## Schema", *_groups(block.attributes, "### ", "")]
    waiting = [(attribute, attribute.name) for attribute in block.attributes]
    while waiting:
        attribute, place = waiting.pop(0)
        if not attribute.HasField("nested_type"):
            continue
        inner = attribute.nested_type.attributes
        anchor = f'<a id="nestedatt--{place.replace(".", "--")}"></a>'
        parts += [f"{anchor}\n### Nested Schema for `{place}`", *_groups(inner, "", place)]
        waiting[:0] = [(each, f"{place}.{each.name}") for each in inner]
    return "\n\n".join(parts)


def _groups(attributes: Sequence[Any], heading: str, place: str) -> Iterator[str]:
    for title, chosen in (
        ("Required", [each for each in attributes if each.required]),
        ("Optional", [each for each in attributes if each.optional]),
        ("Read-Only", [each for each in attributes if each.computed and not each.optional]),
    ):
        if chosen:
            yield f"{heading}{title}" if heading else f"{title}:"
            yield "\n".join(_line(each, place) for each in sorted(chosen, key=lambda each: str(each.name)))


def _line(attribute: Any, place: str) -> str:
    kind = (
        NESTINGS[attribute.nested_type.nesting]
        if attribute.HasField("nested_type")
        else _type(json.loads(attribute.type))
    )
    link = ""
    if attribute.HasField("nested_type"):
        anchor = "--".join(part for part in (*place.split("."), attribute.name) if part)
        link = f" (see [below for nested schema](#nestedatt--{anchor}))"
    text = f" {attribute.description}" if attribute.description else ""
    return f"- `{attribute.name}` ({kind}){text}{link}"


def _type(word: Any) -> str:
    if isinstance(word, str):
        return {"string": "String", "number": "Number", "bool": "Boolean", "dynamic": "Dynamic"}[word]
    if word[0] == "object":
        return "Object"
    return f"{str(word[0]).capitalize()} of {_type(word[1])}"
