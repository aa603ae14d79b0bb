resource "pymigrate_alert_rule" "failures" {
  environment         = pymigrate_environment.prod.name
  alert_rule_id       = "failures"
  continues           = true
  match               = { types = ["phase.failed", "run.failed"] }
  recipients          = { on_call_schedules = [pymigrate_on_call_schedule.owners.on_call_schedule_id] }
  template            = pymigrate_notification_template.failures.notification_template_id
  group_by            = ["run"]
  group_wait_seconds  = 10
  confirm_seconds_max = 60
  escalations         = [{ after_seconds = 900, recipients = { roles = ["executive"] } }]
}

# A figure beyond its bound while a run goes on.
resource "pymigrate_alert_rule" "errors" {
  environment   = pymigrate_environment.prod.name
  alert_rule_id = "errors"
  match         = { kpi = { figure = "errors.rate", is_above = true, bound = 0.01, hold_seconds = 30 } }
  recipients    = { roles = ["operator"], includes_owners = true }
  severity      = "warning"
}
