"""Paths of fields as custom resources have them: in lowerCamelCase, where the contract's own are in snake_case."""

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from pymigrate.v1 import plan_pb2

STEPS_MAX = 64


def spec_path(message: Descriptor, path: str) -> str:
    """`spec.phases.sales_eu.lanesMax` for `spec.phases.sales_eu.lanes_max` within a kind's message. Names
    that people gave, and what is not known, stay."""
    first, _, rest = path.partition(".")
    if first != "spec" or not rest:
        return path
    told, is_key = [first], False
    within: Descriptor | None = message
    for step in rest.split(".", STEPS_MAX):
        name, bracket, index = step.partition("[")
        field = None if is_key or within is None else within.fields_by_name.get(name)
        told.append(f"{field.camelcase_name}{bracket}{index}" if field is not None else step)
        if is_key:
            is_key = False
        elif field is not None:
            within, is_key = _below(field)
        else:
            within = None
    return ".".join(told)


def plan_path(path: str) -> str:
    """`phases.sales_eu.lanesMax` for `phases.sales_eu.lanes_max` of a plan, as the engine tells what stands against its start."""
    return spec_path(plan_pb2.Plan.DESCRIPTOR, f"spec.{path}").removeprefix("spec.")


def _below(field: FieldDescriptor) -> tuple[Descriptor | None, bool]:
    """The message that is below a field, and whether a key comes before it."""
    below = field.message_type
    if below is not None and below.GetOptions().map_entry:
        return below.fields_by_name["value"].message_type, True
    return below, False
