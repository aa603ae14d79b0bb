"""Attack: a JWT that its issuer did not make for this engine, or that holds no longer."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.issuers import AUDIENCE, CONFIGURATION, KEYS, Issuer, SigningKey, by_hand, encoded, signed
from tests.security.tokens_shown import Shown, shown_to_an_engine


@pytest.fixture(scope="module")
def own() -> SigningKey:
    return SigningKey("own")


@pytest.fixture(scope="module")
def foreign() -> SigningKey:
    """A key of whoever attacks, under the name of the issuer's."""
    return SigningKey("own")


@pytest.fixture
def issuer(own: SigningKey) -> Iterator[Issuer]:
    with Issuer(own) as issuer:
        yield issuer


@pytest.fixture
async def engine(issuer: Issuer) -> AsyncIterator[Shown]:
    async with shown_to_an_engine(issuer) as shown:
        yield shown


async def test_a_right_token_lets_its_holder_in(engine: Shown) -> None:
    who = await engine.caller_by(engine.right())
    assert (who.principal, who.groups, who.token_id) == ("oidc/ann", frozenset({"data"}), "")


async def test_a_token_that_nobody_signed_lets_nobody_in(engine: Shown) -> None:
    claims = engine.issuer.claims(engine.clock.now())
    for algorithm in ("none", "None", "NONE", "nOnE", ""):
        assert await engine.refuses(by_hand({"alg": algorithm, "kid": "own", "typ": "JWT"}, claims))
    assert await engine.refuses(by_hand({"kid": "own", "typ": "JWT"}, claims))
    assert await engine.refuses(engine.right().rpartition(".")[0] + ".")


async def test_a_token_whose_secret_is_the_public_key_lets_nobody_in(engine: Shown, own: SigningKey) -> None:
    claims = engine.issuer.claims(engine.clock.now())
    for secret in (own.pem, own.pem.strip(), json.dumps(own.published).encode(), own.published["n"].encode()):
        assert await engine.refuses(by_hand({"alg": "HS256", "kid": "own", "typ": "JWT"}, claims, secret))


async def test_a_symmetric_key_that_is_published_signs_nothing(engine: Shown) -> None:
    secret = b"0123456789abcdef0123456789abcdef"
    document: Any = engine.issuer.documents[KEYS]
    document["keys"].append({"kty": "oct", "k": encoded(secret), "kid": "shared", "alg": "HS256"})
    claims = engine.issuer.claims(engine.clock.now())
    assert await engine.refuses(by_hand({"alg": "HS256", "kid": "shared", "typ": "JWT"}, claims, secret))


async def test_a_key_is_taken_for_no_algorithm_of_another_type(engine: Shown, own: SigningKey) -> None:
    signed = jwt.encode(engine.issuer.claims(engine.clock.now()), SigningKey("e", "ES256").key, "ES256", {"kid": "own"})
    assert await engine.refuses(signed)
    assert await engine.refuses(engine.right(key=SigningKey("own", "PS256", own.key)))


async def test_an_algorithm_that_is_not_allowed_is_refused_although_the_key_would_do(issuer: Issuer) -> None:
    async with shown_to_an_engine(issuer, ("ES256", "RS512")) as engine:
        code, said = await engine.refusal(engine.right())
        assert code is grpc.StatusCode.UNAUTHENTICATED
        assert "algorithm is not allowed" in said


async def test_a_key_of_somebody_else_signs_nothing(engine: Shown, foreign: SigningKey) -> None:
    assert await engine.refuses(engine.right(key=foreign))
    assert await engine.refuses(engine.right(key=SigningKey("other", key=foreign.key)))


async def test_keys_that_a_token_brings_along_or_leads_to_are_ignored(engine: Shown, foreign: SigningKey) -> None:
    with Issuer(foreign) as attacker:
        elsewhere = f"{attacker.url}{KEYS}"
        for header in (
            {"jwk": foreign.published},
            {"jku": elsewhere},
            {"x5u": elsewhere},
            {"x5c": [encoded(foreign.pem)]},
            {"jku": elsewhere, "kid": "../../keys"},
            {"kid": elsewhere},
        ):
            assert await engine.refuses(engine.right(key=foreign, header=header))
        assert attacker.asked == []


@pytest.mark.parametrize("header", [{"crit": ["exp"]}, {"crit": []}, {"b64": True}, {"b64": False}, {"zip": "DEF"}])
async def test_a_token_that_asks_for_extensions_is_refused(engine: Shown, header: dict[str, Any]) -> None:
    content = json.dumps(engine.issuer.claims(engine.clock.now())).encode()
    assert await engine.refuses(signed(engine.issuer.keys[0], header, content))


@pytest.mark.parametrize("kind", ["logout+jwt", "dpop+jwt", "secevent+jwt", 7, None, ""])
async def test_a_token_of_another_use_is_refused(engine: Shown, kind: object) -> None:
    content = json.dumps(engine.issuer.claims(engine.clock.now())).encode()
    assert await engine.refuses(signed(engine.issuer.keys[0], {"typ": kind}, content))


@pytest.mark.parametrize("header", [{}, {"typ": "JWT"}, {"typ": "at+jwt"}, {"typ": "application/at+jwt"}])
async def test_a_token_for_calls_may_say_so(engine: Shown, header: dict[str, Any]) -> None:
    content = json.dumps(engine.issuer.claims(engine.clock.now())).encode()
    assert (await engine.caller_by(signed(engine.issuer.keys[0], header, content))).principal == "oidc/ann"


async def test_a_token_that_is_bound_to_another_key_is_refused(engine: Shown) -> None:
    assert await engine.refuses(engine.right(cnf={"jkt": "0ZcOCORZNYy"}))


async def test_a_token_of_another_issuer_lets_nobody_in(engine: Shown) -> None:
    for issuer in ("https://login.example.com", f"{engine.issuer.url}/", "", None, [engine.issuer.url], 7):
        assert await engine.refuses(_odd(engine, iss=issuer))


async def test_a_token_for_another_audience_lets_nobody_in(engine: Shown) -> None:
    for audience in ("another", f"{AUDIENCE}x", AUDIENCE.upper(), "", None, [], ["another"]):
        assert await engine.refuses(engine.right(aud=audience))
    odd_ones: list[object] = [{AUDIENCE: True}, 7, True, [7]]
    for odd in odd_ones:
        assert await engine.refuses(_odd(engine, aud=odd))
    assert (await engine.caller_by(engine.right(aud=["another", AUDIENCE]))).principal == "oidc/ann"


async def test_a_token_that_has_ended_lets_nobody_in(engine: Shown) -> None:
    token = engine.right()
    engine.clock.advance(329)  # it ends after 300, and clocks may be 30 apart
    assert (await engine.caller_by(token)).principal == "oidc/ann"
    engine.clock.advance(1)
    assert await engine.refuses(token)


async def test_a_token_that_does_not_hold_yet_lets_nobody_in(engine: Shown) -> None:
    now = int(engine.clock.now().timestamp())
    assert await engine.refuses(engine.right(nbf=now + 31))
    assert await engine.refuses(engine.right(iat=now + 31, nbf=now))
    assert await engine.refuses(engine.right(iat=now + 31, nbf=None))
    assert (await engine.caller_by(engine.right(nbf=now + 30, iat=now + 30))).principal == "oidc/ann"


async def test_a_token_without_an_end_or_with_odd_times_lets_nobody_in(engine: Shown) -> None:
    for claim in ("exp", "iat"):
        assert await engine.refuses(engine.right(**{claim: None}))
    odd_ones: list[object] = ["tomorrow", True, [], {}, "9999999999"]
    for odd in odd_ones:
        for claim in ("exp", "iat", "nbf"):
            assert await engine.refuses(_odd(engine, **{claim: odd}))
    assert await engine.refuses(_raw(engine, b'"exp":1e999'))
    assert await engine.refuses(_raw(engine, b'"exp":NaN'))


async def test_a_key_that_was_rotated_out_signs_nothing_any_more(engine: Shown, own: SigningKey) -> None:
    before = engine.right()
    assert (await engine.caller_by(before)).principal == "oidc/ann"
    fresh = SigningKey("fresh", "ES256")
    engine.issuer.keys[:] = [fresh]
    engine.issuer.publish()
    engine.clock.advance(10)
    assert (await engine.caller_by(engine.right(key=fresh))).principal == "oidc/ann"
    assert await engine.refuses(before)


async def test_keys_that_were_swapped_under_the_same_name_leave_no_old_one(engine: Shown, foreign: SigningKey) -> None:
    before = engine.right()
    assert (await engine.caller_by(before)).principal == "oidc/ann"
    engine.issuer.keys[:] = [foreign]
    engine.issuer.publish()
    engine.clock.advance(3_600)  # what is known is too old to be believed
    assert await engine.refuses(engine.right(key=SigningKey("own")))
    assert (await engine.caller_by(engine.right())).principal == "oidc/ann"
    assert engine.issuer.asked.count(KEYS) == 2


@pytest.mark.parametrize("name", ["", " ann", "ann\n", "a" * 201, 7, ["ann"], {"a": 1}, True])
async def test_a_token_that_names_nobody_lets_nobody_in(engine: Shown, name: object) -> None:
    assert await engine.refuses(_odd(engine, sub=name))


async def test_an_address_of_mail_that_nobody_verified_names_nobody(issuer: Issuer) -> None:
    async with shown_to_an_engine(issuer, principal_claim="email") as engine:
        told = {"email": "ann@example.com"}
        assert await engine.refuses(engine.right(**told, email_verified=False))
        assert await engine.refuses(engine.right(**told, email_verified="true"))
        assert await engine.refuses(engine.right())
        assert (await engine.caller_by(engine.right(**told, email_verified=True))).principal == "oidc/ann@example.com"


async def test_groups_are_taken_as_they_are_signed_and_nothing_else_is(engine: Shown) -> None:
    who = await engine.caller_by(_odd(engine, groups=["data", 7, "", None, ["admin"], "ops\n", "a" * 201]))
    assert who.groups == frozenset({"data"})
    assert (await engine.caller_by(engine.right(groups="one"))).groups == frozenset({"one"})
    assert (await engine.caller_by(_odd(engine, groups={"admin": True}))).groups == frozenset()


async def test_a_token_beyond_8_kib_is_refused_unread(engine: Shown) -> None:
    code, said = await engine.refusal(engine.right(padding="x" * 8_192))
    assert (code, "8,192" in said) == (grpc.StatusCode.UNAUTHENTICATED, True)


async def test_what_is_no_token_at_all_is_refused(engine: Shown) -> None:
    right = engine.right()
    header, claims, signature = right.split(".")
    odd_ones = (
        "..",
        "a.b.c",
        f"{header}.{claims}",
        f"{right}.{signature}",
        f"{header}.{claims}.{signature[:-4]}",
        f"{header}.{claims}.{signature}AAAA",
        f"{header}=.{claims}.{signature}",
        f"{header}.{encoded(b'[' * 4_000)}.{signature}",
        f"{encoded(b'{' * 4_000)}.{claims}.{signature}",
        f"{encoded(b'[]')}.{claims}.{signature}",
        f"{header}.{encoded(b'7')}.{signature}",
        f"{encoded(json.dumps({'alg': 'RS256', 'kid': ['own']}).encode())}.{claims}.{signature}",
        f"{encoded(json.dumps({'alg': ['RS256'], 'kid': 'own'}).encode())}.{claims}.{signature}",
    )
    for odd in odd_ones:
        assert await engine.refuses(odd), odd


async def test_while_the_issuer_is_away_known_keys_hold_for_an_hour_and_no_longer(engine: Shown) -> None:
    assert (await engine.caller_by(engine.right())).principal == "oidc/ann"
    engine.issuer.documents.clear()
    engine.clock.advance(3_599)
    assert (await engine.caller_by(engine.right())).principal == "oidc/ann"
    engine.clock.advance(1)
    code, said = await engine.refusal(engine.right())
    assert code is grpc.StatusCode.UNAVAILABLE
    assert "can't be read" in said
    engine.issuer.publish()
    engine.clock.advance(10)
    assert (await engine.caller_by(engine.right())).principal == "oidc/ann"


async def test_unknown_keys_make_the_issuer_be_asked_once_in_ten_seconds(engine: Shown) -> None:
    assert (await engine.caller_by(engine.right())).principal == "oidc/ann"
    for at in range(20):
        assert await engine.refuses(engine.right(header={"kid": f"unknown-{at}"}))
    assert engine.issuer.asked.count(KEYS) == 1
    engine.clock.advance(10)
    for at in range(20):
        assert await engine.refuses(engine.right(header={"kid": f"unknown-{at}"}))
    assert engine.issuer.asked.count(KEYS) == 2


@pytest.mark.parametrize(
    "keys_url",
    [
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/keys",
        "https://[::ffff:10.0.0.1]/keys",
        "http://169.254.169.254/keys",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "//127.0.0.1/keys",
        "https://user@127.0.0.1/keys",
        7,
    ],
)
async def test_an_issuer_s_configuration_leads_the_engine_to_nothing_inside(engine: Shown, keys_url: object) -> None:
    engine.issuer.documents[CONFIGURATION] = {"issuer": engine.issuer.url, "jwks_uri": keys_url}
    code, _ = await engine.refusal(engine.right())
    assert code is grpc.StatusCode.UNAVAILABLE
    assert engine.issuer.asked == [CONFIGURATION]


async def test_redirects_are_followed_nowhere(engine: Shown, foreign: SigningKey) -> None:
    with Issuer(foreign) as attacker:
        engine.issuer.status, engine.issuer.headers = 302, {"location": f"{attacker.url}{CONFIGURATION}"}
        assert (await engine.refusal(engine.right()))[0] is grpc.StatusCode.UNAVAILABLE
        assert attacker.asked == []


async def test_the_configuration_of_another_issuer_is_not_taken(engine: Shown) -> None:
    engine.issuer.documents[CONFIGURATION] = {"issuer": "https://other", "jwks_uri": f"{engine.issuer.url}{KEYS}"}
    assert (await engine.refusal(engine.right()))[0] is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    "document",
    [b"x" * 300_000, b"nothing", {"keys": {}}, {"keys": []}, [], {"keys": [{"kty": "oct", "k": "eA"}]}, b"[" * 100_000],
)
async def test_what_is_no_set_of_keys_is_not_taken(engine: Shown, document: object) -> None:
    engine.issuer.documents[KEYS] = document
    assert (await engine.refusal(engine.right()))[0] is grpc.StatusCode.UNAVAILABLE


async def test_more_is_read_of_no_issuer_than_is_bounded(engine: Shown, own: SigningKey) -> None:
    many = [own.published | {"kid": f"own-{at}"} for at in range(100)]
    for document in ({"keys": [own.published, *many]}, {"keys": [own.published], "padding": "x" * 262_144}):
        engine.issuer.documents[KEYS] = document
        assert (await engine.refusal(engine.right()))[0] is grpc.StatusCode.UNAVAILABLE
        engine.clock.advance(10)
    engine.issuer.documents[KEYS] = {"keys": [own.published, *many[1:]], "padding": "x" * 200_000}
    assert (await engine.caller_by(engine.right())).principal == "oidc/ann"


async def test_an_issuer_s_configuration_leads_to_no_other_server_of_this_machine(
    engine: Shown, own: SigningKey
) -> None:
    with Issuer(own, host="127.0.0.2") as inside:
        engine.issuer.documents[CONFIGURATION] = {"issuer": engine.issuer.url, "jwks_uri": f"{inside.url}{KEYS}"}
        assert (await engine.refusal(engine.right()))[0] is grpc.StatusCode.UNAVAILABLE
        assert inside.asked == []


async def test_keys_for_other_uses_and_weak_ones_sign_nothing(engine: Shown, own: SigningKey) -> None:
    weak = SigningKey("weak", key=rsa.generate_private_key(65_537, 1_024))
    document: Any = engine.issuer.documents[KEYS]
    document["keys"] += [
        weak.published,
        own.published | {"kid": "encrypts", "use": "enc"},
        own.published | {"kid": "wraps", "key_ops": ["wrapKey"]},
        {"kty": "RSA", "kid": "broken", "n": 7, "e": "AQAB"},
        7,
    ]
    for key_id in ("encrypts", "wraps", "broken"):
        assert await engine.refuses(engine.right(header={"kid": key_id}))
    content = json.dumps(engine.issuer.claims(engine.clock.now())).encode()
    assert await engine.refuses(signed(weak, {}, content))
    assert (await engine.caller_by(engine.right())).principal == "oidc/ann"


async def test_a_token_without_a_key_s_id_is_taken_where_one_key_is_in_question_alone(
    engine: Shown, foreign: SigningKey
) -> None:
    nameless = jwt.encode(engine.issuer.claims(engine.clock.now()), engine.issuer.keys[0].key, "RS256")
    assert (await engine.caller_by(nameless)).principal == "oidc/ann"
    engine.issuer.keys.append(SigningKey("second", key=foreign.key))
    engine.issuer.publish()
    engine.clock.advance(3_600)
    assert await engine.refuses(nameless)


def _odd(engine: Shown, **changed: Any) -> str:
    """A token whose claims are of types that they should not be, signed rightly."""
    claims = engine.issuer.claims(engine.clock.now()) | changed
    return signed(engine.issuer.keys[0], {}, json.dumps(claims).encode())


def _raw(engine: Shown, claim: bytes) -> str:
    claims = json.dumps(engine.issuer.claims(engine.clock.now(), exp=None)).encode()
    return signed(engine.issuer.keys[0], {}, claims[:-1] + b"," + claim + b"}")
