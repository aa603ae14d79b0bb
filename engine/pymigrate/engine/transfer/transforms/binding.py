"""Which transform does what a definition asks for."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import assert_never

from pymigrate.engine.domain.errors import InvalidDefinition, Problem, PyMigrateError
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.source import Source
from pymigrate.engine.ports.transform import (
    CastAll,
    Deduplicate,
    Derive,
    Drop,
    Filter,
    Gate,
    Lookup,
    Mask,
    Merge,
    Plugin,
    Python,
    Rename,
    Select,
    Split,
    Transform,
    TransformKind,
    TransformSpec,
)
from pymigrate.engine.transfer.transforms.column_steps import bind_drop, bind_rename, bind_select
from pymigrate.engine.transfer.transforms.computed import bind_cast, bind_derive, bind_filter
from pymigrate.engine.transfer.transforms.deduplication import bind_deduplicate
from pymigrate.engine.transfer.transforms.gate import GateStep
from pymigrate.engine.transfer.transforms.lookup import bind_lookup
from pymigrate.engine.transfer.transforms.masking import bind_mask
from pymigrate.engine.transfer.transforms.python_step import bind_python
from pymigrate.engine.transfer.transforms.text_steps import bind_merge, bind_split


def no_plugin(name: str) -> TransformKind:
    """Where no package brings any."""
    raise InvalidDefinition((Problem("plugin.name", f"there is no transform `{name}`"),))


def no_source(spec: Lookup) -> Source:
    """Where nothing can be looked up."""
    raise InvalidDefinition((Problem("lookup.source.connection", f"`{spec.connection}` can't be reached from here"),))


@dataclass(frozen=True, slots=True)
class Binding:
    """Binds transforms to the columns that they are given. `plugins` finds what other packages bring, by name; `open_lookup` opens the
    connection that a lookup names."""

    plugins: Callable[[str], TransformKind] = no_plugin
    open_lookup: Callable[[Lookup], Source] = no_source

    def bind(self, spec: TransformSpec, columns: Sequence[ColumnInfo]) -> Transform:
        """Raises InvalidDefinition with fields relative to the transform."""
        match spec:
            case Rename():
                return bind_rename(spec, columns)
            case CastAll():
                return bind_cast(spec, columns)
            case Filter():
                return bind_filter(spec, columns)
            case Derive():
                return bind_derive(spec, columns)
            case Select():
                return bind_select(spec, columns)
            case Drop():
                return bind_drop(spec, columns)
            case Lookup():
                return bind_lookup(spec, columns, self.open_lookup)
            case Deduplicate():
                return bind_deduplicate(spec, columns)
            case Split():
                return bind_split(spec, columns)
            case Merge():
                return bind_merge(spec, columns)
            case Mask():
                return bind_mask(spec, columns)
            case Python():
                return bind_python(spec, columns)
            case Gate():
                return GateStep(columns, spec.required, refuses_nul=spec.refuses_nul)
            case Plugin():
                return self._plugged(spec, columns)
            case _:
                assert_never(spec)

    def _plugged(self, spec: Plugin, columns: Sequence[ColumnInfo]) -> Transform:
        kind = self.plugins(spec.name)
        try:
            return kind.bind(columns, spec.settings)
        except InvalidDefinition as error:
            raise InvalidDefinition(tuple(_of_settings(error.problems))) from error
        except PyMigrateError:
            raise
        except Exception as error:
            said = f"`{spec.name}` can't be set up: {type(error).__name__}: {error}"
            raise InvalidDefinition((Problem("plugin.name", said),)) from error


def _of_settings(problems: Sequence[Problem]) -> Iterator[Problem]:
    for problem in problems:
        yield Problem(f"plugin.settings.{problem.field}" if problem.field else "plugin.settings", problem.description)
