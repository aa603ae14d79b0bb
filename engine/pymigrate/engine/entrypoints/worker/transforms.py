"""From the contract's transforms to those of the data plane; keys are read here, where the data is."""

from collections.abc import Callable, Sequence

from pymigrate.engine.domain.types import ColumnInfo, parse_type
from pymigrate.engine.ports.connector import Source
from pymigrate.engine.ports.transform import Derive, Derived, Drop, Filter, Rename, Select, TransformSpec
from pymigrate.engine.transfer.transforms.binding import Binding
from pymigrate.engine.transfer.transforms.pipeline import Pipeline
from pymigrate.engine.transfer.transforms.source import TransformedSource
from pymigrate.v1 import plan_pb2, worker_pb2


def transformed(work: worker_pb2.DatasetWork, open_source: Callable[[], Source]) -> Callable[[], Source]:
    """Opens the source of a dataset as its target gets it."""
    if not work.dataset.transforms:
        return open_source
    specs = [transform_spec(transform) for transform in work.dataset.transforms]
    binding = Binding()

    def open_pipeline(columns: Sequence[ColumnInfo]) -> Pipeline:
        return Pipeline(specs, columns, binding.bind)

    return lambda: TransformedSource(open_source(), open_pipeline)


def transform_spec(transform: plan_pb2.Transform) -> TransformSpec:
    """What a transform does."""
    match transform.WhichOneof("kind"):
        case "rename":
            return Rename(dict(transform.rename.columns))
        case "filter":
            return Filter(transform.filter.condition)
        case "derive":
            return Derive(
                {
                    name: Derived(column.expression, parse_type(column.type))
                    for name, column in transform.derive.columns.items()
                }
            )
        case "select":
            return Select(tuple(transform.select.columns))
        case "drop":
            return Drop(tuple(transform.drop.columns))
        case _:
            raise ValueError("a transform of a kind that this worker host does not know: it is older than the engine")
