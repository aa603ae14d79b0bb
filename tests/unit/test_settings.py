"""Settings: read from the environment, bounded, and never an address that others can reach."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pymigrate.engine.main.kubernetes_settings import KubernetesSettings, owner_reference
from pymigrate.engine.settings import Settings

CERTIFICATE: dict[str, object] = {"tls_certificate": Path("/tls/tls.crt"), "tls_key": Path("/tls/tls.key")}


def test_everything_has_a_default_and_lies_in_the_home(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    assert settings.listen == "127.0.0.1:7433"
    assert settings.heartbeat_seconds * 3 <= settings.lease_seconds
    assert {settings.store_path, settings.token_path, settings.endpoint_path} == {
        tmp_path / "engine.db",
        tmp_path / "token",
        tmp_path / "endpoint",
    }
    assert Settings().home.is_absolute()


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYMIGRATE_LANES_MAX", "7")
    monkeypatch.setenv("PYMIGRATE_LOG_LEVEL", "debug")
    settings = Settings()
    assert (settings.lanes_max, settings.log_level) == (7, "debug")


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:7433", "localhost:1", "127.8.8.8:65535"])
def test_a_loopback_address_is_right(listen: str) -> None:
    assert Settings(listen=listen).listen == listen


def test_rest_is_served_only_where_somebody_asks_for_it_and_on_loopback(tmp_path: Path) -> None:
    assert Settings(home=tmp_path).rest_listen == ""
    assert Settings(rest_listen="[::1]:0").rest_listen == "[::1]:0"
    assert Settings(home=tmp_path).rest_endpoint_path == tmp_path / "rest-endpoint"
    with pytest.raises(ValidationError, match="loopback"):
        Settings(rest_listen="0.0.0.0:7434")


def test_metrics_have_an_address_of_their_own_only_where_somebody_asks_for_it_and_on_loopback(tmp_path: Path) -> None:
    assert Settings(home=tmp_path).metrics_listen == ""
    assert Settings(metrics_listen="127.0.0.1:7435").metrics_listen == "127.0.0.1:7435"
    assert Settings(home=tmp_path).metrics_endpoint_path == tmp_path / "metrics-endpoint"
    with pytest.raises(ValidationError, match="loopback"):
        Settings(metrics_listen="0.0.0.0:7435")
    with pytest.raises(ValidationError, match=r"127\.0\.0\.1:7435"):
        Settings(metrics_listen="127.0.0.1")


@pytest.mark.parametrize("listen", ["0.0.0.0:7433", "[::]:0", "10.1.2.3:7433", "[fd00::7]:7433", "localhost:0"])
@pytest.mark.parametrize("name", ["listen", "rest_listen", "metrics_listen"])
def test_with_a_certificate_any_address_is_listened_on(name: str, listen: str) -> None:
    assert getattr(Settings.model_validate(CERTIFICATE | {name: listen}), name) == listen


@pytest.mark.parametrize("name", ["listen", "rest_listen", "metrics_listen"])
def test_an_address_of_others_is_refused_without_a_certificate_with_what_to_set(name: str) -> None:
    with pytest.raises(ValidationError, match="set PYMIGRATE_TLS_CERTIFICATE and PYMIGRATE_TLS_KEY"):
        Settings.model_validate({name: "0.0.0.0:7433"})


@pytest.mark.parametrize("listen", ["example.com:1", "::1:7433", "[10.1.2.3]:1", "10.1.2.3", "10.1.2.3:\u0661", ":1"])
def test_a_certificate_makes_no_address_of_what_is_none(listen: str) -> None:
    with pytest.raises(ValidationError, match="no address"):
        Settings.model_validate(CERTIFICATE | {"listen": listen})


@pytest.mark.parametrize("name", CERTIFICATE)
def test_a_certificate_and_its_key_go_together(name: str) -> None:
    with pytest.raises(ValidationError, match="go together"):
        Settings.model_validate({name: "/tls/one.pem"})


def test_an_empty_variable_is_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("TLS_CERTIFICATE", "TLS_KEY", "CA_FILE", "TOKEN_FILE"):
        monkeypatch.setenv(f"PYMIGRATE_{name}", "")
    settings = Settings(home=tmp_path)
    assert (settings.tls_certificate, settings.tls_key, settings.ca_file) == (None, None, None)
    assert settings.token_path == tmp_path / "token"


def test_a_token_s_file_stands_in_place_of_the_home_s_and_is_not_told_to_what_the_engine_starts(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, token_file=Path("/secret/token"))
    assert settings.token_path == Path("/secret/token")
    assert settings.client_environment["PYMIGRATE_TOKEN_FILE"] == ""


def test_what_lets_the_engine_in_elsewhere_is_withheld_from_what_it_starts(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, store="postgresql://db/x", store_password="env://PASSWORD#key")
    assert {"PYMIGRATE_STORE", "PYMIGRATE_TOKEN", "PASSWORD"} <= settings.withheld_variables


@pytest.mark.parametrize("address", ["pymigrate.prod.svc:7433", "10.0.0.1:1", "[fd00::7]:65535"])
def test_what_is_advertised_is_a_host_and_a_port(address: str) -> None:
    assert Settings(advertise=address).advertise == address


@pytest.mark.parametrize("address", ["pymigrate", "a:0", "a:65536", "0.0.0.0:1", "[::]:1", "https://a:1", "fd00::7:1"])
def test_what_nobody_reaches_is_not_advertised(address: str) -> None:
    with pytest.raises(ValidationError, match="nothing that others reach"):
        Settings(advertise=address)


@pytest.mark.parametrize(
    "listen", ["0.0.0.0:1", "[::]:1", "example.com:1", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:65536", ":1", ""]
)
def test_an_address_that_others_can_reach_or_that_is_none_is_refused(listen: str) -> None:
    with pytest.raises(ValidationError, match=r"loopback|is no address"):
        Settings(listen=listen)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lanes_max", 0),
        ("lease_seconds", 0.5),
        ("heartbeat_seconds", 0.0),
        ("host_tasks_max", 0),
        ("log_level", "loud"),
        ("deliveries_kept_days", "0"),
    ],
)
def test_what_is_out_of_bounds_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValidationError, match=name):
        Settings.model_validate({name: value})


@pytest.mark.parametrize(
    "url", ["", "postgresql://engine@db:5432/store?sslmode=require", "postgres:///store?host=/run"]
)
def test_a_store_is_a_file_or_a_postgres(url: str) -> None:
    assert Settings(store=url).store == url


@pytest.mark.parametrize(
    "url",
    [
        "store",
        "mysql://db/store",
        "postgresql://db",
        "postgresql://db/",
        "postgresql://[x/y",
        "postgresql://db:x/store",
    ],
)
def test_a_store_that_is_neither_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="is no URL of a PostgreSQL"):
        Settings(store=url)


@pytest.mark.parametrize("url", ["postgresql://engine:s3cret@db/store", "postgresql://db/store?password=s3cret"])
def test_a_password_is_refused_in_the_url_and_shown_nowhere(url: str) -> None:
    with pytest.raises(ValidationError, match="holds a password") as refused:
        Settings(store=url)
    assert "s3cret" not in str(refused.value)


def test_the_password_of_the_store_is_a_reference() -> None:
    assert Settings(store_password="env://NAME").store_password == "env://NAME"
    with pytest.raises(ValidationError, match="is no reference") as refused:
        Settings(store_password="s3cret")
    assert "s3cret" not in str(refused.value)


def test_settings_do_not_change() -> None:
    settings = Settings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.lanes_max = 3


def test_nothing_is_traced_until_a_collector_is_named_and_hosts_are_told_of_it() -> None:
    assert Settings().host_environment == {}
    settings = Settings(otlp_endpoint="https://collector:4318", otlp_token="env://TOKEN", trace_ratio=0.25)
    assert settings.host_environment == {
        "PYMIGRATE_OTLP_ENDPOINT": "https://collector:4318",
        "PYMIGRATE_OTLP_TOKEN": "env://TOKEN",
        "PYMIGRATE_TRACE_RATIO": "0.25",
    }


@pytest.mark.parametrize("name", ["otlp_endpoint", "events_url", "lineage_url"])
@pytest.mark.parametrize(
    "address", ["collector:4318", "ftp://collector", "http://", "http://[::1", "http://me:secret@collector"]
)
def test_a_receiver_is_an_address_without_a_password(name: str, address: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(**{name: address})  # type: ignore[arg-type]  # pydantic checks them
    assert "secret@" not in str(refused.value)


@pytest.mark.parametrize("name", ["otlp_token", "events_token", "lineage_token"])
def test_a_receiver_s_token_is_a_reference(name: str) -> None:
    assert getattr(Settings(**{name: "file:///run/token#key"}), name) == "file:///run/token#key"  # type: ignore[arg-type]  # pydantic checks them
    with pytest.raises(ValidationError, match="no reference") as refused:
        Settings(**{name: "s3cret"})  # type: ignore[arg-type]  # pydantic checks them
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("name", ["", "Acme", "a/b", "-a", "a" * 64])
def test_what_an_engine_is_called_outside_is_a_plain_name(name: str) -> None:
    with pytest.raises(ValidationError):
        Settings(instance=name)


def test_the_share_of_traces_is_a_share() -> None:
    with pytest.raises(ValidationError):
        Settings(trace_ratio=1.5)


def test_messages_hold_links_only_where_somebody_says_where_they_lead() -> None:
    assert Settings().public_url == ""
    assert Settings(public_url="https://migrations.example.com/pm/").public_url == "https://migrations.example.com/pm"
    for wrong in (
        "migrations.example.com",
        "https://user:x@example.com",
        "https://example.com/?a=b",
        "ftp://example.com",
    ):
        with pytest.raises(ValidationError, match="public_url"):
            Settings(public_url=wrong)


def test_one_process_sends_messages_unless_more_or_none_are_asked_for() -> None:
    assert Settings().dispatchers == 1
    assert Settings(dispatchers=0).dispatchers == 0
    with pytest.raises(ValidationError, match="dispatchers"):
        Settings(dispatchers=17)


def test_what_messages_may_reach_besides_public_addresses_is_named_one_by_one() -> None:
    assert Settings().outgoing_allowed_parts == ()
    allowed = Settings(outgoing_allowed="10.0.0.0/8, ::1 ,mail.internal,127.0.0.1,localhost")
    assert allowed.outgoing_allowed_parts == ("10.0.0.0/8", "::1", "mail.internal", "127.0.0.1", "localhost")


@pytest.mark.parametrize(
    "wrong", ["10.0.0.1/8", "10.0.0.256", "https://mail.internal", "mail.internal:25", "a,,b", "*", "10.0.0"]
)
def test_what_is_no_network_address_or_host_is_refused(wrong: str) -> None:
    with pytest.raises(ValidationError, match="is no network, address or host"):
        Settings(outgoing_allowed=wrong)


def test_what_owns_jobs_is_said_whole_or_not_at_all() -> None:
    uid = "0f9c2f4e-8c63-4a55-9a3f-0e0a6f1f8f11"
    settings = KubernetesSettings(owner=f"apps/v1/StatefulSet/engine/{uid}")
    assert owner_reference(settings.owner)["uid"] == uid
    assert owner_reference(KubernetesSettings().owner) == {}
    with pytest.raises(ValidationError, match="apps/v1/StatefulSet"):
        KubernetesSettings(owner="StatefulSet/engine")


def test_the_settings_of_kubernetes_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYMIGRATE_KUBERNETES_NAMESPACE", "prod")
    monkeypatch.setenv("PYMIGRATE_KUBERNETES_MEMORY_BYTES", "500000000")
    settings = KubernetesSettings()
    assert (settings.namespace, settings.memory_bytes, settings.kubeconfig) == ("prod", 500_000_000, None)


def test_only_executors_that_there_are_can_be_named() -> None:
    assert Settings(executor="kubernetes").executor == "kubernetes"
    with pytest.raises(ValidationError):
        Settings(executor="nomad")


TLS = {"tls_certificate": "/tls/tls.crt", "tls_key": "/tls/tls.key"}
CLIENTS = TLS | {"tls_client_ca": "/tls/clients.crt"}


def told(given: dict[str, Any]) -> Settings:
    """Settings of texts, as the environment says them."""
    return Settings(**given)


def test_clients_show_certificates_over_tls_alone() -> None:
    assert told(CLIENTS | {"tls_client_required": "true", "tls_client_listen": "0.0.0.0:7436"}).tls_client_required
    with pytest.raises(ValidationError, match="over TLS alone"):
        told({"tls_client_ca": "/tls/clients.crt"})
    for contradiction in ({"tls_client_required": "true"}, {"tls_client_listen": "127.0.0.1:0"}):
        with pytest.raises(ValidationError, match="PYMIGRATE_TLS_CLIENT_CA"):
            told(TLS | contradiction)


def test_a_client_s_certificate_goes_with_its_key_and_reaches_what_the_engine_starts() -> None:
    for half in ({"client_certificate": "/c.crt"}, {"client_key": "/c.key"}):
        with pytest.raises(ValidationError, match="PYMIGRATE_CLIENT_KEY"):
            told(dict(half))
    given = told({"client_certificate": "/c.crt", "client_key": "/c.key"}).client_environment
    assert given["PYMIGRATE_CLIENT_CERTIFICATE"] == "/c.crt"
    assert Settings().client_environment["PYMIGRATE_CLIENT_KEY"] == ""


def test_trusted_proxies_are_networks() -> None:
    assert Settings(trusted_proxies="10.0.0.0/8, ::1").trusted_proxies_parts == ("10.0.0.0/8", "::1")
    assert Settings().trusted_proxies_parts == ()
    for wrong in ("proxy.internal", "10.0.0.1/8", "*", "a,,b"):
        with pytest.raises(ValidationError, match="is no network or address"):
            Settings(trusted_proxies=wrong)
