"""What the author of a resource or data source writes: a schema and a few plain methods. Everything else is the servicer's."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tf.utils import Diagnostics

from pymigrate.provider.sdk.diagnostics import Path, Refused, add, add_warning
from pymigrate.provider.sdk.schema import Attribute, Schema, State

__all__ = ["Context", "DataSource", "Resource", "State"]


@dataclass
class Context:
    """One call. `config` is what the user wrote, write-only values included; `stopping` is set when the user interrupts; `private` is what
    the resource noted when it read or wrote the object last: Terraform keeps it beside the state, and never shows it."""

    diagnostics: Diagnostics
    type_name: str
    stopping: threading.Event
    config: State = field(default_factory=dict)
    saved: State | None = None
    private: dict[str, str] = field(default_factory=dict)

    def save(self, state: State) -> None:
        """Call it once the engine has accepted: whatever fails afterwards, this is in the state."""
        self.saved = dict(state)

    def warn(self, summary: str, detail: str = "", path: Path = ()) -> None:
        """A warning."""
        add_warning(self.diagnostics, Refused(summary, detail, path))

    def error(self, summary: str, detail: str = "", path: Path = ()) -> None:
        """An error that does not end the call, where there may be more to tell; the call has failed nevertheless."""
        add(self.diagnostics, Refused(summary, detail, path))


class Typed:
    """What has a name and a schema of its own, for one provider."""

    def __init__(self, provider: Any) -> None:
        self.provider = provider

    @classmethod
    def get_name(cls) -> str:
        """The type's name without the provider's prefix."""
        raise TypeError(f"{cls.__name__} has no name")

    @classmethod
    def get_schema(cls) -> Schema:
        """The schema."""
        raise TypeError(f"{cls.__name__} has no schema")


class Resource(Typed):
    """A managed resource. Methods raise `Refused` (or `ManyRefused`) for what can't be done."""

    @classmethod
    def attributes(cls) -> Mapping[str, Attribute]:
        """The schema's attributes by name."""
        return cls.get_schema().by_name

    def validate(self, context: Context, config: State) -> None:
        """Further checks of the configuration; unknown values may be in it."""

    def modify_plan(self, context: Context, prior: State | None, planned: State) -> State:
        """The plan with what only the resource knows; `prior` is None for a creation, what the user wrote is `context.config`.
        Only computed attributes that the user does not set may differ from `planned`."""
        del context, prior
        return planned

    def plan_destroy(self, context: Context, prior: State) -> None:
        """Warnings about what a destruction would do, also one for another object that takes its place; raises where it can't be done."""

    def requires_replace(self, prior: State, planned: State) -> list[Path]:
        """Attributes whose change needs another object, beside those that the schema says."""
        del prior, planned
        return []

    def create(self, context: Context, planned: State) -> State:
        """Makes the object; its state. Once the engine has accepted, `context.save` keeps it whatever fails afterwards."""
        raise TypeError(f"{self.get_name()} can't be created")

    def read(self, context: Context, current: State) -> State | None:
        """The object as it is; None when it is gone."""
        raise TypeError(f"{self.get_name()} can't be read")

    def update(self, context: Context, current: State, planned: State) -> State:
        """Changes the object; its state."""
        raise TypeError(f"{self.get_name()} can't be updated")

    def delete(self, context: Context, current: State) -> None:
        """Removes the object; that it is gone already is no error."""
        raise TypeError(f"{self.get_name()} can't be deleted")

    def import_state(self, context: Context, identity: str) -> State | None:
        """What is known of an object by its name alone; None when there is no such object."""
        del context, identity
        return None

    def upgrade(self, version: int, state: State) -> State:
        """A state of an older version in the words of this one; missing attributes become null afterwards."""
        del version
        return state


class DataSource(Typed):
    """A data source."""

    def read(self, context: Context, config: State) -> State:
        """The data."""
        raise TypeError(f"{self.get_name()} can't be read")
