"""Every error that PyMigrate raises on purpose, as one tree.

PyMigrateError
  PermanentError                     a person must act
    InvalidDefinition(problems)      what was declared is wrong
    NotFound(name)
    AlreadyExists(name)
    FailedPrecondition(violation)    the state does not allow it
    NotOwned(owner)                  another side declares the object
      Inherited(layer)               another environment does
    StaleWrite(name)                 somebody else wrote in between
    IllegalTransition                a state machine was asked for a step that it does not have
    Unauthenticated
    NotPermitted                     who calls is known, and may not do this
    DataRefused(dataset, position)   a row or type that can't be carried without loss
    VerificationFailed               both sides differ
    SourceChanged                    the source is not what was frozen
    FenceLost                        another host has the lane
    MergeConflict                    a row's key is there already, with other content
    CannotUndo                       what was published is not what is there now
    SecretMissing                    a reference leads to no secret
    SecretRefused                    a secret backend does not let its reader in, or not to this secret
    StepRefused                      what was called outside databases said no
    RepositoryRefused(reason)        a repository, or what it holds, is not taken
    GitHostRefused                   whoever hosts a repository does not take what it is told
  TemporaryError(retry_after_seconds)
    SystemUnavailable(system)        a source or target is away
    CredentialsRefused               a system does not take the credentials that it was given
    SecretsUnavailable               a secret backend is away, sealed, or asks for patience
    EngineUnavailable
      HostsUnavailable(reason)       no worker host comes, and it is known why
    StepUnavailable                  what is called outside databases does not answer; whether it was done is not known
    RepositoryUnavailable            a repository does not answer
    GitHostUnavailable               whoever hosts a repository does not answer, or asks for patience
    StoreUnavailable                 the engine's own store can't be written or read right now
    TooManyWatchers
    TooManyCalls                     a principal has as many calls under way, or makes them as often, as it may
    CallTookTooLong                  a call that nobody gave a deadline was ended
"""

from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a field of a definition. `field` is a dotted path such as `phases.flights.datasets.flights.key`. `is_missing`:
    it names an object that is not there, and is mended by declaring that."""

    field: str
    description: str
    is_missing: bool = dataclass_field(default=False, compare=False)

    def at(self, field: str) -> "Problem":
        """The same of another field."""
        return replace(self, field=field)


class PyMigrateError(Exception):
    """The root. `reason` is a constant in capitals that crosses every edge unchanged."""

    reason = "INTERNAL"
    is_temporary = False

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class PermanentError(PyMigrateError):
    """Trying again does not help; a person must act."""


class TemporaryError(PyMigrateError):
    """Trying again may help, after `retry_after_seconds` at the earliest."""

    is_temporary = True

    def __init__(self, message: str, *, field: str = "", retry_after_seconds: float = 1.0) -> None:
        super().__init__(message, field=field)
        self.retry_after_seconds = retry_after_seconds


class InvalidDefinition(PermanentError):
    """What was declared is wrong; `problems` has every problem found, in order."""

    reason = "INVALID_DEFINITION"

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        if not problems:
            raise ValueError("InvalidDefinition needs at least one problem")
        text = "; ".join(f"{problem.field}: {problem.description}" for problem in problems)
        super().__init__(text, field=problems[0].field)
        self.problems = problems


class NotFound(PermanentError):
    """No object has the name."""

    reason = "NOT_FOUND"


class AlreadyExists(PermanentError):
    """An object with the name exists."""

    reason = "ALREADY_EXISTS"


class FailedPrecondition(PermanentError):
    """The object's state does not allow it."""

    reason = "FAILED_PRECONDITION"


class NotOwned(FailedPrecondition):
    """Another side declares the object; only that side changes it."""

    reason = "NOT_OWNED"

    def __init__(self, name: str, owner: str, caller: str) -> None:
        super().__init__(
            f"{name} is managed by {owner}, and {caller} may not change it: change it there, or delete it there first"
        )
        self.owner = owner


class Inherited(NotOwned):
    """An environment has the object from another one, its layer; only that declares it."""

    def __init__(self, name: str, layer: str) -> None:
        _, environment, key = name.split("/", 2)
        FailedPrecondition.__init__(
            self,
            f"{name} is inherited from `{layer}`: change environments/{layer}/{key}, or say in environments/{environment} what"
            f" is different, by overrides of `{key}`",
        )
        self.owner = layer


class StaleWrite(PermanentError):
    """Somebody else wrote in between; read again and decide again."""

    reason = "STALE_WRITE"


class IllegalTransition(PermanentError):
    """A state machine was asked for a step that it does not have."""

    reason = "ILLEGAL_TRANSITION"


class Unauthenticated(PermanentError):
    """The caller did not say who it is, or not credibly."""

    reason = "UNAUTHENTICATED"


class NotPermitted(PermanentError):
    """Who calls is known, and may not do this."""

    reason = "PERMISSION_DENIED"


class DataRefused(PermanentError):
    """A row, or a type, that can't be carried without loss. The message names relation, column and row."""

    reason = "DATA_REFUSED"


class VerificationFailed(PermanentError):
    """Both sides were compared and differ; nothing is published."""

    reason = "VERIFICATION_FAILED"


class SourceChanged(PermanentError):
    """The source is no longer what the run froze."""

    reason = "SOURCE_CHANGED"


class SourceMissing(PermanentError):
    """The source relation, file or database is not there."""

    reason = "SOURCE_MISSING"


class TargetOccupied(PermanentError):
    """The target already holds rows and the dataset does not ask to replace them."""

    reason = "TARGET_OCCUPIED"


class FenceLost(PermanentError):
    """Another host has the lane; this one must stop without committing."""

    reason = "FENCE_LOST"


class MergeConflict(PermanentError):
    """Rows have keys that the target holds with other content, and the policy is to fail. Nothing was merged."""

    reason = "MERGE_CONFLICT"


class CannotUndo(PermanentError):
    """A publication can't be undone; nothing was touched."""

    reason = "CANNOT_UNDO"


class SecretMissing(PermanentError):
    """A reference leads to no secret. The message shows the reference, never a value."""

    reason = "SECRET_MISSING"


class SystemUnavailable(TemporaryError):
    """A source or target does not answer, or is held by another process."""

    reason = "SYSTEM_UNAVAILABLE"


class SecretRefused(PermanentError):
    """A secret backend does not let its reader in, or not to this secret. The message shows the reference and never a value."""

    reason = "SECRET_REFUSED"


class CredentialsRefused(TemporaryError):
    """A system does not take the credentials that it was given. They may be in rotation: what waits for it goes on once they work."""

    reason = "CREDENTIALS_REFUSED"


class SecretsUnavailable(TemporaryError):
    """A secret backend does not answer, is sealed or asks for patience."""

    reason = "SECRETS_UNAVAILABLE"


class StepRefused(PermanentError):
    """What was called outside databases said no."""

    reason = "STEP_REFUSED"


class StepUnavailable(TemporaryError):
    """What is called outside databases does not answer, or can't just now. Whether it was done is not known."""

    reason = "STEP_UNAVAILABLE"


class EngineUnavailable(TemporaryError):
    """The engine does not answer."""

    reason = "ENGINE_UNAVAILABLE"


class HostsUnavailable(EngineUnavailable):
    """No worker host comes that could do what is asked. `reason` is a word of `docs/kubernetes_jobs.md`, such as QUOTA_EXCEEDED."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class StoreUnavailable(TemporaryError):
    """The engine's own store can't be written or read right now: its disk is full, fails, or is held by another process."""

    reason = "STORE_UNAVAILABLE"


class TooManyWatchers(TemporaryError):
    """As many watch as are served at once."""

    reason = "TOO_MANY_WATCHERS"


class TooManyCalls(TemporaryError):
    """A principal has as many calls or streams under way as it may, or calls more often than it may."""

    reason = "TOO_MANY_CALLS"


class CallTookTooLong(TemporaryError):
    """A call took longer than any may; what it did until then is done or was taken back whole."""

    reason = "CALL_TOOK_TOO_LONG"


class EngineRefused(PermanentError):
    """What a worker host reported in words of its own; `reason` is the host's."""

    def __init__(self, reason: str, message: str, *, field: str = "") -> None:
        super().__init__(message, field=field)
        self.reason = reason


_PLAIN: tuple[type[PermanentError], ...] = (
    NotFound,
    FailedPrecondition,
    DataRefused,
    VerificationFailed,
    SourceChanged,
    SourceMissing,
    TargetOccupied,
    FenceLost,
    CannotUndo,
    MergeConflict,
    SecretMissing,
    SecretRefused,
    StepRefused,
)
_TEMPORARY: tuple[type[TemporaryError], ...] = (CredentialsRefused, SecretsUnavailable)


def from_reason(reason: str, message: str, *, field: str = "", is_temporary: bool = False) -> PyMigrateError:
    """The error that a reason names, for one that crossed a process boundary."""
    if is_temporary:
        kinds = (kind for kind in _TEMPORARY if kind.reason == reason)
        return next(kinds, SystemUnavailable)(message, field=field)
    if reason == InvalidDefinition.reason:
        return InvalidDefinition((Problem(field or "definition", message),))
    for kind in _PLAIN:
        if kind.reason == reason:
            return kind(message, field=field)
    return EngineRefused(reason, message, field=field)


class RepositoryRefused(PermanentError):
    """A repository, or what it holds, is not taken. `reason` is one of the words of `docs/gitops.md`, such as REFERENCE_MISSING; `path` and
    `line` say where in it, as far as it is known."""

    def __init__(self, reason: str, message: str, *, path: str = "", line: int = 0) -> None:
        super().__init__(message)
        self.reason = reason
        self.path = path
        self.line = line


class RepositoryUnavailable(TemporaryError):
    """A repository does not answer."""

    reason = "REPOSITORY_UNAVAILABLE"


class GitHostRefused(PermanentError):
    """Whoever hosts a repository does not take what it is told."""

    reason = "GIT_HOST_REFUSED"


class GitHostUnavailable(TemporaryError):
    """Whoever hosts a repository does not answer, or asks for patience."""

    reason = "GIT_HOST_UNAVAILABLE"
