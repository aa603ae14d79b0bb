"""Bitbucket Cloud's REST API, version 2.0: build statuses of commits and comments of pull requests."""

from typing import Any

from tests.git_hosts.server import Answer, Call, HostServer, Text, page_of

REPOSITORY = ("acme", "definitions")
STATUS = {
    "key": Text(40),
    "state": Text(words=("INPROGRESS", "SUCCESSFUL", "FAILED", "STOPPED")),
    "url": Text(begins="http"),
    "name": Text(255, is_required=False),
    "description": Text(255, is_required=False),
    "refname": Text(is_required=False),
}
RAW_CHARACTERS_MAX = 32_768


class BitbucketServer(HostServer):
    """One repository."""

    base = "/2.0"

    def __init__(self) -> None:
        super().__init__()
        self.commits: set[str] = set()
        self.statuses: dict[str, dict[str, dict[str, Any]]] = {}
        self.comments: dict[int, list[dict[str, Any]]] = {}
        self.others: set[int] = set()

    def route(self, call: Call) -> Answer:
        if call.segments[:3] != ("repositories", *REPOSITORY):
            return _missing("You may not have access to this repository or it no longer exists in this workspace.")
        match call.method, call.segments[3:]:
            case "GET", ("commit", sha, "statuses", "build", key):
                found = self.statuses.get(sha, {}).get(key)
                return Answer(200, found) if found else _missing("Build status not found")
            case "POST", ("commit", sha, "statuses", "build"):
                return self._set(call, sha)
            case "GET", ("pullrequests", number, "comments"):
                known = self.comments.get(int(number), [])
                page = page_of(known, call.query, "pagelen", 10)
                return Answer(200, {"size": len(known), "page": int(call.query.get("page", 1)), "values": page})
            case "POST", ("pullrequests", number, "comments"):
                return self._comment(call, int(number))
            case "PUT", ("pullrequests", number, "comments", known):
                return self._edit(call, int(number), int(known))
        return _missing("Resource not found")

    def unauthorized(self) -> Answer:
        return Answer(
            401, {"type": "error", "error": {"message": "Token is invalid or not supported for this endpoint."}}
        )

    def add_comment(self, number: int, raw: str, *, is_others: bool = False) -> int:
        """Somebody says something."""
        known = 1 + sum(len(each) for each in self.comments.values())
        self.comments.setdefault(number, []).append({"id": known, "content": {"raw": raw}, "deleted": False})
        self.others |= {known} if is_others else set()
        return known

    def _set(self, call: Call, sha: str) -> Answer:
        if said := self.checked(call, STATUS):
            return _bad(said)
        if sha not in self.commits:
            return _missing("Commit not found")
        self.statuses.setdefault(sha, {})[call.body["key"]] = call.body
        return Answer(201, call.body)

    def _raw(self, call: Call) -> str | None:
        content = call.body.get("content") if isinstance(call.body, dict) and set(call.body) == {"content"} else None
        raw = content.get("raw") if isinstance(content, dict) and set(content) == {"raw"} else None
        if not isinstance(raw, str) or len(raw) > RAW_CHARACTERS_MAX:
            self.violations.append(f"{call.method} comment: content.raw is no text of at most {RAW_CHARACTERS_MAX}")
            return None
        return raw

    def _comment(self, call: Call, number: int) -> Answer:
        if (raw := self._raw(call)) is None:
            return _bad("content.raw")
        self.add_comment(number, raw)
        return Answer(201, self.comments[number][-1])

    def _edit(self, call: Call, number: int, known: int) -> Answer:
        if (raw := self._raw(call)) is None:
            return _bad("content.raw")
        if known in self.others:
            return Answer(403, {"type": "error", "error": {"message": "You do not have access to edit this comment."}})
        for comment in self.comments.get(number, []):
            if comment["id"] == known:
                comment["content"]["raw"] = raw
                return Answer(200, comment)
        return _missing("Comment not found")


def _missing(said: str) -> Answer:
    return Answer(404, {"type": "error", "error": {"message": said}})


def _bad(said: str) -> Answer:
    return Answer(400, {"type": "error", "error": {"message": "Bad request", "fields": {"body": [said]}}})
