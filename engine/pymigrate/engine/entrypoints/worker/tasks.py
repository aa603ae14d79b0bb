"""Runs one task, whatever it comes to: with the secrets that it brings along, and its outcome or failure in the contract's words.

What is done for each kind of task is `task_work`.
"""

from collections.abc import Callable

from pymigrate.engine.domain.errors import (
    CredentialsRefused,
    DataRefused,
    PyMigrateError,
    SystemUnavailable,
)
from pymigrate.engine.entrypoints.held_secrets import Readers, held_secrets
from pymigrate.engine.entrypoints.worker.outcomes import (
    SOURCE_FIELD,
    TARGET_FIELD,
    plan_field,
    without_secrets,
)
from pymigrate.engine.entrypoints.worker.task_work import OnProgress, TaskWork
from pymigrate.engine.ports.calls import Calls
from pymigrate.engine.ports.connector import Connector
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.ports.secrets import DeclaredSecrets, RotatingSecrets
from pymigrate.engine.ports.transform import TransformKind
from pymigrate.engine.transfer.attempt import copy_lane
from pymigrate.engine.transfer.lane_job import CopyOutcome
from pymigrate.engine.transfer.means import DEFAULT, Means
from pymigrate.engine.transfer.signals import Drained, LeaseLost, Signals
from pymigrate.engine.transfer.transforms.binding import no_plugin
from pymigrate.v1 import run_pb2, worker_pb2

MESSAGE_CHARACTERS_MAX = 4_000
WORKS_ON_TARGET = frozenset(
    {"capture", "copy", "catch_up", "verify", "prepare", "publish", "rollback", "seal", "probe"}
)


class TaskRunner:
    """Runs tasks, on any thread. `connectors` finds a kind's connector, `plugins` a transform's kind; each is imported when it is first
    asked for. `readers` opens the secret backends that a task brings along. `means` and `copy` are what a simulation puts others in
    place of."""

    def __init__(
        self,
        connectors: Callable[[str], Connector],
        readers: Readers,
        redactor: Redactor,
        calls: Calls,
        means: Means = DEFAULT,
        copy: Callable[..., CopyOutcome] = copy_lane,
        plugins: Callable[[str], TransformKind] = no_plugin,
    ) -> None:
        self._readers = readers
        self._redactor = redactor
        self._parts = (connectors, calls, means, copy, plugins)

    def run(self, task: worker_pb2.Task, signals: Signals, on_progress: OnProgress) -> worker_pb2.FinishTaskRequest:
        """The task's outcome, without host and session. Raises LeaseLost, which nobody waits for, and what is not an error of the
        task but a defect: `failure_of` puts that into words too."""
        try:
            with self._readers(task.secret_backends) as secrets:
                held = held_secrets(task, secrets, task.secret_backends)
                outcome = self.work_of(secrets, held).run(task, signals, on_progress)
        except LeaseLost:
            raise
        except Drained:
            return worker_pb2.FinishTaskRequest(drained=worker_pb2.LaneProgress())
        except PyMigrateError as error:
            outcome = worker_pb2.FinishTaskRequest(failure=self.failure_of(error, task))
        return without_secrets(outcome, self._redactor)

    def work_of(self, backends: DeclaredSecrets, secrets: RotatingSecrets) -> TaskWork:
        """A task that may read these secrets."""
        return TaskWork(backends, secrets, *self._parts)

    def failure_of(self, error: Exception, task: worker_pb2.Task) -> run_pb2.Failure:
        """An error as the contract tells it, without any secret. Fields of a dataset become fields of the plan."""
        known = error if isinstance(error, PyMigrateError) else None
        text = known.message if known else f"the worker host failed with {type(error).__name__}: {error}"
        field = known.field if known else ""
        if (
            isinstance(known, SystemUnavailable | CredentialsRefused)
            and not field
            and task.WhichOneof("work") in WORKS_ON_TARGET
        ):
            field = TARGET_FIELD  # what reads a source says so itself
        if isinstance(known, DataRefused) and not field and task.WhichOneof("work") in {"copy", "probe"}:
            field = SOURCE_FIELD  # whichever side refuses a row, it is the source's
        failure = run_pb2.Failure(
            reason=known.reason if known else PyMigrateError.reason,
            # Cut when it is clean, lest the beginning of a value be left.
            message=self._redactor.clean(text)[:MESSAGE_CHARACTERS_MAX],
            field=plan_field(field, task),
            is_temporary=known is not None and known.is_temporary,
        )
        return without_secrets(failure, self._redactor)
