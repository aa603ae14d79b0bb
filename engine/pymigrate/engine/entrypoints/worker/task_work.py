"""What is done for each kind of task: opens the systems that it needs and calls the data plane."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing

from pymigrate.engine.domain.errors import (
    InvalidDefinition,
    PermanentError,
    Problem,
    SourceMissing,
)
from pymigrate.engine.entrypoints.worker import definitions, schemas
from pymigrate.engine.entrypoints.worker.access import LaneAccess
from pymigrate.engine.entrypoints.worker.credentials import Credentials
from pymigrate.engine.entrypoints.worker.following import Following
from pymigrate.engine.entrypoints.worker.outcomes import (
    SOURCE_CONNECTION,
    TARGET_FIELD,
    done,
    inspection_message,
    progress,
    verification_message,
)
from pymigrate.engine.entrypoints.worker.pacing import HeldToRate, Pace, TimedSource
from pymigrate.engine.entrypoints.worker.probing import probe_job, probed_message, size_in
from pymigrate.engine.entrypoints.worker.systems import outside_call
from pymigrate.engine.entrypoints.worker.transforms import Transforms
from pymigrate.engine.entrypoints.worker.versions import Watch
from pymigrate.engine.ports.calls import Calls
from pymigrate.engine.ports.connector import Connector
from pymigrate.engine.ports.secrets import DeclaredSecrets, RotatingSecrets, parse_secret_ref
from pymigrate.engine.ports.source import Source
from pymigrate.engine.ports.staging import Staging
from pymigrate.engine.ports.target import Target
from pymigrate.engine.ports.transform import TransformKind
from pymigrate.engine.transfer.inspection import inspect
from pymigrate.engine.transfer.lane_job import CopyOutcome
from pymigrate.engine.transfer.means import Means
from pymigrate.engine.transfer.probe import probe
from pymigrate.engine.transfer.publication import Outcome, prepare, publish, rollback, seal
from pymigrate.engine.transfer.signals import Signals
from pymigrate.engine.transfer.tail import verify_tail
from pymigrate.engine.transfer.verification import verify
from pymigrate.v1 import connection_pb2, run_pb2, secret_backend_pb2, worker_pb2

RELATIONS_MAX = 10_000
TARGETS_ONLY = frozenset({"iceberg"})
SIDES = 2
CHANGES_BYTES = 64_000_000  # what one stretch of changes takes at most, as texts and as batches
OnProgress = Callable[[worker_pb2.LaneProgress], None]


class TaskWork:
    """One task, with the secrets that it may read."""

    def __init__(
        self,
        backends: DeclaredSecrets,
        secrets: RotatingSecrets,
        connectors: Callable[[str], Connector],
        calls: Calls,
        means: Means,
        copy: Callable[..., CopyOutcome],
        plugins: Callable[[str], TransformKind],
    ) -> None:
        self._backends = backends
        self._secrets = secrets
        self._means = means
        self._copy_lane = copy
        self._connectors = connectors
        self._calls = calls
        self._transforms = Transforms(connectors, secrets, plugins)
        self._following = Following(connectors, secrets, self._transforms)

    def run(self, task: worker_pb2.Task, signals: Signals, on_progress: OnProgress) -> worker_pb2.FinishTaskRequest:
        """The task's outcome where it ends well."""
        match task.WhichOneof("work"):
            case "test":
                return done(test=self._test(task.test))
            case "discover":
                return done(discover=self._discover(task.discover))
            case "inspect":
                return done(inspect=self._inspect(task.inspect))
            case "copy":
                return self._copy(task, signals, on_progress)
            case "capture":
                self._following.capture(task, self._target_of([task.capture.dataset]), signals)
                return done()
            case "catch_up":
                open_target = self._target_of([task.catch_up.dataset])
                with self._means.budget.held(CHANGES_BYTES, signals):
                    return done(
                        copy=self._following.catch_up(task, open_target, signals, on_progress, self._means.monotonic)
                    )
            case "verify":
                return done(verify=self._verified(task, signals))
            case "prepare":
                works = task.prepare.datasets
                is_prepared = prepare(_stagings(works), task.prepare.key, self._target_of(works))
                return done(prepare=worker_pb2.Prepared(is_prepared=is_prepared))
            case "publish":
                works = task.publish.datasets
                outcomes = publish(_stagings(works), self._target_of(works), task.publish.prepared_key)
                met = {work.dataset_id: met for work, met in zip(works, outcomes, strict=False)}
                self._following.end_published(works)
                return done(publish=self._published_message(met))
            case "rollback":
                works = task.rollback.datasets
                rollback(_stagings(works), self._target_of(works), task.rollback.prepared_key)
                self._following.end_undone(works)
                return done()
            case "seal":
                seal(_stagings(task.seal.datasets), self._target_of(task.seal.datasets))
                return done()
            case "probe":
                return done(probe=self._probe(task, signals))
            case "test_secrets":
                return done(test_secrets=self._test_secrets(task.test_secrets))
            case "step":
                self._calls.call(outside_call(task.step, self._secrets))
                return done()
            case _:
                raise ValueError(
                    f"{task.id} asks for work that this worker host does not know: it is older than the engine"
                )

    def _test(self, asked: worker_pb2.TestWork) -> connection_pb2.TestConnectionResponse:
        started = self._means.monotonic()
        with closing(self._any_side(asked.connection, asked.secret_version)) as system:
            version = system.version()
        return connection_pb2.TestConnectionResponse(
            version=version, duration_seconds=self._means.monotonic() - started
        )

    def _test_secrets(self, work: worker_pb2.TestSecretsWork) -> secret_backend_pb2.TestSecretBackendResponse:
        started = self._means.monotonic()
        version, secret_version = self._backends.login(work.scheme), ""
        if work.reference:
            secret_version = self._secrets.reread(parse_secret_ref(work.reference, "reference")).version
        return secret_backend_pb2.TestSecretBackendResponse(
            version=version, secret_version=secret_version, duration_seconds=self._means.monotonic() - started
        )

    def _discover(self, work: worker_pb2.DiscoverWork) -> connection_pb2.DiscoverSchemaResponse:
        with closing(self._any_side(work.connection)) as system:
            found = system.relations(work.relation_glob or "*", RELATIONS_MAX + 1)
        return connection_pb2.DiscoverSchemaResponse(
            relations=[schemas.relation_message(info) for info in found[:RELATIONS_MAX]],
            is_truncated=len(found) > RELATIONS_MAX,
        )

    def _any_side(self, connection: connection_pb2.Connection, secret_version: str = "") -> Source | Target:
        """A system opened for a look: for reading; a DuckDB file that is not there yet is made, as a run would make it. With the secrets as
        they are now, or at a version, and no others: whoever asks wants to know whether these are good."""
        secrets = self._secrets.at(secret_version) if secret_version else self._secrets
        looked = Credentials(connection, secrets, is_patient=False)
        connector = self._connectors(looked.kind)
        if looked.kind in TARGETS_ONLY:
            return looked.open(connector.open_target)
        try:
            return looked.open(connector.open_source)
        except SourceMissing:
            if looked.kind != "duckdb":
                raise
            return looked.open(connector.open_target)

    def _inspect(self, asked: worker_pb2.InspectWork) -> run_pb2.Inspection:
        work = asked.dataset
        source, target = (
            Credentials(connection, self._secrets, field, is_patient=False)
            for field, connection in ((SOURCE_CONNECTION, work.source), (TARGET_FIELD, work.target))
        )
        specs = []
        for side in (source, target):
            try:
                specs.append(side.spec())
            except PermanentError as error:
                raise InvalidDefinition((Problem(side.field, error.message),)) from error
        found = inspect(
            definitions.inspect_job(asked, *specs),
            self._transforms.over(work, self._opening(source)),
            lambda: target.open(self._connectors(target.kind).open_target),
            self._following.opener(work, source) if definitions.is_followed(work) else None,
        )
        return inspection_message(found)

    def _published_message(self, met: Mapping[str, Outcome]) -> worker_pb2.Published:
        return worker_pb2.Published(
            conflicts={name: outcome.conflicts for name, outcome in met.items() if outcome.conflicts},
            schema_notes={
                name: worker_pb2.SchemaNotes(notes=outcome.schema_notes)
                for name, outcome in met.items()
                if outcome.schema_notes
            },
        )

    def _copy(self, task: worker_pb2.Task, signals: Signals, on_progress: OnProgress) -> worker_pb2.FinishTaskRequest:
        work, pace, monotonic = task.copy.dataset, Pace(), self._means.monotonic
        source, target = (
            Credentials(connection, self._secrets, field, Watch(self._secrets, monotonic))
            for field, connection in ((SOURCE_CONNECTION, work.source), (TARGET_FIELD, work.target))
        )
        open_target = self._opening_target(target)
        snapshot = self._following.snapshot(work, open_target)
        access = LaneAccess(
            source,
            target,
            self._connectors(source.kind).open_source,
            lambda opened: self._following.adopting(opened, snapshot),
            lambda open_raw: self._transforms.over(work, lambda: TimedSource(open_raw(), pace, monotonic)),
        )
        outcome = self._copy_lane(
            definitions.lane_job(task),
            access.open_source,
            open_target,
            signals,
            lambda checkpoint: on_progress(progress(work, checkpoint, pace.seconds, access.versions())),
            self._means,
            access,
        )
        last = progress(work, outcome.checkpoint, secret_versions=access.versions())
        return worker_pb2.FinishTaskRequest(drained=last) if outcome.is_drained else done(copy=last)

    def _probe(self, task: worker_pb2.Task, signals: Signals) -> worker_pb2.Probed:
        work = task.probe.dataset
        target = Credentials(work.target, self._secrets, TARGET_FIELD)
        found = probe(
            probe_job(task),
            self._transforms.over(work, self._opening(self._source_of(work))),
            self._opening_target(target),
            HeldToRate(signals, task.rate),
            self._means,
            size_in(target, self._connectors(target.kind), target.kind not in TARGETS_ONLY),
        )
        return probed_message(found)

    def _verified(self, task: worker_pb2.Task, signals: Signals) -> run_pb2.Verification:
        work = task.verify.dataset
        if not definitions.is_followed(work):
            return self._verify(task.verify, task.fence, signals)
        with self._means.budget.held(CHANGES_BYTES, signals):
            rows = self._following.catch_up_for_good(task, self._target_of([work]), signals)
        job = definitions.verify_job(task.verify)
        with self._means.budget.held(SIDES * job.relation.chunk_bytes, signals):
            found = verify_tail(
                job,
                rows,
                self._transforms.over(work, self._opening(self._source_of(work))),
                self._target_of([work]),
                signals,
                self._means,
            )
        return verification_message(found, work.dataset.verification)

    def _verify(self, work: worker_pb2.VerifyWork, fence: int, signals: Signals) -> run_pb2.Verification:
        job = definitions.verify_job(work, fence)
        with self._means.budget.held(SIDES * job.relation.chunk_bytes, signals):
            found = verify(
                job,
                self._transforms.over(work.dataset, self._opening(self._source_of(work.dataset))),
                self._target_of([work.dataset]),
                signals,
                self._means,
            )
        return verification_message(found, work.dataset.dataset.verification)

    def _target_of(self, works: Iterable[worker_pb2.DatasetWork]) -> Callable[[], Target]:
        """Opens the target that the datasets have in common."""
        return self._opening_target(Credentials(next(iter(works)).target, self._secrets, TARGET_FIELD))

    def _opening_target(self, target: Credentials) -> Callable[[], Target]:
        return lambda: target.open(self._connectors(target.kind).open_target)

    def _opening(self, source: Credentials) -> Callable[[], Source]:
        return lambda: source.open(self._connectors(source.kind).open_source)

    def _source_of(self, work: worker_pb2.DatasetWork) -> Credentials:
        return Credentials(work.source, self._secrets, SOURCE_CONNECTION)


def _stagings(works: Iterable[worker_pb2.DatasetWork]) -> list[Staging]:
    """The datasets' stagings, and after them those of their quarantines."""
    listed = list(works)
    apart = [found.staging for work in listed if (found := definitions.quarantine(work)) is not None]
    return [*(definitions.staging(work) for work in listed), *apart]
