"""Which transform does what a definition asks for."""

from collections.abc import Sequence
from typing import assert_never

from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.transform import Derive, Drop, Filter, Rename, Select, Transform, TransformSpec
from pymigrate.engine.transfer.transforms.column_steps import bind_drop, bind_rename, bind_select
from pymigrate.engine.transfer.transforms.computed import bind_derive, bind_filter


class Binding:
    """Binds transforms to the columns that they are given."""

    def bind(self, spec: TransformSpec, columns: Sequence[ColumnInfo]) -> Transform:
        """Raises InvalidDefinition with fields relative to the transform."""
        match spec:
            case Rename():
                return bind_rename(spec, columns)
            case Select():
                return bind_select(spec, columns)
            case Drop():
                return bind_drop(spec, columns)
            case Filter():
                return bind_filter(spec, columns)
            case Derive():
                return bind_derive(spec, columns)
            case _:
                assert_never(spec)
