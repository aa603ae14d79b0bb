"""The kind of declared secret backends: its checks, and who still refers to one."""

from collections.abc import Iterator

from google.protobuf.message import Message

from pymigrate.engine.application.declared_backends import COLLECTION
from pymigrate.engine.application.gitops.git_source_kinds import sources_in
from pymigrate.engine.application.kind import Kind
from pymigrate.engine.application.kinds import CONNECTIONS, PHASES, UNFINISHED, children
from pymigrate.engine.application.notification_kinds import NOTIFICATION_CHANNELS
from pymigrate.engine.application.references import references_in
from pymigrate.engine.application.secret_backend_definitions import secret_backend_problems
from pymigrate.engine.domain.errors import FailedPrecondition, Problem
from pymigrate.engine.domain.names import environment_of, last_segment
from pymigrate.engine.ports.secrets import OWN_SCHEMES
from pymigrate.engine.ports.store import Unit
from pymigrate.v1 import run_pb2, secret_backend_pb2


def _check(unit: Unit, backend: secret_backend_pb2.SecretBackend) -> Iterator[Problem]:
    del unit
    return secret_backend_problems(backend)


def _free(unit: Unit, backend: secret_backend_pb2.SecretBackend) -> None:
    """`env` and `file` are there without being declared, so that nothing breaks without them."""
    scheme, environment = last_segment(backend.name), environment_of(backend.name)
    if scheme in OWN_SCHEMES:
        return
    for name, message in _definitions(unit, environment):
        if any(ref.scheme == scheme for _, ref, _ in references_in(message, {scheme})):
            raise FailedPrecondition(f"{backend.name} is needed by {name}: change that first")
    for run in unit.runs.names_in(UNFINISHED):
        if environment_of(run) == environment:
            revision = run_pb2.PlanRevision.FromString(unit.runs.revision(run) or b"")
            if any(ref.scheme == scheme for _, ref, _ in references_in(revision, {scheme})):
                raise FailedPrecondition(f"{backend.name} is in use by {run}: wait for its end, or cancel it")


def _definitions(unit: Unit, environment: str) -> Iterator[tuple[str, Message]]:
    """Everything that may refer to a secret."""
    for kind in (CONNECTIONS, NOTIFICATION_CHANNELS):
        for found in children(unit, kind.collection, environment):
            yield found.name, kind.held(found)
    for plan in children(unit, "plans", environment):
        for found in children(unit, "phases", plan.name):
            yield found.name, PHASES.held(found)
    yield from ((each.name, each) for each in sources_in(unit) if each.environment == last_segment(environment))


SECRET_BACKENDS = Kind(COLLECTION, secret_backend_pb2.SecretBackend, _check, _free)
