"""What fuzzing begins with: inputs that are right, so that what is made of them gets past the first look."""

import json
from collections.abc import Callable, Iterable, Mapping

from tests.fuzz.targets import ROOT


def _definitions() -> Iterable[bytes]:
    files = sorted((ROOT / "examples" / "gitops").rglob("*.yaml"))
    yield from (file.read_bytes()[:4_000] for file in files[:40])
    yield b'{"apiVersion": "pymigrate.io/v1alpha1", "kind": "Environment", "metadata": {"name": "e"}, "spec": {}}'
    yield b"a: &a [1]\nb: [*a, *a]\nc: !!python/object/apply:os.system [id]\n<<: *a\n"


def _names() -> Iterable[bytes]:
    yield from (b"environments/e/plans/p/runs/r/lanes/l", b"-12.5", b"vault://kv/a#b", b"env://NAME#key", b"pmt_AAAA")


def _filters() -> Iterable[bytes]:
    yield b"environments/e/plans/p/runs?pageSize=10&pageToken=abc"
    yield b"environments/e/deliveries?states=sent&startTime=2026-01-01T00:00:00Z"
    yield b"auditEvents?environment=environments/e&principal=ann&action=start&pageSize=3"
    yield b"environments/e/plans/p/runs/r:watch?resumeToken=1.2"


def _bodies() -> Iterable[bytes]:
    plan = {
        "phases": {
            "a": {"department": "s", "datasets": {"d": {"source": {"connection": "c"}, "key": ["id"], "lanes": 2}}}
        }
    }
    yield json.dumps(plan).encode()
    yield json.dumps({"postgres": {"host": "h", "port": 5432, "user": "u"}, "labels": {"a": "b"}}).encode()
    yield json.dumps({"triggers": {"a": "1"}, "lanesMax": "9007199254740993"}).encode()


def _urls() -> Iterable[bytes]:
    yield from (
        b"postgresql://u@h:5432/d",
        b"https://a:b@[::1]:7/x?y#z",
        b"http://127.0.0.1",
        b"0.0.0.0:80",
        b"mysql+pymysql://u:p@h/d",
    )


def _posts() -> Iterable[bytes]:
    repository = {"full_name": "a/b", "default_branch": "main", "clone_url": "https://example.com/a/b.git"}
    push = {"ref": "refs/heads/main", "after": "0f" * 20, "before": "00" * 20, "repository": repository, "commits": []}
    yield json.dumps(push).encode()
    yield json.dumps(
        {"object_kind": "push", "ref": "refs/heads/main", "project": {"path_with_namespace": "a/b"}}
    ).encode()
    yield json.dumps(
        {"push": {"changes": [{"new": {"type": "branch", "name": "main", "target": {"hash": "0f" * 20}}}]}}
    ).encode()


SEEDS: Mapping[str, Callable[[], Iterable[bytes]]] = {
    "yaml_envelope": _definitions,
    "names": _names,
    "filters": _filters,
    "rest_bodies": _bodies,
    "connection_urls": _urls,
    "webhook_bodies": _posts,
}
