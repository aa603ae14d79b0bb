# Who is told what of a migration: people with their roles and addresses, ways out, words, duty, and rules that bring them together.
terraform {
  required_providers {
    pymigrate = {
      source = "pymigrate/pymigrate"
    }
  }
}

variable "smtp_host" {
  type        = string
  description = "Host of the mail server. One within a private network must be allowed by the engine's PYMIGRATE_OUTGOING_ALLOWED."
}

variable "smtp_port" {
  type        = number
  description = "Port of the mail server."
  default     = 587
}

variable "incidents_url" {
  type        = string
  description = "Where incidents are posted to, as CloudEvents with a signature."
}

variable "rehearsals" {
  type        = object({ start = string, end = string })
  description = "When rehearsals are not told of, RFC 3339, at most 90 days."
  default     = { start = "2030-01-01T00:00:00Z", end = "2030-01-31T00:00:00Z" }
}

# The engine is found through PYMIGRATE_HOME, or the default home.
provider "pymigrate" {}

resource "pymigrate_environment" "prod" {
  environment_id = "prod"
  display_name   = "Production"
}

resource "pymigrate_department" "sales" {
  environment   = pymigrate_environment.prod.name
  department_id = "sales"
  owner         = "Sales"
}

# What is secret is a reference: the engine reads it when it sends.
resource "pymigrate_notification_channel" "mail" {
  environment             = pymigrate_environment.prod.name
  notification_channel_id = "mail"
  display_name            = "Mail"
  messages_per_minute_max = 600

  smtp = {
    host     = var.smtp_host
    port     = var.smtp_port
    username = "pymigrate"
    password = "env://SMTP_PASSWORD"
    sender   = "PyMigrate <migrations@example.com>"
  }
}

resource "pymigrate_notification_channel" "incidents" {
  environment             = pymigrate_environment.prod.name
  notification_channel_id = "incidents"
  display_name            = "Incidents"

  webhook = {
    url         = var.incidents_url
    signing_key = "env://INCIDENTS_KEY"
  }
}

locals {
  # One line for each person: a changed address is one changed line of the plan.
  people = {
    ada = { name = "Ada Meyer", roles = ["executive"], locale = "de-CH", zone = "Europe/Zurich", mail = "ada@example.com" }
    ben = { name = "Ben Okafor", roles = ["owner"], locale = "en", zone = "Europe/London", mail = "ben@example.com" }
    cho = { name = "Cho Lee", roles = ["operator", "engineer"], locale = "en", zone = "Asia/Seoul", mail = "cho@example.com" }
    dia = { name = "Dia Rossi", roles = ["operator", "engineer"], locale = "en", zone = "Europe/Rome", mail = "dia@example.com" }
  }
}

resource "pymigrate_stakeholder" "people" {
  for_each       = local.people
  environment    = pymigrate_environment.prod.name
  stakeholder_id = each.key
  display_name   = each.value.name
  roles          = each.value.roles
  departments    = contains(each.value.roles, "owner") ? [pymigrate_department.sales.department_id] : null
  locale         = each.value.locale
  time_zone      = each.value.zone

  addresses = {
    mail = {
      channel = pymigrate_notification_channel.mail.notification_channel_id
      to      = each.value.mail
    }
    # The webhook has its URL; only what somebody must act upon goes there.
    incidents = {
      channel      = pymigrate_notification_channel.incidents.notification_channel_id
      severity_min = "error"
    }
  }

  # What is critical is told all the same.
  quiet_hours = {
    nights   = { start = "22:00", end = "07:00", days = ["mon", "tue", "wed", "thu", "fri"] }
    weekends = { start = "00:00", end = "00:00", days = ["sat", "sun"] }
  }

  # Whoever leaves is taken out of schedules and rules first, and deleted then.
  lifecycle {
    create_before_destroy = true
  }
}

resource "pymigrate_on_call_schedule" "operators" {
  environment         = pymigrate_environment.prod.name
  on_call_schedule_id = "operators"
  display_name        = "Operators on duty"
  time_zone           = "Europe/Rome"

  rotations = {
    week = {
      stakeholders = [
        pymigrate_stakeholder.people["cho"].stakeholder_id,
        pymigrate_stakeholder.people["dia"].stakeholder_id,
      ]
      start_time = "2026-01-05T08:00:00+01:00"
      turn_days  = 7
    }
  }

  overrides = {
    carnival = {
      stakeholder = pymigrate_stakeholder.people["dia"].stakeholder_id
      start_time  = "2027-02-04T08:00:00+01:00"
      end_time    = "2027-02-11T08:00:00+01:00"
    }
  }
}

# A template is refused where it does not render for every type of event that it is for.
resource "pymigrate_notification_template" "failures" {
  environment              = pymigrate_environment.prod.name
  notification_template_id = "failures"
  display_name             = "What failed"
  types                    = ["phase.failed", "run.failed"]

  texts = {
    english = {
      subject = "{{ event.plan }}: {{ event.type }}"
      body    = <<-TEXT
        {{ event.subject }} went from {{ event.from_state }} to {{ event.to_state }}.
        {% if event.failure %}{{ event.failure.message }}{% endif %}
      TEXT
    }
    german = {
      locale  = "de"
      subject = "{{ event.plan }}: {{ event.type }}"
      body    = <<-TEXT
        {{ event.subject }} ist jetzt {{ event.to_state }}.
        {% if event.failure %}{{ event.failure.message }}{% endif %}
      TEXT
    }
  }
}

# What fails is told to whoever is on duty, and to the department's owners when nobody acknowledges within a quarter of an hour.
resource "pymigrate_alert_rule" "failures" {
  environment         = pymigrate_environment.prod.name
  alert_rule_id       = "failures"
  display_name        = "What fails"
  order               = 1
  continues           = true
  match               = { types = ["phase.failed", "run.failed"] }
  recipients          = { on_call_schedules = [pymigrate_on_call_schedule.operators.on_call_schedule_id] }
  template            = pymigrate_notification_template.failures.notification_template_id
  group_by            = ["run"]
  group_wait_seconds  = 10
  confirm_seconds_max = 60

  escalations = [
    { after_seconds = 900, recipients = { includes_owners = true } },
    { after_seconds = 1800, recipients = { roles = ["executive"] } },
  ]
}

# Figures that leave their bounds while a run goes on.
resource "pymigrate_alert_rule" "errors" {
  environment             = pymigrate_environment.prod.name
  alert_rule_id           = "errors"
  display_name            = "Too many errors"
  order                   = 2
  continues               = true
  match                   = { kpi = { figure = "errors.rate", is_above = true, bound = 0.01, hold_seconds = 30 } }
  recipients              = { roles = ["operator"] }
  severity                = "warning"
  repeat_interval_seconds = 3600
}

resource "pymigrate_alert_rule" "drift" {
  environment   = pymigrate_environment.prod.name
  alert_rule_id = "drift"
  display_name  = "Off its estimate"
  order         = 3
  continues     = true
  match         = { drift_min = 0.25 }
  recipients    = { roles = ["operator"], includes_owners = true }
}

resource "pymigrate_alert_rule" "window" {
  environment   = pymigrate_environment.prod.name
  alert_rule_id = "window"
  display_name  = "A window is about to close"
  order         = 4
  continues     = true
  match         = { window_closes_seconds = 1800 }
  recipients    = { on_call_schedules = [pymigrate_on_call_schedule.operators.on_call_schedule_id] }
  severity      = "error"
}

# Executives read once a day what ended.
resource "pymigrate_alert_rule" "digest" {
  environment   = pymigrate_environment.prod.name
  alert_rule_id = "digest"
  display_name  = "The day in one mail"
  order         = 5
  match         = { types = ["run.*"] }
  recipients    = { roles = ["executive"] }
  digest        = { times = ["08:00"], days = ["mon", "tue", "wed", "thu", "fri"] }
}

# Below the rule of failures: those of sales reach its owner too.
resource "pymigrate_alert_rule" "sales" {
  environment           = pymigrate_environment.prod.name
  alert_rule_id         = "sales"
  parent_rule           = pymigrate_alert_rule.failures.alert_rule_id
  match                 = { departments = [pymigrate_department.sales.department_id] }
  recipients            = { stakeholders = [pymigrate_stakeholder.people["ben"].stakeholder_id] }
  messages_per_hour_max = 4
  duplicate_seconds     = 600
}

resource "pymigrate_silence" "rehearsals" {
  environment = pymigrate_environment.prod.name
  silence_id  = "rehearsals"
  reason      = "Rehearsals fail on purpose."
  match       = { plans = ["rehearsal-*"] }
  start_time  = var.rehearsals.start
  end_time    = var.rehearsals.end
}
