"""What is planted in the canary's test, the systems around the engine, which fail and say back whatever is secret, and what came out."""

import base64
import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import hvac

from tests.apis import ApiServer, Asked, Reply, json_reply
from tests.e2e.canaries import Canaries
from tests.e2e.echoing_postgres import EchoingPostgres
from tests.mail import Certificates, MailServer
from tests.sinks import HttpSink, Posted, Said

SECRET_HEADERS = frozenset({"authorization", "x-token", "x-vault-token"})
# Renders for whatever is made up, and fails where a reason had something taken out.
FAILING = "{% if event.failure and '***' in event.failure.message %}{{ event.failure.message|number }}{% endif %}{{ event.title }}"


class Scene:
    """What is planted, the systems around the engine, and everything that came out of it, by what it is. `marker` is no secret: definitions
    tell it in the clear, so that the search must find it wherever they show."""

    def __init__(self, folder: Path, certificates: Certificates, vault: tuple[str, str]) -> None:
        self.folder = folder
        self.canaries = Canaries()
        self.marker = Canaries({"marker": "in-the-clear-s3'cr\"3t %2f<0f>\\ü-marked"})
        self.vault, self.vault_token = vault
        self.canaries.values["vault-token"] = self.vault_token
        self.outputs: dict[str, bytes] = {}
        self.environment: dict[str, str] = {}
        self.postgres, self.api, self.mail = EchoingPostgres(), ApiServer(), MailServer(starttls=certificates.server)
        self.hook, self.apprise, self.step, self.events, self.collector = (HttpSink() for _ in range(5))
        self.untrusted = HttpSink(tls=certificates.server)
        self.api.answer = _reflected
        for sink in (self.hook, self.apprise, self.step, self.events):
            sink.answer = _said_back
        self.collector.answer = lambda posted: _said_back(posted) if len(self.collector.asked) == 1 else Said()

    def close(self) -> None:
        """Ends the systems."""
        for server in (
            self.postgres,
            self.api,
            self.mail,
            self.hook,
            self.apprise,
            self.step,
            self.events,
            self.collector,
            self.untrusted,
        ):
            server.close()

    def in_variable(self, place: str, *, is_plain: bool = False, wrapped: str = "{}") -> str:
        """The reference of a secret in the engine's environment."""
        name = f"CANARY_{place.upper().replace('-', '_')}"
        self.environment[name] = wrapped.format(self.canaries.plant(place, is_plain=is_plain))
        return f"env://{name}"

    def in_file(self, place: str, key: str = "") -> str:
        """The reference of a secret in a file, or in a field of the JSON that it holds."""
        value, path = self.canaries.plant(place), self.folder / f"{place}.secret"
        path.write_text(json.dumps({key: value}) if key else f"{value}\n")
        return f"file://{path}#{key}" if key else f"file://{path}"

    def in_vault(self, place: str, *, is_plain: bool = False) -> str:
        """The reference of a secret in the Vault's KV engine, whose second version it is."""
        kv = self.administrator().secrets.kv.v2
        for version in (f"{place}-before", place):
            kv.create_or_update_secret(
                place, {"value": self.canaries.plant(version, is_plain=is_plain)}, mount_point="kv"
            )
        return f"vault://kv/{place}#value"

    def administrator(self) -> hvac.Client:
        """Of the Vault."""
        return hvac.Client(self.vault, self.vault_token)

    def heard(self, what: str, content: bytes | str) -> None:
        """Keeps an output."""
        self.outputs[what] = self.outputs.get(what, b"") + (content.encode() if isinstance(content, str) else content)

    def connections(self) -> dict[str, Any]:
        """Connections that fail, each in a way of its own."""
        server = {"host": "127.0.0.1", "port": self.postgres.port, "database": "erp", "user": "me"}
        token = self.in_variable("plugin")
        untrusted = f"https://127.0.0.1:{self.untrusted.port}"
        made = {"user": "vault://database/creds/reader#username", "password": "vault://database/creds/reader#password"}
        return {
            "echoing": {"postgres": {**server, "sslMode": "disable", "password": self.in_variable("postgres")}},
            "tls": {"postgres": {**server, "sslMode": "require", "password": self.in_file("postgres-tls")}},
            "verified": {
                "postgres": {**server, "sslMode": "verify-full", "password": self.in_file("postgres-verified")}
            },
            "vaulted": {"postgres": {**server, "sslMode": "disable", "password": self.in_vault("vault-postgres")}},
            "made": {"postgres": {**server, **made, "sslMode": "disable"}},
            "unread": {"postgres": {**server, "sslMode": "disable", "password": "echoing-vault://kv/erp#password"}},
            "rows": {
                "http": {
                    "baseUrl": f"{self.api.url}/rows",
                    "headers": {"Authorization": self.in_vault("vault-http", is_plain=True)},
                }
            },
            "untrusted": {
                "http": {
                    "baseUrl": untrusted,
                    "headers": {"Authorization": self.in_variable("http-tls", is_plain=True)},
                    "retriesMax": -1,
                }
            },
            "marked": {"sqlite": {"path": f"{self.folder}/none/{self.marker.values['marker']}"}},
            "nowhere": {"mysql": {**server, "port": 1, "password": self.in_file("mysql", "password")}},
            "alchemy": {
                "sqlalchemy": {
                    "url": f"postgresql+psycopg://me@127.0.0.1:{self.postgres.port}/erp",
                    "password": self.in_file("sqlalchemy"),
                }
            },
            "api": {
                "http": {"baseUrl": self.api.url, "headers": {"Authorization": self.in_variable("http", is_plain=True)}}
            },
            "remote": {
                "files": {"root": "ftp://127.0.0.1/x", "options": {"port": "1", "password": self.in_variable("files")}}
            },
            "raises": {"plugin": {"kind": "leaky", "options": {"token": token, "how": "raise"}}},
            "aborts": {"plugin": {"kind": "leaky", "options": {"token": token, "how": "abort"}}},
            "hangs": {"plugin": {"kind": "leaky", "options": {"token": token, "how": "hang"}}},
        }

    def channels(self) -> dict[str, Any]:
        """Channels that fail, each in a way of its own, and where a message goes by each."""
        url = self.in_variable("apprise", is_plain=True, wrapped=f"json://me:{{}}@127.0.0.1:{self.apprise.port}/")
        mail = {"host": "localhost", "port": self.mail.port, "sender": "ops@example.com", "username": "me"}
        hook = {"url": f"{self.hook.url}/hook", "signingKey": self.in_variable("signing-key")}
        return {
            "mail": {"smtp": {**mail, "password": self.in_variable("smtp")}},
            "hook": {"webhook": {**hook, "secretHeaders": {"X-Token": self.in_variable("webhook", is_plain=True)}}},
            "pager": {"apprise": {"url": url}},
            "untrusted": {
                "webhook": {
                    "url": f"https://127.0.0.1:{self.untrusted.port}/hook",
                    "secretHeaders": {"X-Token": self.in_variable("webhook-tls", is_plain=True)},
                }
            },
            "leaky": {"plugin": {"kind": "leaky", "options": {"token": self.in_variable("channel")}}},
        }

    def plan(self) -> dict[str, Any]:
        """One phase that masks by a key, and ends with a call that is refused."""
        headers = {"Authorization": self.in_variable("step", is_plain=True)}
        call = {"url": f"{self.step.url}/switch", "headers": headers}
        step = {"point": "after_publication", "call": call, "undo": call}
        masked = {"mask": {"key": self.in_variable("mask"), "columns": {"name": {"method": "tokenise"}}}}
        dataset = {
            "source": {"connection": "legacy", "relation": "people"},
            "target": {"connection": "warehouse", "relation": "people"},
            "transforms": [masked],
        }
        return {
            "phases": {"people": {"department": "sales", "datasets": {"people": dataset}, "steps": {"switch": step}}}
        }

    def rows_plan(self) -> dict[str, Any]:
        """Rows that no column takes, since an API says in them what it was told."""
        columns = {"id": {"type": "int64"}, "note": {"type": "string"}}
        source = {"connection": "rows", "relation": "all", "httpJson": {}, "columns": columns}
        cast = [{"cast": {"columns": {"note": {"type": "decimal(9,2)"}}}}]
        datasets = {
            "malformed": {"source": source, "target": {"connection": "warehouse", "relation": "malformed"}},
            "uncast": {
                "source": {**source, "columns": {**columns, "id": {"type": "string"}}},
                "target": {"connection": "warehouse", "relation": "uncast"},
                "transforms": cast,
            },
        }
        return {"phases": {name: {"department": "sales", "datasets": {name: each}} for name, each in datasets.items()}}

    def backends(self) -> dict[str, Any]:
        """A Vault, with an engine that makes credentials, and what answers in its stead with the token that it was shown."""
        admin = self.administrator()
        admin.sys.enable_secrets_engine("kv", path="kv", options={"version": "2"})
        admin.sys.enable_secrets_engine("database", path="database")
        admin.adapter.post("/v1/database/config/erp", json={"plugin_name": "none"})
        admin.adapter.post("/v1/database/roles/reader", json={"db_name": "erp", "default_ttl": "600s"})
        (self.folder / "vault-token").write_text(self.vault_token)
        return {
            "vault": {"vault": {"address": self.vault, "token": f"file://{self.folder}/vault-token"}},
            "echoing-vault": {
                "vault": {"address": self.api.url, "token": self.in_variable("vault-login", is_plain=True)}
            },
        }

    def definitions(self) -> str:
        """Everything that is declared."""
        backends = self.backends()
        with closing(sqlite3.connect(self.folder / "legacy.db")) as database, database:
            database.execute("create table people (id integer primary key, name text)")
            database.executemany("insert into people values (?, ?)", [(at, f"name {at}") for at in range(100)])
        systems = {"legacy": {"sqlite": {"path": f"{self.folder}/legacy.db"}}}
        systems["warehouse"] = {"duckdb": {"path": f"{self.folder}/w.duckdb"}}
        systems |= self.connections()
        where = {"environment": "e"}
        address = {"hook": {"channel": "hook", "to": f"{self.hook.url}/hook"}}
        found: list[dict[str, Any]] = [
            {"kind": "Environment", "metadata": {"name": "e"}},
            {"kind": "Department", "metadata": {"name": "sales", **where}},
            *(
                {"kind": "SecretBackend", "metadata": {"name": name, **where}, "spec": {**spec, "timeoutSeconds": 5}}
                for name, spec in backends.items()
            ),
            *(
                {"kind": "Connection", "metadata": {"name": name, **where}, "spec": spec}
                for name, spec in systems.items()
            ),
            *(
                {
                    "kind": "NotificationChannel",
                    "metadata": {"name": name, **where},
                    "spec": {**spec, "triesMax": 1, "trySecondsMax": 10},
                }
                for name, spec in self.channels().items()
            ),
            {
                "kind": "Stakeholder",
                "metadata": {"name": "ann", **where},
                "spec": {"roles": ["engineer"], "addresses": address},
            },
            {
                "kind": "AlertRule",
                "metadata": {"name": "failures", **where},
                "spec": {"recipients": {"roles": ["engineer"]}, "template": "failing"},
            },
            {
                "kind": "NotificationTemplate",
                "metadata": {"name": "failing", **where},
                "spec": {"texts": {"en": {"subject": "{{ event.title }}", "body": FAILING}}},
            },
            {"kind": "Plan", "metadata": {"name": "rows", **where}, "spec": self.rows_plan()},
            {"kind": "Plan", "metadata": {"name": "p", **where}, "spec": self.plan()},
        ]
        return "\n---\n".join(json.dumps({"apiVersion": "pymigrate.io/v1alpha1", **document}) for document in found)


def _echoes(headers: Mapping[str, str]) -> str:
    """What a request said that is secret, in several spellings."""
    said = [text for name, text in headers.items() if name.lower() in SECRET_HEADERS]
    return " | ".join(
        spelled
        for text in said
        for spelled in (
            text,
            text.encode().hex(),
            base64.b64encode(text.encode()).decode(),
            quote(text, safe=""),
            json.dumps(text),
        )
    )


def _reflected(asked: Asked) -> Reply:
    said = _echoes(asked.headers)
    if asked.path.startswith("/rows/"):
        return json_reply([{"id": said, "note": said}])
    if asked.path.startswith("/v1/"):
        return Reply(json.dumps({"errors": [said]}).encode(), 403)
    return Reply(said.encode(), 401)


def _said_back(posted: Posted) -> Said:
    return Said(400, body=_echoes(posted.headers))
