"""Which events at a host concern a source: pushes to what it applies, and pull requests to its branch."""

from pymigrate.engine.application.gitops.webhook_events import HEADS, TAGS, PullRequest, Push
from pymigrate.v1 import git_source_pb2 as pb


def concerns(source: pb.GitSource, push: Push) -> bool:
    """Whether a push may lead to another commit than the one that a source has."""
    if not _is_of(source, push.repository):
        return False
    match source.WhichOneof("reference"):
        case "branch":
            return push.reference == f"{HEADS}{source.branch}"
        case "tag":
            return push.reference == f"{TAGS}{source.tag}"
        case "commit":
            return push.commit == source.commit
        case _:
            return push.reference.startswith(HEADS) and push.default_branch in {"", push.reference.removeprefix(HEADS)}


def is_asked_of(source: pb.GitSource, asked: PullRequest) -> bool:
    """Whether a pull request is to the branch that a source applies, and told of."""
    if not source.host.reports_pull_requests or not _is_of(source, asked.repository):
        return False
    match source.WhichOneof("reference"):
        case "branch":
            return asked.target_branch == source.branch
        case None:
            return asked.default_branch in {"", asked.target_branch}
        case _:
            return False


def _is_of(source: pb.GitSource, repository: str) -> bool:
    """Whether it is the repository that the source names, if it does. Hosts do not tell names apart by their case."""
    return not source.host.repository or source.host.repository.casefold() == repository.casefold()
