"""From the contract's transforms to those of the data plane; keys are read here, where the data is."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from pymigrate.engine.domain.errors import InvalidDefinition, Problem, PyMigrateError
from pymigrate.engine.domain.types import ColumnInfo, parse_type
from pymigrate.engine.entrypoints.worker import definitions
from pymigrate.engine.entrypoints.worker.credentials import Credentials
from pymigrate.engine.ports.connector import Connector
from pymigrate.engine.ports.secrets import Secrets, parse_secret_ref
from pymigrate.engine.ports.source import Source
from pymigrate.engine.ports.transform import (
    CastAll,
    CastTo,
    Deduplicate,
    Derive,
    Derived,
    Drop,
    Filter,
    Gate,
    Lookup,
    Mask,
    Masked,
    MaskMethod,
    Merge,
    Missing,
    Plugin,
    Python,
    Rename,
    Select,
    Split,
    TransformKind,
    TransformSpec,
)
from pymigrate.engine.transfer.catching_up import FollowJob
from pymigrate.engine.transfer.transforms.binding import Binding
from pymigrate.engine.transfer.transforms.changes import Shape
from pymigrate.engine.transfer.transforms.pipeline import Pipeline
from pymigrate.engine.transfer.transforms.source import TransformedSource
from pymigrate.v1 import plan_pb2, worker_pb2

PYTHON_MEMORY_BYTES_DEFAULT = 512 << 20
PYTHON_SECONDS_DEFAULT = 60
LOOKUP_FIELD = "transforms.lookup"
REFUSING_NUL = frozenset({"postgres"})
MISSING = {
    plan_pb2.LOOKUP_MISS_POLICY_UNSPECIFIED: Missing.REFUSE,
    plan_pb2.LOOKUP_MISS_POLICY_REFUSE: Missing.REFUSE,
    plan_pb2.LOOKUP_MISS_POLICY_NULL: Missing.NULL,
    plan_pb2.LOOKUP_MISS_POLICY_DROP: Missing.DROP,
}
METHODS = {
    plan_pb2.MASK_METHOD_HASH: MaskMethod.HASH,
    plan_pb2.MASK_METHOD_TOKENISE: MaskMethod.TOKENISE,
    plan_pb2.MASK_METHOD_REDACT: MaskMethod.REDACT,
}


@dataclass(frozen=True, slots=True)
class Transforms:
    """Makes sources of datasets give what their targets get."""

    connectors: Callable[[str], Connector]
    secrets: Secrets
    plugins: Callable[[str], TransformKind]

    def over(self, work: worker_pb2.DatasetWork, open_source: Callable[[], Source]) -> Callable[[], Source]:
        """Opens the source of a dataset as its target gets it."""
        if not definitions.is_transformed(work.dataset):
            return open_source

        return lambda: self._transformed(work, open_source)

    def _transformed(self, work: worker_pb2.DatasetWork, open_source: Callable[[], Source]) -> TransformedSource:
        specs = self._specs(work)
        binding = Binding(self.plugins, lambda lookup: self._open(work, lookup))
        lead = _typing(work)
        lookups = [spec for spec in specs if isinstance(spec, Lookup)]

        def open_pipeline(columns: Sequence[ColumnInfo]) -> Pipeline:
            return Pipeline(specs, columns, binding.bind, lead)

        def lookup_states() -> list[str]:
            return [self._state(work, lookup) for lookup in lookups]

        return TransformedSource(open_source(), open_pipeline, lookup_states, reads_text=bool(lead))

    def shape(
        self, work: worker_pb2.DatasetWork, open_source: Callable[[], Source], job: FollowJob
    ) -> Callable[[], Shape]:
        """Opens what is made of changes, for which the source is asked for its columns."""
        relation = replace(job.relation, key=job.staging.key)

        def opened() -> Shape:
            with closing(self._transformed(work, open_source)) as source:
                return source.shape(job.dataset, relation, job.staging.columns)

        return opened

    def _specs(self, work: worker_pb2.DatasetWork) -> list[TransformSpec]:
        found: list[TransformSpec] = []
        for at, transform in enumerate(work.dataset.transforms):
            try:
                found.append(transform_spec(transform, self.secrets))
            except PyMigrateError as error:
                error.field = f"transforms[{at}].mask.key"
                raise
        if work.dataset.HasField("quarantine"):
            found.append(Gate(tuple(work.dataset.key), work.target.WhichOneof("system") in REFUSING_NUL))
        return found

    def _open(self, work: worker_pb2.DatasetWork, lookup: Lookup) -> Source:
        if lookup.connection not in work.lookups:
            problem = Problem("lookup.source.connection", f"there is no connection `{lookup.connection}`")
            raise InvalidDefinition((problem,))
        looked_up = Credentials(work.lookups[lookup.connection], self.secrets, LOOKUP_FIELD)
        return looked_up.open(lambda system: self.connectors(system.kind).open_source(system))

    def _state(self, work: worker_pb2.DatasetWork, lookup: Lookup) -> str:
        with closing(self._open(work, lookup)) as source:
            return source.state(lookup.relation)


def _typing(work: worker_pb2.DatasetWork) -> list[TransformSpec]:
    """With a quarantine, the declared types of a CSV file are cast to row by row, rather than refusing the file at the first row."""
    source = work.dataset.source
    is_csv = source.HasField("csv") or (source.WhichOneof("format") is None and ".csv" in source.relation)
    if not work.dataset.HasField("quarantine") or work.source.WhichOneof("system") != "files" or not is_csv:
        return []
    types = {name: CastTo(parse_type(column.type)) for name, column in sorted(source.columns.items()) if column.type}
    return [CastAll(types)] if types else []


def transform_spec(transform: plan_pb2.Transform, secrets: Secrets) -> TransformSpec:
    """What a transform does. Raises SecretMissing for a key that is not there."""
    match transform.WhichOneof("kind"):
        case "rename":
            return Rename(dict(transform.rename.columns))
        case "cast":
            return CastAll(
                {
                    name: CastTo(parse_type(column.type), column.on_error == plan_pb2.CAST_ERROR_POLICY_NULL)
                    for name, column in sorted(transform.cast.columns.items())
                }
            )
        case "filter":
            return Filter(transform.filter.condition)
        case "derive":
            return Derive(
                {
                    name: Derived(column.expression, parse_type(column.type))
                    for name, column in sorted(transform.derive.columns.items())
                }
            )
        case "select":
            return Select(tuple(transform.select.columns))
        case "drop":
            return Drop(tuple(transform.drop.columns))
        case "lookup":
            return _lookup(transform.lookup)
        case "deduplicate":
            return Deduplicate(tuple(transform.deduplicate.columns))
        case "split":
            split = transform.split
            return Split(split.column, split.separator, tuple(split.into), split.keep)
        case "merge":
            merge = transform.merge
            return Merge(tuple(merge.columns), merge.separator, merge.into, merge.keep)
        case "mask":
            return _mask(transform.mask, secrets)
        case "plugin":
            return Plugin(transform.plugin.name, dict(transform.plugin.settings))
        case "python":
            return _python(transform.python)
        case _:
            raise ValueError("a transform of a kind that this worker host does not know: it is older than the engine")


def _lookup(lookup: plan_pb2.LookupColumns) -> Lookup:
    return Lookup(
        lookup.source.connection,
        definitions.relation_of(lookup.source),
        dict(sorted(lookup.keys.items())),
        dict(sorted(lookup.columns.items())),
        MISSING[lookup.when_missing],
    )


def _mask(mask: plan_pb2.MaskColumns, secrets: Secrets) -> Mask:
    columns = {name: Masked(METHODS[column.method], column.text) for name, column in sorted(mask.columns.items())}
    if not mask.key:
        return Mask(columns)
    return Mask(
        columns, secrets.read(parse_secret_ref(mask.key, "mask.key")).reveal().encode("utf-8", "surrogateescape")
    )


def _python(python: plan_pb2.PythonTransform) -> Python:
    return Python(
        python.function,
        dict(sorted(python.settings.items())),
        {name: parse_type(column.type) for name, column in sorted(python.columns.items())},
        python.memory_bytes_max or PYTHON_MEMORY_BYTES_DEFAULT,
        float(python.batch_seconds_max or PYTHON_SECONDS_DEFAULT),
    )
