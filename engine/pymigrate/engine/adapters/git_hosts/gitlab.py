"""GitLab: statuses of commits, and notes of merge requests."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from pymigrate.engine.adapters.git_hosts.calling import Comment, HostApi, HostClient, HostRefusal, cut, leave_one
from pymigrate.engine.domain.errors import GitHostRefused
from pymigrate.engine.ports.git_hosts import CommitStatus, HostAccount, StatusState

API = "https://gitlab.com/api/v4"
STATES = {
    StatusState.PENDING: "pending",
    StatusState.SUCCESS: "success",
    StatusState.FAILURE: "failed",
    StatusState.ERROR: "failed",
}
DESCRIPTION_CHARACTERS_MAX = 255
BODY_CHARACTERS_MAX = 1_000_000
ALREADY = "cannot transition status"  # what it says of a status that is in that state


async def tell_commit(client: HostClient, account: HostAccount, status: CommitStatus) -> None:
    """Sets a status unless the newest one of its name says the same."""
    api, project = HostApi(client, account, API, {}), _project_path(account.repository)
    wanted = {"state": STATES[status.state], "description": cut(status.description, DESCRIPTION_CHARACTERS_MAX)}
    path = f"/projects/{project}/repository/commits/{status.commit}/statuses"
    known = await api.get(path, name=status.context, per_page=100)
    own = [each for each in known if each.get("name") == status.context] if isinstance(known, list) else []
    newest: Mapping[str, Any] = max(own, key=lambda each: int(each.get("id") or 0), default={})
    if newest.get("status") == wanted["state"] and newest.get("description") == wanted["description"]:
        return
    try:
        await api.send("POST", f"/projects/{project}/statuses/{status.commit}", {**wanted, "name": status.context})
    except HostRefusal as error:
        if ALREADY not in error.said.lower():
            raise


async def tell_pull_request(client: HostClient, account: HostAccount, number: int, marker: str, text: str) -> None:
    """Writes a note, or changes the one that there is."""
    api = HostApi(client, account, API, {})
    path = f"/projects/{_project_path(account.repository)}/merge_requests/{number}/notes"
    body = f"{marker}\n{text}"[:BODY_CHARACTERS_MAX]
    notes = [each async for each in api.pages(path, "per_page") if not each.get("system")]
    await leave_one(
        [Comment(str(each["id"]), each.get("body") or "") for each in sorted(notes, key=lambda each: int(each["id"]))],
        marker,
        body,
        lambda known: api.send("PUT", f"{path}/{known}", {"body": body}),
        lambda: api.send("POST", path, {"body": body}),
    )


def _project_path(repository: str) -> str:
    """The project's whole path as one part of a path."""
    parts = repository.split("/")
    if len(parts) < 2 or any(part in {"", ".", ".."} for part in parts):
        raise GitHostRefused(f"`{repository}` is no project: write its whole path, such as group/subgroup/name")
    return quote(repository, safe="")
