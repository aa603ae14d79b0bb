# What a migration costs the business is known before it runs: the run is refused where it would break what was agreed.
terraform {
  required_version = ">= 1.5" # check blocks

  required_providers {
    pymigrate = {
      source = "pymigrate/pymigrate"
    }
  }
}

variable "legacy" {
  type        = string
  description = "Absolute path of the folder that holds the departments' systems."
}

variable "warehouse" {
  type        = string
  description = "Absolute path of the warehouse's DuckDB file; it is created where it is missing."
}

variable "cost_max" {
  type        = number
  description = "What the downtime may cost in nine of ten cases, in euros, before `terraform plan` warns."
  default     = 10000
}

variable "rto_seconds" {
  type        = number
  description = "The longest outage of the flight operations' system that is borne at once, in seconds."
  default     = 14400
}

# The engine is found through PYMIGRATE_HOME, or the default home.
provider "pymigrate" {
  # `terraform plan` warns of a changed phase whose downtime rises by more than a tenth, and of one that misses its window.
  downtime_increase_share_max = 0.1
}

resource "pymigrate_environment" "impact" {
  environment_id = "impact"
  display_name   = "Impact"
}

resource "pymigrate_department" "operations" {
  environment          = pymigrate_environment.impact.name
  department_id        = "operations"
  owner                = "Flight Operations"
  users                = 300
  read_only_cost_share = 0.25

  downtime_cost_per_hour = {
    currency_code = "EUR"
    amount        = 20000
  }

  systems = {
    dispatch = {
      description          = "Who flies when, and how late"
      connection           = pymigrate_connection.operations.connection_id
      criticality          = "high"
      rto_seconds          = var.rto_seconds
      availability_percent = 99
    }
  }
}

# It moves nothing, but its crew planning needs what the flight operations run.
resource "pymigrate_department" "crew" {
  environment   = pymigrate_environment.impact.name
  department_id = "crew"
  owner         = "Crew Planning"
  users         = 80

  downtime_cost_per_hour = {
    currency_code = "EUR"
    amount        = 3000
  }

  systems = {
    rosters = {
      description  = "Who works on which flight"
      criticality  = "medium"
      dependencies = ["operations/dispatch"]
    }
  }
}

resource "pymigrate_connection" "operations" {
  environment   = pymigrate_environment.impact.name
  connection_id = "operations"
  files         = { root = "${var.legacy}/operations" }
}

resource "pymigrate_connection" "warehouse" {
  environment   = pymigrate_environment.impact.name
  connection_id = "warehouse"
  duckdb        = { path = var.warehouse }
}

resource "pymigrate_plan" "flights" {
  environment  = pymigrate_environment.impact.name
  plan_id      = "flights"
  display_name = "Flights into the warehouse"
}

resource "pymigrate_phase" "flights" {
  plan            = pymigrate_plan.flights.name
  phase_id        = "flights"
  department      = pymigrate_department.operations.department_id
  downtime_policy = "offline"

  datasets = {
    flights = {
      source       = { connection = pymigrate_connection.operations.connection_id, relation = "flights.csv" }
      target       = { connection = pymigrate_connection.warehouse.connection_id, relation = "flights" }
      verification = "full"

      # What impact analysis goes by where nothing can be measured.
      declared = { rows = 340000, bytes = 31000000 }
    }
  }
}

# While a phase is not applied yet, or is about to change, Terraform puts the reading off to the apply.
data "pymigrate_impact" "flights" {
  plan              = pymigrate_plan.flights.name
  draws             = 100
  seed              = 1
  probe_seconds_max = 10
  depends_on        = [pymigrate_phase.flights]
}

# A check warns and stops nothing.
check "cost" {
  assert {
    condition     = data.pymigrate_impact.flights.summary.costs["EUR"].p90 <= var.cost_max
    error_message = "The downtime costs more than ${var.cost_max} EUR in one of ten cases."
  }
}

resource "pymigrate_run" "flights" {
  plan     = pymigrate_plan.flights.name
  triggers = { flights = pymigrate_phase.flights.definition_hash }

  # A precondition refuses: nothing runs that would break what was agreed.
  lifecycle {
    precondition {
      condition     = data.pymigrate_impact.flights.summary.rating != "critical"
      error_message = join(" ", data.pymigrate_impact.flights.summary.reasons)
    }
  }
}

resource "pymigrate_run_gate" "flights" {
  run             = pymigrate_run.flights.name
  timeout_seconds = 900
}

# Figures change with what is measured and learned; Terraform shows a plan in which they did.
output "rating" {
  value = data.pymigrate_impact.flights.summary.rating
}

output "downtime_seconds" {
  value = { for name, phase in data.pymigrate_impact.flights.phases : name => phase.downtime_seconds }
}

output "departments" {
  value = { for name, department in data.pymigrate_impact.flights.departments : name => {
    users = department.users
    hit   = [for system in department.systems : "${system.system} (${system.effect})"]
  } }
}
