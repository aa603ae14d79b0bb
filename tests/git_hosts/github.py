"""GitHub's REST API, version 2022-11-28: commit statuses and comments of issues."""

from typing import Any

from tests.git_hosts.server import Answer, Call, HostServer, Text, page_of

REPOSITORY = ("acme", "definitions")
STATUS = {
    "state": Text(words=("error", "failure", "pending", "success")),
    "context": Text(is_required=False),
    "description": Text(140, is_required=False),
    "target_url": Text(is_required=False, begins="http"),
}
COMMENT = {"body": Text(65_536)}


class GitHubServer(HostServer):
    """One repository. `commits` are those that are there; statuses are kept by commit, the newest last; comments by number."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: set[str] = set()
        self.statuses: dict[str, list[dict[str, Any]]] = {}
        self.comments: dict[int, list[dict[str, Any]]] = {}
        self.others: set[int] = set()  # comments of people who did not make this token

    def route(self, call: Call) -> Answer:
        if call.headers.get("accept") != "application/vnd.github+json" or "x-github-api-version" not in call.headers:
            self.violations.append("asked without GitHub's media type or version")
        match call.method, call.segments:
            case "GET", ("repos", *repository, "commits", sha, "statuses") if tuple(repository) == REPOSITORY:
                newest = self.statuses.get(sha, [])[::-1]
                return Answer(200, page_of(newest, call.query, "per_page", 30))
            case "POST", ("repos", *repository, "statuses", sha) if tuple(repository) == REPOSITORY:
                return self._set(call, sha)
            case "GET", ("repos", *repository, "issues", number, "comments") if tuple(repository) == REPOSITORY:
                return Answer(200, page_of(self.comments.get(int(number), []), call.query, "per_page", 30))
            case "POST", ("repos", *repository, "issues", number, "comments") if tuple(repository) == REPOSITORY:
                return self._comment(call, int(number))
            case "PATCH", ("repos", *repository, "issues", "comments", known) if tuple(repository) == REPOSITORY:
                return self._edit(call, int(known))
        return Answer(404, {"message": "Not Found", "status": "404"})

    def unauthorized(self) -> Answer:
        return Answer(401, {"message": "Bad credentials", "status": "401"})

    def add_comment(self, number: int, body: str, *, is_others: bool = False) -> int:
        """Somebody says something."""
        known = 1 + sum(len(each) for each in self.comments.values())
        self.comments.setdefault(number, []).append({"id": known, "body": body, "user": {"login": "ada"}})
        self.others |= {known} if is_others else set()
        return known

    def _set(self, call: Call, sha: str) -> Answer:
        if said := self.checked(call, STATUS):
            return Answer(422, {"message": f"Validation Failed: {said}"})
        if sha not in self.commits:
            return Answer(422, {"message": f"No commit found for SHA: {sha}"})
        made = {"id": len(self.calls), **call.body}
        self.statuses.setdefault(sha, []).append(made)
        return Answer(201, made)

    def _comment(self, call: Call, number: int) -> Answer:
        if said := self.checked(call, COMMENT):
            return Answer(422, {"message": f"Validation Failed: {said}"})
        self.add_comment(number, call.body["body"])
        return Answer(201, self.comments[number][-1])

    def _edit(self, call: Call, known: int) -> Answer:
        if said := self.checked(call, COMMENT):
            return Answer(422, {"message": f"Validation Failed: {said}"})
        if known in self.others:
            return Answer(403, {"message": "Must have admin rights to Repository."})
        for comment in (each for comments in self.comments.values() for each in comments):
            if comment["id"] == known:
                comment["body"] = call.body["body"]
                return Answer(200, comment)
        return Answer(404, {"message": "Not Found"})
