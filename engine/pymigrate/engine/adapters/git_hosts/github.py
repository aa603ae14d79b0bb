"""GitHub, and GitHub Enterprise: statuses of commits, and comments of issues, which pull requests are. A token that may write both is
enough; check runs would ask for an app."""

from pymigrate.engine.adapters.git_hosts.calling import Comment, HostApi, HostClient, cut, leave_one, repository_path
from pymigrate.engine.ports.git_hosts import CommitStatus, HostAccount

API = "https://api.github.com"
HEADERS = {"accept": "application/vnd.github+json", "x-github-api-version": "2022-11-28"}
DESCRIPTION_CHARACTERS_MAX = 140
BODY_CHARACTERS_MAX = 65_536


async def tell_commit(client: HostClient, account: HostAccount, status: CommitStatus) -> None:
    """Sets a status unless the newest one of its context says the same."""
    api, repository = HostApi(client, account, API, HEADERS), repository_path(account.repository)
    wanted = {
        "state": status.state.value,
        "context": status.context,
        "description": cut(status.description, DESCRIPTION_CHARACTERS_MAX),
    }
    known = await api.get(f"/repos/{repository}/commits/{status.commit}/statuses", per_page=100)
    own = [each for each in known if each.get("context") == status.context] if isinstance(known, list) else []
    if own and all(own[0].get(name) == value for name, value in wanted.items()):
        return
    await api.send("POST", f"/repos/{repository}/statuses/{status.commit}", wanted)


async def tell_pull_request(client: HostClient, account: HostAccount, number: int, marker: str, text: str) -> None:
    """Comments, or changes the comment that there is."""
    api, repository = HostApi(client, account, API, HEADERS), repository_path(account.repository)
    body = f"{marker}\n{text}"[:BODY_CHARACTERS_MAX]
    comments = f"/repos/{repository}/issues/{number}/comments"
    await leave_one(
        [Comment(str(each["id"]), each.get("body") or "") async for each in api.pages(comments, "per_page")],
        marker,
        body,
        lambda known: api.send("PATCH", f"/repos/{repository}/issues/comments/{known}", {"body": body}),
        lambda: api.send("POST", comments, {"body": body}),
    )
