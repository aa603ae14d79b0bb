"""Which texts of definitions are taken for secrets, and which are not. None of these was ever anybody's: they are made up here, in two
halves, so that no scanner takes this file for a leak."""

import base64
import json
import random
import re
import string
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymigrate.engine.domain.literal_secrets import secret_in

ROOT = Path(__file__).parents[3]
SUFFIXES = frozenset({".yaml", ".yml", ".tf", ".hcl", ".json", ".tfvars"})
dice = random.Random(29)


def drawn(length: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    return "".join(dice.choices(alphabet, k=length))


CAPITALS = string.ascii_uppercase + "234567"
SECRETS = {
    "AK" + "IA" + drawn(16, CAPITALS): "an AWS access key",
    "AS" + "IA" + drawn(16, CAPITALS): "an AWS access key",
    "gh" + "p_" + drawn(36): "a GitHub token",
    "github" + "_pat_" + drawn(22) + "_" + drawn(59): "a GitHub token",
    "gl" + "pat-" + drawn(20): "a GitLab token",
    "xo" + "xb-123456789012-123456789012-" + drawn(24): "a Slack token",
    "sk_" + "live_" + drawn(24): "a Stripe key",
    "AI" + "za" + drawn(35): "a Google key",
    "DefaultEndpointsProtocol=https;AccountName=x;Account" + "Key=" + drawn(86) + "==": "an Azure key",
    "https://x.blob.core.windows.net/c?sv=2022-11-02&s" + "ig=" + drawn(43) + "%3D": "a signed link",
    "hv" + "s." + drawn(24): "a Vault token",
    "s" + "." + drawn(23) + "7": "a Vault token",
    "ey" + "J" + drawn(20) + ".ey" + "J" + drawn(40) + "." + drawn(43): "a JSON Web Token",
    "-----BEGIN RSA PRIVATE" + " KEY-----\nMIIE": "a private key",
    "-----BEGIN PRIVATE" + " KEY-----": "a private key",
    "npm" + "_" + drawn(36): "a package registry's token",
    "py" + "pi-AgE" + drawn(60): "a package registry's token",
    "S" + "G." + drawn(22) + "." + drawn(43): "a SendGrid key",
    "S" + "K" + drawn(32, "0123456789abcdef"): "a Twilio key",
    "https://hooks.slack.com" + "/services/T0" + drawn(9) + "/B0" + drawn(9) + "/" + drawn(24): "a private webhook",
    "postgresql://reader:" + "hunter2@db:5432/erp": "a password in a URL",
    "see redis://:" + "s3cret@cache/0 for that": "a password in a URL",
    "https://api.example.com/v1?api_key=" + "abc123&page=2": "a password in a URL",
    "Server=db;Database=erp;User Id=me;Pass" + "word=hunter2;": "a password in a connection string",
    "Driver=x;PW" + "D=hunter2": "a password in a connection string",
    "host=db user=me pass" + "word=hunter2 dbname=erp": "a password in a connection string",
    "host=db pass" + "word='hun ter2'": "a password in a connection string",
}
PLAIN = [
    "",
    "env://PG_PASSWORD",
    "file:///run/secrets/token#" + drawn(40),
    "the reporting warehouse of 2024, phase 2",
    "finance_consolidated_general_ledger_2024_q3_v2",
    "FinanceConsolidatedGeneralLedger2024Q3V2Archive",
    "dbo.CustomerOrderHistory_V2_Archive_2024_Partition_07",
    "SALES_ORDER_LINE_ITEMS_2024_EMEA_Region7_ReadOnly",
    "/data/Legacy/Sales2024/Export_V2/Part-0007.parquet",
    "s3://Company-Raw/Team1/Raw2Data/Y2024/M07/Orders.csv",
    "C:\\Data\\Sales2024\\Export7.csv",
    "**/*_2024-??-??_[0-9]*.csv",
    "0 3 * * 1-5",
    "FREQ=WEEKLY;BYDAY=MO,TU;BYHOUR=3;UNTIL=20261231T000000Z",
    "select id, password from users where password = 'x' and token is not null",
    "user = 'a' and password='b' or pwd='c'",
    "case when password='' then null else md5(password) end",
    "https://x.blob.core.windows.net/container/blob?sv=2022-11-02&comp=list",
    "https://api.example.com/v1/orders?page_token=abc&limit=100",
    "postgresql://reader@db:5432/erp",
    "postgresql://reader:***@db/erp",
    "postgresql://reader:<password>@db/erp",
    "postgresql://reader:${PASSWORD}@db/erp",
    "postgresql://{{ user }}:{{ password }}@db/erp",
    "http://[::1]:8080/a@b",
    "password=***",
    "host=db user=me dbname=erp",
    "Server=db;Database=erp;Trusted_Connection=yes",
    "eyJhbGciOiJIUzI1NiJ9",  # the beginning of a token, and no secret
    "-----BEGIN CERTIFICATE-----",
    "-----BEGIN PUBLIC KEY-----",
    "ssh-ed25519 " + base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0 " + dice.randbytes(32)).decode(),
    "sha256-" + base64.b64encode(dice.randbytes(32)).decode(),
    "sha256:" + dice.randbytes(32).hex(),
    base64.b64encode(b"The quick brown fox jumps over 13 lazy dogs, twice a day").decode(),
    base64.b64encode('{"kind": "Department", "name": "Einkauf Köln 2024"}'.encode()).decode(),
    "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + dice.randbytes(60)).decode(),
    "arn:aws:iam::123456789012:role/DataPlatformMigrationRole2024",
    "projects/my-project-2024/locations/europe-west1/keyRings/Ring1",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/120.0 Safari/537.36",
    "01HQ3K5Z7M9P2R4T6V8X0Y1Z2A",
    "2024-07-01T03:00:00.000000+00:00",
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
    "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft",
    "pymigrate-0.1.0-py3-none-any.whl",
    "hunter2",  # by itself a word like another
]


@pytest.mark.parametrize(("text", "noun"), SECRETS.items(), ids=SECRETS.values())
def test_a_known_shape_is_told_by_what_it_is(text: str, noun: str) -> None:
    assert secret_in(text) == noun
    if noun != "a password in a connection string":  # which is known by holding nothing else
        assert secret_in(f"see {text}\nbelow") == noun


@pytest.mark.parametrize("text", PLAIN)
def test_ordinary_texts_pass(text: str) -> None:
    assert secret_in(text) == ""


@given(st.uuids())
def test_no_uuid_is_a_secret(identifier: uuid.UUID) -> None:
    for text in (str(identifier), identifier.hex, f"orders-{identifier}", f"a/{identifier}/b", str(identifier).upper()):
        assert secret_in(text) == ""
        assert secret_in(text, "labels") == ""


@given(st.binary(min_size=4, max_size=64))
def test_no_digest_is_a_secret(digest: bytes) -> None:
    assert secret_in(digest.hex()) == secret_in(digest.hex().upper()) == secret_in(f"commit {digest.hex()}") == ""


WORDS = st.sampled_from(
    (
        "customer",
        "order",
        "line",
        "item",
        "Sales",
        "Finance",
        "archive",
        "raw",
        "v2",
        "2024",
        "Q3",
        "EMEA",
        "dim",
        "ERP",
        "Köln",
        "id",
    )
)


@given(st.lists(WORDS, min_size=1, max_size=12), st.sampled_from(["_", "-", ".", "/", " ", ""]))
def test_no_name_made_of_words_is_a_secret(words: list[str], separator: str) -> None:
    if not separator:
        words = [word for word in words if len(word) > 3]
    assert secret_in(separator.join(words)) == ""
    assert secret_in(separator.join(map(str.title, words))) == ""
    assert secret_in(separator.join(map(str.upper, words))) == ""


@pytest.mark.parametrize(
    ("what", "make", "share_min"),
    [
        ("32 letters and digits", lambda: drawn(32), 0.9),
        ("40 of an AWS secret key", lambda: base64.b64encode(dice.randbytes(30)).decode(), 0.85),
        ("32 bytes in base64", lambda: base64.b64encode(dice.randbytes(32)).decode(), 0.85),
        (
            "32 bytes in base64 for URLs",
            lambda: base64.urlsafe_b64encode(dice.randbytes(32)).decode().rstrip("="),
            0.85,
        ),
    ],
)
def test_most_random_words_are_secrets(what: str, make: Callable[[], str], share_min: float) -> None:
    texts = [make() for _ in range(500)]
    assert sum(secret_in(f"the key is {text} here") == "a key or token" for text in texts) >= share_min * len(texts), (
        what
    )


@pytest.mark.parametrize(
    "name", ["password", "X-Auth-Token", "api_key", "ApiKey", "clientSecret", "db-pwd", "signing_key"]
)
def test_what_is_named_a_secret_and_looks_like_a_value_is_one(name: str) -> None:
    assert secret_in("hunter22", name) == secret_in("Pa$$word", name) == "a secret"
    for text in (
        "password",
        "env://PG",
        "/run/secrets/pg",
        "$.meta.next",
        "{{ token }}",
        "is kept in Vault",
        "yes",
        "***",
    ):
        assert secret_in(text, name) == ""


@pytest.mark.parametrize(
    "name", ["key", "keys", "order_key", "tokens", "next_token_path", "passenger", "secretary", "author"]
)
def test_a_name_that_only_sounds_like_it_says_nothing(name: str) -> None:
    assert secret_in("hunter22", name) == ""


def test_nothing_that_this_repository_declares_is_taken_for_a_secret() -> None:
    folders = (ROOT / "examples", ROOT / "tests", ROOT / "docs")
    files = [path for folder in folders for path in folder.rglob("*") if path.suffix in SUFFIXES]
    texts = {text for path in files for text in _texts(path.read_text(encoding="utf-8"))}
    assert len(files) > 30
    assert len(texts) > 2_000
    assert {text for text in texts if secret_in(text)} == set()


def _texts(document: str) -> list[str]:
    """Its lines, and what stands in quotes on them."""
    quoted = (json.loads(found) for found in re.findall(r'"(?:[^"\\\n]|\\["\\nt/])*"', document))
    return [*document.splitlines(), *quoted]
