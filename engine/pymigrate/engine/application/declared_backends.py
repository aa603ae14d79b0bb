"""The secret backends of environments: which there are, which a task or a message needs, and which references lead to none."""

from collections.abc import Iterator

from google.protobuf.message import Message

from pymigrate.engine.application.references import needed_backends, undeclared_problems, with_their_own
from pymigrate.engine.application.remembering import remembered
from pymigrate.engine.domain.errors import InvalidDefinition, Problem
from pymigrate.engine.domain.names import environment_of, last_segment
from pymigrate.engine.ports.secrets import WELL_KNOWN_SCHEMES
from pymigrate.engine.ports.store import Store, Unit
from pymigrate.v1 import connection_pb2, secret_backend_pb2, worker_pb2

COLLECTION = "secretBackends"
BACKENDS_MAX = 1_000
_MARK = b"://"
"""What every reference holds."""


def declared_backends(unit: Unit, environment: str) -> dict[str, secret_backend_pb2.SecretBackend]:
    """An environment's backends by their schemes, without what is there for people."""
    found = {}
    for resource in unit.resources.list(COLLECTION, environment, "", BACKENDS_MAX):
        backend = secret_backend_pb2.SecretBackend.FromString(resource.resolved or resource.body)
        backend.name = backend.description = ""
        backend.labels.clear()
        found[last_segment(resource.name)] = backend
    return found


def reference_problems(unit: Unit, environment: str, message: Message) -> Iterator[Problem]:
    """Problems of a definition that is to be stored: a scheme that everybody knows may be declared later, any other must be there, since a
    secret itself may look so."""
    if (
        _MARK not in message.SerializeToString()
    ):  # most hold none, and need neither a look at every field nor into the store
        return
    declared = remembered(unit, "declared", COLLECTION, environment, lambda: declared_backends(unit, environment))
    yield from undeclared_problems(message, declared, known=WELL_KNOWN_SCHEMES)


class TaskBackends:
    """Gives tasks the backends that their references lead to."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def require(self, environment: str, message: Message, prefix: str = "") -> None:
        """Raises InvalidDefinition where a reference of a message leads to no backend of its environment."""
        declared = await self._store.read(lambda unit: declared_backends(unit, environment))
        if problems := tuple(undeclared_problems(message, declared, prefix=prefix)):
            raise InvalidDefinition(problems)

    async def brought(self, environment: str, scheme: str, reference: str) -> worker_pb2.Task:
        """A look at one backend, which brings it along with what its own references lead to."""
        task = worker_pb2.Task(test_secrets=worker_pb2.TestSecretsWork(scheme=scheme, reference=reference))
        declared = await self._store.read(lambda unit: declared_backends(unit, environment))
        for each, backend in with_their_own({scheme: declared[scheme]}, declared).items():
            task.secret_backends[each].CopyFrom(backend)
        return task

    async def bring(self, task: worker_pb2.Task) -> None:
        """Adds to a task what it needs, as it is declared now: how a backend is reached may change under a run."""
        place = _place(task)
        if place and _MARK in task.SerializeToString():  # most need none, and hosts wait for each claim of many
            declared = await self._store.read(lambda unit: declared_backends(unit, environment_of(place)))
            task.ClearField("secret_backends")
            for scheme, backend in needed_backends(task, declared).items():
                task.secret_backends[scheme].CopyFrom(backend)


def _place(task: worker_pb2.Task) -> str:
    """A resource name in the environment that a task works in; empty for one that says itself which backends it needs."""
    match task.WhichOneof("work"):
        case "test" | "discover" as work:
            connection: connection_pb2.Connection = getattr(task, work).connection
            return connection.name
        case "prepare" | "publish" | "rollback" | "seal" as work:
            return next((each.target.name for each in getattr(task, work).datasets), "")
        case "step":
            return task.step.key
        case "test_secrets" | None:
            return ""
        case work:
            dataset: worker_pb2.DatasetWork = getattr(task, work).dataset
            return dataset.source.name
