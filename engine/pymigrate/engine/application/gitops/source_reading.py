"""What a commit says: which one is meant, who signed it, and what the files in its folder declare. Only files are read that were not read
before."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from pymigrate.engine.application.gitops.aside import Aside, on_a_thread
from pymigrate.engine.application.gitops.conditions import ConditionType, Findings
from pymigrate.engine.application.gitops.definition import DefinitionsRead
from pymigrate.engine.application.gitops.definition_cache import DefinitionCache
from pymigrate.engine.application.gitops.envelopes import read_definitions
from pymigrate.engine.application.gitops.source_secrets import SourceSecrets
from pymigrate.engine.domain.errors import CredentialsRefused, PyMigrateError, RepositoryRefused
from pymigrate.engine.domain.git_names import commit_problem
from pymigrate.engine.ports.repository import (
    Commit,
    Reference,
    ReferenceKind,
    Remote,
    Repositories,
    Repository,
    Signers,
)
from pymigrate.v1 import definition_pb2, git_source_pb2

NOT_PROMOTED = "NOT_PROMOTED"
INVALID = "DEFINITIONS_INVALID"


@dataclass(frozen=True, slots=True)
class Target:
    """A commit that is to be applied, and the one that its branch leads to, which is another where a file there says which one is meant."""

    head: str
    commit: Commit
    tree: str = ""
    signer: str = ""

    @property
    def sha(self) -> str:
        """The commit's digest."""
        return self.commit.sha


class Stopped(Exception):
    """A pass does not go on. What it has found says why; `target` is the commit that it got to, if any."""

    def __init__(self, error: PyMigrateError, target: Target | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.target = target


class SourceReading:
    """Reads commits of sources."""

    def __init__(
        self,
        repositories: Repositories,
        secrets: SourceSecrets,
        cache: DefinitionCache,
        clean: Callable[[str], str] = str,
        aside: Aside = on_a_thread,
    ) -> None:
        self._repositories = repositories
        self._secrets = secrets
        self._cache = cache
        self._clean = clean
        self._aside = aside

    def repository(self, source: git_source_pb2.GitSource) -> Repository:
        """The copy of a source."""
        return self._repositories.of(source.uid)

    async def drop(self, uid: str) -> None:
        """Deletes a copy."""
        await self._repositories.drop(uid)

    async def head(
        self,
        source: git_source_pb2.GitSource,
        findings: Findings,
        reference: Reference | None = None,
        *,
        is_pushed: bool = False,
    ) -> str:
        """The commit that a reference leads to, which is here from now on. `is_pushed`: it is told to have moved. Raises Stopped."""
        repository, wanted = self.repository(source), reference or reference_of(source)

        async def look(remote: Remote) -> str:
            if is_pushed:
                return await repository.find_pushed(remote, wanted)
            sha = await repository.find(remote, wanted)
            if not await repository.has(sha):
                await repository.fetch(remote, wanted, sha)
            return sha

        with self._telling(findings, ConditionType.AVAILABLE):
            try:
                found = await look(await self._secrets.remote(source))
            except PyMigrateError as error:
                if error.reason != CredentialsRefused.reason or source.WhichOneof("login") is None:
                    raise
                # It may have been rotated since it was read: once more, with what its backend has now.
                found = await look(await self._secrets.remote(source, is_again=True))
        findings.meet(ConditionType.AVAILABLE, "FETCHED", "the repository answers, and what it says is here")
        return found

    async def target(self, source: git_source_pb2.GitSource, head: str, findings: Findings) -> Target:
        """The commit that is meant, with who signed it. Raises Stopped."""
        repository = self.repository(source)
        with self._telling(findings, ConditionType.VALID):
            sha = await self._pinned(source, repository, head)
        with self._telling(findings, ConditionType.AVAILABLE):
            commit = await repository.commit(sha)
        if not source.HasField("signatures"):
            findings.meet(ConditionType.VERIFIED, "NOT_DEMANDED", "no signatures are demanded")
            return Target(head, commit)
        signers = Signers(source.signatures.ssh_allowed_signers, source.signatures.openpgp_public_keys)
        with self._telling(findings, ConditionType.VERIFIED, Target(head, commit)):
            signer = await repository.signer(sha, signers)
        findings.meet(ConditionType.VERIFIED, "SIGNED", f"commit {sha} is signed by {signer}")
        return Target(head, commit, "", signer)

    async def read(self, source: git_source_pb2.GitSource, sha: str, findings: Findings) -> tuple[str, DefinitionsRead]:
        """The digest of the source's folder in a commit, and what the files in it declare, by paths from the root. Raises Stopped."""
        repository = self.repository(source)
        with self._telling(findings, ConditionType.VALID):
            tree = await repository.tree(sha, source.path)
            blobs = {f"{source.path}/{blob.path}" if source.path else blob.path: blob.oid for blob in tree.blobs}
            held = self._cache.held(blobs, source.environment)
            missing = sorted({oid for path, oid in blobs.items() if path not in held})
            content = await repository.read(missing) if missing else {}
            files = [
                definition_pb2.DefinitionFile(path=path, content=b"" if path in held else content[oid])
                for path, oid in blobs.items()
            ]
            reading = partial(read_definitions, files, source.environment, self._cache, blobs, held)
            read = await self._aside(reading) if missing else reading()
        return tree.oid, read

    async def _pinned(self, source: git_source_pb2.GitSource, repository: Repository, head: str) -> str:
        """The commit that the pin file says, which the branch must lead to; without one the branch's own."""
        path = source.promotion.pin_file
        if not path:
            return head
        content = await repository.read_file(head, path)
        if content is None:
            said = f"nothing was promoted so far: commit {head} has no {path}"
            raise RepositoryRefused(
                NOT_PROMOTED, f"{said}; promoting the source (`pymigrate promote`) writes it", path=path
            )
        text = content.decode("ascii", errors="replace").strip()
        if said := commit_problem(text):
            raise RepositoryRefused("PIN_REFUSED", f"{path} {said}", path=path, line=1)
        if text != head and not await repository.is_ancestor(text, head):
            said = f"{path} says commit {text}, which the branch does not lead to"
            raise RepositoryRefused("PIN_REFUSED", f"{said}: promote again", path=path, line=1)
        return text

    @contextmanager
    def _telling(self, findings: Findings, type_: ConditionType, target: Target | None = None) -> Iterator[None]:
        try:
            yield
        except PyMigrateError as error:
            findings.miss(type_, error.reason, self._clean(error.message))
            raise Stopped(error, target) from error


def reference_of(source: git_source_pb2.GitSource) -> Reference:
    """What of its repository a source applies."""
    match source.WhichOneof("reference"):
        case "branch":
            return Reference(ReferenceKind.BRANCH, source.branch)
        case "tag":
            return Reference(ReferenceKind.TAG, source.tag)
        case "commit":
            return Reference(ReferenceKind.COMMIT, source.commit)
        case _:
            return Reference()


def problem_of(error: PyMigrateError, clean: Callable[[str], str] = str) -> definition_pb2.DefinitionProblem:
    """What a repository is refused for, where files of it are told of."""
    path, line = (error.path, error.line) if isinstance(error, RepositoryRefused) else ("", 0)
    return definition_pb2.DefinitionProblem(file=path, line=line, description=clean(error.message), rule="file")
