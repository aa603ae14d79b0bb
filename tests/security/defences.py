"""The attack classes that PyMigrate is built against: of each the line that defends, how it is taken out, and the test that then fails.

SECURITY.md tells the same for people; `test_defences.py` holds both to each other and to the code.
"""

from dataclasses import dataclass

ENGINE = "engine/pymigrate/engine"


@dataclass(frozen=True, slots=True)
class Defence:
    """One attack class. `file` is below the engine's package, `line` stands in it once, `without` is what is left when it is taken out."""

    attack: str
    file: str
    line: str
    without: str
    test: str


DEFENCES = (
    Defence(
        "A made-up credential",
        "entrypoints/identity.py",
        """        raise Unauthenticated(
            "the token is not this engine's, nor""",
        """        return Identity(PRINCIPAL)
        raise Unauthenticated(
            "the token is not this engine's, nor""",
        "tests/integration/engine/test_server.py::test_a_call_without_the_token_is_refused",
    ),
    Defence(
        "A forged or changed short token",
        "application/short_tokens.py",
        "if not hmac.compare_digest(mac, self._mac(expiry, token_id)):",
        "if False:",
        "tests/integration/engine/test_short_tokens.py::test_no_changed_character_of_a_token_is_overlooked",
    ),
    Defence(
        "A token that has ended, or was ended",
        "application/short_tokens.py",
        "if now >= self._ends.get(",
        "if False and now >= self._ends.get(",
        "tests/integration/engine/test_short_tokens.py::test_a_token_that_is_ended_is_refused_at_once_by_the_next_engine_too",
    ),
    Defence(
        "A JWT of another issuer, audience or time",
        "adapters/identity/oidc.py",
        "        check_audience(claims, self._terms.audience)\n",
        "",
        "tests/security/test_forged_tokens.py::test_a_token_for_another_audience_lets_nobody_in",
    ),
    Defence(
        "A method that a role does not hold",
        "domain/access.py",
        "return any(permission in ALLOWED[grant.role] and grant.covers(place) for grant in grants)",
        "return any(grant.covers(place) for grant in grants)",
        "tests/security/test_roles.py::test_a_role_lets_in_exactly_where_the_table_says",
    ),
    Defence(
        "A role of one environment used in another",
        "domain/access.py",
        "        if place.environment != self.environment:\n            return False\n",
        "",
        "tests/security/test_roles.py::test_a_role_lets_in_exactly_where_the_table_says",
    ),
    Defence(
        "A role for one plan used for another",
        "domain/access.py",
        "return not self.plans or place.plan in self.plans",
        "return True",
        "tests/security/test_roles.py::test_a_role_lets_in_exactly_where_the_table_says",
    ),
    Defence(
        "A role that somebody gives itself",
        "entrypoints/method_rules.py",
        '"CreateRoleBinding": _everywhere(ADMINISTER',
        '"CreateRoleBinding": _anywhere(ADMINISTER',
        "tests/security/test_role_bindings.py::test_an_admin_of_one_environment_gives_itself_nothing_more",
    ),
    Defence(
        "A worker host that calls for another",
        "entrypoints/authorized.py",
        "        _require_own(asked)\n",
        "",
        "tests/security/test_roles.py::test_a_host_that_the_engine_started_calls_for_itself_alone",
    ),
    Defence(
        "An object that goes since a file declares it no longer",
        "application/access/declaring.py",
        "    for each in changes:",
        "    for each in list(changes)[:0]:",
        "tests/security/test_role_bindings.py::test_what_is_declared_no_longer_is_deleted_only_by_who_may",
    ),
    Defence(
        "An environment that inherits what its admin may not read",
        "entrypoints/method_rules.py",
        "            yield Demand((READ,), place_of_environment(base))\n",
        "            del base\n",
        "tests/security/test_roles.py::test_an_environment_gets_only_bases_that_its_admin_may_read",
    ),
    Defence(
        "A page of metrics for who may read one environment",
        "entrypoints/rest/metrics.py",
        'Authorizer(who, self._grants_of(who)).require((Permission.READ,), EVERYWHERE, "read the page of metrics")',
        "del who",
        "tests/security/test_metrics_page.py::test_the_page_is_for_who_may_read_everything",
    ),
    Defence(
        "A worker host's token that was taken from it",
        "application/host_tokens.py",
        "if self._clock.now().timestamp() >= end:",
        "if False:",
        "tests/security/test_host_tokens.py::test_a_token_says_which_host_it_is_for_and_ends",
    ),
    Defence(
        "A host that reports another's lane",
        "application/lane_credentials.py",
        "not hmac.compare_digest(mac, self._mac(host, lease.task_id, lease.fence, end))",
        "False",
        "tests/security/test_lane_credentials.py::test_without_its_credential_a_task_is_neither_reported_nor_ended_nor_kept",
    ),
    Defence(
        "A lane's credential after its lease",
        "application/lane_credentials.py",
        "return self._clock.now() < ",
        "return END.size > 0 or self._clock.now() < ",
        "tests/security/test_lane_credentials.py::test_the_credential_that_came_with_a_task_is_good_for_it_until_its_lease_ends",
    ),
    Defence(
        "An approval by who wrote what is run",
        "application/authors.py",
        "if revision.policy.authors_excluded and ",
        "if not revision.policy.authors_excluded and ",
        "tests/security/test_four_eyes.py::test_who_has_written_a_plan_opens_no_gate_of_its_run",
    ),
    Defence(
        "A zombie that writes under an old fence",
        "adapters/connectors/target_sql.py",
        "if self._execute(self.statements.claim, (fence, staging.id, lane, fence)) != 1:",
        "if self._execute(self.statements.claim, (fence, staging.id, lane, fence)) > 1:",
        "tests/integration/connectors/test_sqlite_target.py::TestSqliteLanes::test_a_claim_needs_a_fence_above_every_one_before",
    ),
    Defence(
        "An approval by who started the run",
        "application/run_approvals.py",
        "if caller.principal == revision.starter or is_operators:",
        "if False:",
        "tests/unit/application/test_policies.py::test_who_started_a_run_does_not_approve_it",
    ),
    Defence(
        "A caller that floods the engine",
        "entrypoints/call_limits.py",
        "if use.under_way[is_stream] >= most:",
        "if False:",
        "tests/unit/test_call_limits.py::test_a_principal_has_no_more_calls_under_way_than_it_may",
    ),
    Defence(
        "A call that never ends",
        "entrypoints/call_limits.py",
        "asyncio.timeout(None if asked.is_stream else CALL_SECONDS_MAX)",
        "asyncio.timeout(None)",
        "tests/unit/test_call_limits.py::test_a_call_that_nobody_gave_a_deadline_ends_all_the_same",
    ),
    Defence(
        "A body that is too large or too deep",
        "entrypoints/rest/requests.py",
        "if _is_deeper(data, DEPTH_MAX):",
        "if False:",
        "tests/unit/rest/test_requests.py::test_a_body_that_does_not_fit_is_refused_with_the_place",
    ),
    Defence(
        "A YAML bomb",
        "application/gitops/yaml_events.py",
        'builder.refuse(line, column, "aliases are not allowed: write the value out")',
        "pass",
        "tests/unit/application/gitops/test_documents.py::test_an_alias_bomb_is_refused_before_it_is_built",
    ),
    Defence(
        "An outgoing address that leads inside (SSRF)",
        "adapters/channels/addresses.py",
        "return _objection(address if embedded is None else embedded)",
        'return ""',
        "tests/unit/channels/test_addresses.py::test_what_is_not_of_the_public_internet_is_refused",
    ),
    Defence(
        "A redirect to somewhere else",
        "adapters/calls.py",
        "follow_redirects=False",
        "follow_redirects=True",
        "tests/contract/test_calls.py::test_a_refusal_is_for_good_and_a_redirect_is_not_followed",
    ),
    Defence(
        "A repository with links that lead out",
        "adapters/git/objects.py",
        "if entry.mode in {LINK, SUBMODULE}:",
        "if entry.mode in {SUBMODULE}:",
        "tests/integration/git/test_hardening.py::test_a_link_in_the_folder_is_refused_by_its_path",
    ),
    Defence(
        "A template that leaves its sandbox",
        "adapters/rendering/sandbox.py",
        "            return getattr(obj, attribute)\n        return _no_fields(obj, attribute)",
        "            return getattr(obj, attribute)\n        return getattr(obj, attribute, None)",
        "tests/security/test_templates.py::test_nothing_of_the_program_is_read",
    ),
    Defence(
        "A name that ends its quotes (SQL injection)",
        "adapters/connectors/target_statements.py",
        """return '"' + identifier.replace('"', '""') + '"'""",
        """return '"' + identifier + '"'""",
        "tests/unit/connectors/test_target_statements.py::test_a_quoted_name_cannot_end_early",
    ),
    Defence(
        "A pattern that takes for ever (ReDoS)",
        "adapters/patterns.py",
        "import re2\n",
        "import re as re2\n",
        "tests/unit/test_patterns.py::test_what_is_no_pattern_of_re2_or_takes_too_much_memory_is_refused_with_why",
    ),
    Defence(
        "A secret that shows in an error or a log",
        "ports/redaction.py",
        "return _without(raw, spans).decode(*ENCODING) if spans else text",
        "return text",
        "tests/unit/test_redaction.py::test_a_value_is_taken_out_in_every_spelling",
    ),
    Defence(
        "A reference to a file outside its folder",
        "adapters/secrets/file.py",
        "if self._root and not real.is_relative_to(Path(self._root).resolve()):",
        "if False:",
        "tests/unit/secrets/test_files.py::test_nothing_leads_out_of_the_root",
    ),
    Defence(
        "A webhook that nobody signed",
        "application/gitops/webhook_signatures.py",
        'return hmac.compare_digest(given.encode(errors="replace"), wanted.encode("utf-8", "surrogatepass"))',
        "return True",
        "tests/unit/application/gitops/test_webhook_signatures.py::test_a_flipped_bit_is_refused",
    ),
    Defence(
        "A webhook that is posted again",
        "application/gitops/webhooks.py",
        "if looked.is_known or self._deliveries.is_known(delivery):",
        "if False:",
        "tests/unit/application/gitops/test_webhooks.py::test_a_repeated_delivery_is_known_and_rings_nothing",
    ),
    Defence(
        "A link that acknowledges another message",
        "application/acknowledging.py",
        "if not hmac.compare_digest(mac, self._mac(named.encode(), expiry)) or named != name:",
        "if False:",
        "tests/integration/engine/test_signed_calls.py::test_a_signature_that_is_not_right_lets_nobody_in",
    ),
    Defence(
        "An engine that others reach without TLS",
        "settings.py",
        "    if not has_tls:\n",
        "    if False:\n",
        "tests/unit/test_settings.py::test_an_address_of_others_is_refused_without_a_certificate_with_what_to_set",
    ),
    Defence(
        "An audit trail that somebody altered",
        "domain/audit_verification.py",
        "if place == before + 1 and sha256(previous + canonical(entry)).digest() == entry[-1]:",
        "if place == before + 1:",
        "tests/integration/store/test_audit_faults.py::test_an_altered_entry_is_found_and_named",
    ),
    Defence(
        "An export of the trail that somebody altered",
        "application/audit/exported.py",
        "self._verifying().entries((as_written(entry_of(content)),))",
        "as_written(entry_of(content))",
        "tests/unit/application/audit/test_exported.py::test_what_is_altered_in_a_file_is_named",
    ),
    Defence(
        "A refused call that leaves no trace",
        "entrypoints/noted_calls.py",
        "await noting.refused(_noted_call(method, request), code_of(error).name)",
        "del noting, method, request, error",
        "tests/unit/test_noted_calls.py::test_a_call_that_is_refused_is_noted_with_its_status_and_stays_refused",
    ),
    Defence(
        "Refusals that fill the store",
        "application/audit/noting.py",
        "if not told.bucket.take(now):",
        "if False:",
        "tests/unit/application/audit/test_noting.py::test_a_flood_of_refusals_is_counted_instead_of_stored",
    ),
    Defence(
        "A sensitive read that nobody hears of",
        "entrypoints/noted_calls.py",
        "        if is_sensitive:\n",
        "        if False:\n",
        "tests/unit/test_noted_calls.py::test_a_sensitive_read_is_noted_before_it_is_answered",
    ),
    Defence(
        "A key that is taken for another algorithm",
        "adapters/identity/oidc.py",
        "if not isinstance(algorithm, str) or algorithm not in self._terms.algorithms:",
        "if not isinstance(algorithm, str):",
        "tests/security/test_forged_tokens.py::test_an_algorithm_that_is_not_allowed_is_refused_although_the_key_would_do",
    ),
    Defence(
        "A service's token that was changed or rotated out",
        "application/access/service_tokens.py",
        "is_this = hmac.compare_digest(digest, self.digest) and",
        "is_this = True and",
        "tests/unit/application/access/test_service_tokens.py::test_a_token_of_another_service_or_one_that_was_changed_lets_nobody_in",
    ),
    Defence(
        "A cluster's token for somebody else",
        "adapters/identity/kubernetes_tokens.py",
        "        check_audience(shown.claims, self._audience)\n",
        "",
        "tests/unit/kubernetes/test_kubernetes_tokens.py::test_the_cluster_is_not_asked_about_a_token_for_somebody_else_or_without_an_end",
    ),
    Defence(
        "A made-up address of origin",
        "entrypoints/origins.py",
        "return any(address in network for network in self._trusted)",
        "return True",
        "tests/security/test_forged_origins.py::test_nobody_says_where_it_calls_from",
    ),
    Defence(
        "A trail whose end is cut off",
        "domain/audit_verification.py",
        '        elif place < sealed.place:\n            said = f"the chain ends',
        '        elif False:\n            said = f"the chain ends',
        "tests/integration/store/test_audit_faults.py::test_the_sealed_end_of_a_chain_can_not_be_cut_off",
    ),
    Defence(
        "A certificate that has ended, on a connection that goes on",
        "entrypoints/client_certificates.py",
        "if not begins <= now < ends:",
        "if False:",
        "tests/security/test_client_certificates.py::test_a_connection_does_not_outlive_its_certificate",
    ),
    Defence(
        "An entry of the trail that is altered",
        "domain/audit_verification.py",
        "if place == before + 1 and sha256(previous + canonical(entry)).digest() == entry[-1]:",
        "if place == before + 1:",
        "tests/integration/store/test_audit_faults.py::test_an_altered_entry_is_found_and_named",
    ),
    Defence(
        "An entry of the trail that is removed, or put elsewhere",
        "domain/audit_verification.py",
        "if place == before + 1 and sha256(previous + canonical(entry)).digest() == entry[-1]:",
        "if True:",
        "tests/integration/store/test_audit_faults.py::test_entries_that_changed_places_are_found",
    ),
    Defence(
        "A seal that somebody else made",
        "domain/audit_verification.py",
        "        if said := self._trouble(seal, heads):\n            self._fault = Fault(FaultKind.SEAL_BROKEN",
        "        if (said := self._trouble(seal, heads)) and False:\n            self._fault = Fault(FaultKind.SEAL_BROKEN",
        "tests/integration/store/test_audit_faults.py::test_what_is_sealed_with_another_key_is_no_seal",
    ),
    Defence(
        "A connection to the engine's own files",
        "adapters/engine_homes.py",
        "if all((folder / mark).exists() for mark in MARKS):",
        "if False:",
        "tests/security/test_engine_homes.py::test_nor_is_its_store_read",
    ),
)
