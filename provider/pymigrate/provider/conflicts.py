"""What to say when an object is not what Terraform read last: who changed what, when, and what to do. Nothing is overwritten."""

from collections.abc import Mapping, Sequence
from typing import Any

from pymigrate.provider.sdk import planning
from pymigrate.provider.sdk.diagnostics import Refused, written
from pymigrate.provider.sdk.resource import Context, State
from pymigrate.provider.sdk.schema import Attribute

OWN = "terraform"  # how the engine calls this side
COMMANDS_MAX = 20
CHANGES_MAX = 5
VALUE_LENGTH_MAX = 60


def changed_elsewhere(
    attributes: Mapping[str, Attribute], known: State, found: State, message: Any, verb: str
) -> Refused:
    """Somebody wrote after Terraform had read: `known` is the state, `found` what the engine has."""
    told = {name: attribute for name, attribute in attributes.items() if not attribute.computed}
    paths = list(planning.changes(told, known, found))
    lines = [f"{written(path)}: {_shown(known, path)} is now {_shown(found, path)}" for path in paths[:CHANGES_MAX]]
    if len(paths) > CHANGES_MAX:
        lines.append(f"and {len(paths) - CHANGES_MAX} more")
    what = "; ".join(lines) or "it is again as it was read, or differs in what this provider does not know"
    return Refused(
        f"{message.name} was changed elsewhere and is not {verb}",
        f"After Terraform had read it, it was changed {_by(message)}: {what}. Run terraform plan again: it shows what this configuration "
        "would change back.",
        paths[0][:1] if paths else (),
    )


def still_needed(error_text: str, name: str) -> Refused:
    """Something names the object. Terraform destroys before it changes, unless it is told to do it the other way round."""
    return Refused(
        f"{name} can't be deleted",
        f"{error_text.rstrip('.')}. Where this apply changes that too, `lifecycle {{ create_before_destroy = true }}` in this resource, "
        "applied before, makes Terraform change it first.",
    )


def exists_already(message: Any, noun: str, below: Sequence[str] = ()) -> Refused:
    """The name is taken. The state may have been lost, or another apply was first; `below` are the commands that take over what lies in
    the object. What another side declares stays that side's."""
    name, summary = message.name, f"{message.name} exists already"
    if message.managed_by != OWN:
        return Refused(
            summary,
            f"It was last changed {_by(message)}, and only {message.managed_by or 'who made it'} may change it. Write its name where this "
            f"configuration refers to it, or delete it there first; otherwise choose another {noun}_id.",
            [f"{noun}_id"],
        )
    more = f" So is what lies in it: {'; '.join(below[:COMMANDS_MAX])}" if below else ""
    more += "; and what else is there." if len(below) > COMMANDS_MAX else "." if below else ""
    return Refused(
        summary,
        f"It was last changed {_by(message)}. If it is this one (the state was lost, or another apply made it) and no other resource or "
        f"workspace declares it, take it over with `{import_command(noun, name)}`, or an import block; otherwise choose another "
        f"{noun}_id.{more}",
        [f"{noun}_id"],
    )


def import_command(noun: str, name: str) -> str:
    """How an object is taken over."""
    return f"terraform import pymigrate_{noun}.<name> {name}"


def warn_of_owner(context: Context, message: Any) -> None:
    """Says of what is imported that another side declares it."""
    if message.managed_by != OWN:
        context.warn(
            f"{message.name} is managed by {message.managed_by or 'nobody'}",
            "It can be read, and the engine refuses to have Terraform change or delete it: change it there, or delete it there first.",
        )


def _by(message: Any) -> str:
    moment = message.update_time.ToJsonString() if message.update_time.seconds else "at a time that is not known"
    return f"at {moment} (it is managed by {message.managed_by or 'nobody'})"


def _shown(state: State, path: Any) -> str:
    value: Any = state
    for step in path:
        key = step[0] if isinstance(step, tuple) else step
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            value = None
    if value is None:
        return "not set"
    text = f"`{value}`" if isinstance(value, str) else f"{value}"
    return text if len(text) <= VALUE_LENGTH_MAX else f"{text[:VALUE_LENGTH_MAX]}…"
