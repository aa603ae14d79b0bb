"""pymigrate_git_source."""

from pymigrate.provider.declared import Declaration, DeclaredResource
from pymigrate.provider.formats import REFERENCE, WITHOUT_PASSWORD
from pymigrate.v1 import git_source_pb2


class GitSourceResource(DeclaredResource):
    """A repository whose definitions are what is stored. Where it stands is told by the engine, and is no part of the state: it changes
    with every commit."""

    declaration = Declaration(
        "git_source",
        "GitSourceService",
        git_source_pb2,
        required=("url", "https.token", "ssh.private_key", "ssh.known_hosts"),
        leave_out=("status",),
        checks={
            "url": WITHOUT_PASSWORD,
            "https.token": REFERENCE,
            "ssh.private_key": REFERENCE,
            "host.token": REFERENCE,
        },
    )
