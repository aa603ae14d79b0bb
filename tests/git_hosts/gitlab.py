"""GitLab's REST API, version 4: statuses of commits and notes of merge requests."""

from typing import Any

from tests.git_hosts.server import Answer, Call, HostServer, Text, page_of

PROJECT = "acme/data/definitions"
STATUS = {
    "state": Text(words=("pending", "running", "success", "failed", "canceled", "skipped")),
    "name": Text(255, is_required=False),
    "context": Text(255, is_required=False),
    "description": Text(255, is_required=False),
    "ref": Text(is_required=False),
    "target_url": Text(255, is_required=False, begins="http"),
}
NOTE = {"body": Text(1_000_000)}


class GitLabServer(HostServer):
    """One project, whose path is one segment."""

    base = "/api/v4"

    def __init__(self) -> None:
        super().__init__()
        self.commits: set[str] = set()
        self.statuses: dict[str, list[dict[str, Any]]] = {}
        self.notes: dict[int, list[dict[str, Any]]] = {}
        self.others: set[int] = set()

    def route(self, call: Call) -> Answer:
        match call.method, call.segments:
            case "GET", ("projects", project, "repository", "commits", sha, "statuses") if project == PROJECT:
                found = [each for each in self.statuses.get(sha, []) if call.query.get("name") in {None, each["name"]}]
                return Answer(200, page_of(found, call.query, "per_page", 20))
            case "POST", ("projects", project, "statuses", sha) if project == PROJECT:
                return self._set(call, sha)
            case "GET", ("projects", project, "merge_requests", number, "notes") if project == PROJECT:
                newest = self.notes.get(int(number), [])[::-1]
                return Answer(200, page_of(newest, call.query, "per_page", 20))
            case "POST", ("projects", project, "merge_requests", number, "notes") if project == PROJECT:
                return self._note(call, int(number))
            case "PUT", ("projects", project, "merge_requests", number, "notes", known) if project == PROJECT:
                return self._edit(call, int(number), int(known))
        return Answer(404, {"message": "404 Project Not Found"})

    def add_note(self, number: int, body: str, *, is_others: bool = False, is_system: bool = False) -> int:
        """Somebody says something."""
        known = 1 + sum(len(each) for each in self.notes.values())
        self.notes.setdefault(number, []).append({"id": known, "body": body, "system": is_system})
        self.others |= {known} if is_others else set()
        return known

    def _set(self, call: Call, sha: str) -> Answer:
        if said := self.checked(call, STATUS):
            return Answer(400, {"message": said})
        if sha not in self.commits:
            return Answer(404, {"message": "404 Commit Not Found"})
        name, state = call.body.get("name", "default"), call.body["state"]
        under_way = [
            each for each in self.statuses.get(sha, []) if each["name"] == name and each["status"] == "pending"
        ]
        if under_way and state == "pending":
            said = 'Cannot transition status via :enqueue from :pending (Reason(s): Status cannot transition via "enqueue")'
            return Answer(400, {"message": said})
        made = {
            "id": len(self.calls),
            "sha": sha,
            "name": name,
            "status": state,
            "description": call.body.get("description"),
        }
        if under_way:
            under_way[-1].update(made)
        else:
            self.statuses.setdefault(sha, []).append(made)
        return Answer(201, made)

    def _note(self, call: Call, number: int) -> Answer:
        if said := self.checked(call, NOTE):
            return Answer(400, {"message": {"note": [said]}})
        self.add_note(number, call.body["body"])
        return Answer(201, self.notes[number][-1])

    def _edit(self, call: Call, number: int, known: int) -> Answer:
        if said := self.checked(call, NOTE):
            return Answer(400, {"message": {"note": [said]}})
        if known in self.others:
            return Answer(403, {"message": "403 Forbidden"})
        for note in self.notes.get(number, []):
            if note["id"] == known:
                note["body"] = call.body["body"]
                return Answer(200, note)
        return Answer(404, {"message": "404 Not found"})
