data "pymigrate_audit" "approvals" {
  subject    = pymigrate_run.warehouse.name
  action     = "approve"
  outcome    = "OK"
  start_time = "2026-01-01T00:00:00Z"
  events_max = 1000
  depends_on = [pymigrate_run_gate.warehouse]
}

check "approved_by_people" {
  assert {
    condition     = alltrue([for event in data.pymigrate_audit.approvals.events : startswith(event.principal, "oidc/")])
    error_message = "Somebody approved the run who is no person."
  }
}
