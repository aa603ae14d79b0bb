"""Bitbucket Cloud: build statuses of commits, and comments of pull requests."""

import hashlib

from pymigrate.engine.adapters.git_hosts.calling import Comment, HostApi, HostClient, cut, leave_one, repository_path
from pymigrate.engine.ports.git_hosts import CommitStatus, HostAccount, StatusState

API = "https://api.bitbucket.org/2.0"
PAGES = "https://bitbucket.org"
STATES = {
    StatusState.PENDING: "INPROGRESS",
    StatusState.SUCCESS: "SUCCESSFUL",
    StatusState.FAILURE: "FAILED",
    StatusState.ERROR: "FAILED",
}
KEY_CHARACTERS_MAX = 40
DESCRIPTION_CHARACTERS_MAX = 255
BODY_CHARACTERS_MAX = 32_768


async def tell_commit(client: HostClient, account: HostAccount, status: CommitStatus) -> None:
    """Sets a status unless the one of its key says the same."""
    api, repository = HostApi(client, account, API, {}), repository_path(account.repository)
    key = _key(status.context)
    wanted = {
        "key": key,
        "state": STATES[status.state],
        "name": status.context,
        "description": cut(status.description, DESCRIPTION_CHARACTERS_MAX),
        "url": f"{PAGES}/{repository}/commits/{status.commit}",  # it must lead somewhere
    }
    path = f"/repositories/{repository}/commit/{status.commit}/statuses/build"
    known = await api.find(f"{path}/{key}")
    if isinstance(known, dict) and all(known.get(name) == wanted[name] for name in ("state", "description")):
        return
    await api.send("POST", path, wanted)


async def tell_pull_request(client: HostClient, account: HostAccount, number: int, marker: str, text: str) -> None:
    """Comments, or changes the comment that there is. Its Markdown shows what is HTML, so the marker is a definition that nothing refers
    to."""
    api = HostApi(client, account, API, {})
    path = f"/repositories/{repository_path(account.repository)}/pullrequests/{number}/comments"
    hidden = f"[//]: # ({marker.removeprefix('<!--').removesuffix('-->').strip()})"
    raw = f"{hidden}\n\n{text}"[:BODY_CHARACTERS_MAX]
    said = {"content": {"raw": raw}}
    comments = [each async for each in api.pages(path, "pagelen", "values") if not each.get("deleted")]
    await leave_one(
        [Comment(str(each["id"]), (each.get("content") or {}).get("raw") or "") for each in comments],
        hidden,
        raw,
        lambda known: api.send("PUT", f"{path}/{known}", said),
        lambda: api.send("POST", path, said),
    )


def _key(context: str) -> str:
    """What a status is known by: the context, or its digest where that is too long. It is a part of a path, and so has no slash."""
    plain = context.replace("/", "-")
    return (
        plain if len(plain) <= KEY_CHARACTERS_MAX else hashlib.sha256(context.encode()).hexdigest()[:KEY_CHARACTERS_MAX]
    )
