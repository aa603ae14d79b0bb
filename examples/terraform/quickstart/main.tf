# Five departments' legacy systems become one warehouse. Flights wait for what they refer to: airlines, airports and planes.
terraform {
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

# The engine is found through PYMIGRATE_HOME, or the default home.
provider "pymigrate" {}

resource "pymigrate_environment" "quickstart" {
  environment_id = "quickstart"
  display_name   = "Quickstart"
}

locals {
  departments = {
    commercial  = { owner = "Revenue Office", users = 40, cost = 1200 }
    facilities  = { owner = "Airport Relations", users = 15, cost = 300 }
    engineering = { owner = "Fleet Engineering", users = 120, cost = 5000 }
    meteorology = { owner = "Weather Desk", users = 25, cost = 800 }
    operations  = { owner = "Flight Operations", users = 300, cost = 20000 }
  }
}

resource "pymigrate_department" "all" {
  for_each      = local.departments
  environment   = pymigrate_environment.quickstart.name
  department_id = each.key
  owner         = each.value.owner
  users         = each.value.users

  downtime_cost_per_hour = {
    currency_code = "EUR"
    amount        = each.value.cost
  }
}

resource "pymigrate_connection" "commercial" {
  environment   = pymigrate_environment.quickstart.name
  connection_id = "commercial"
  sqlite        = { path = "${var.legacy}/commercial.db" }
}

resource "pymigrate_connection" "facilities" {
  environment   = pymigrate_environment.quickstart.name
  connection_id = "facilities"
  files         = { root = "${var.legacy}/facilities" }
}

resource "pymigrate_connection" "engineering" {
  environment   = pymigrate_environment.quickstart.name
  connection_id = "engineering"
  sqlite        = { path = "${var.legacy}/engineering.db" }
}

resource "pymigrate_connection" "meteorology" {
  environment   = pymigrate_environment.quickstart.name
  connection_id = "meteorology"
  files         = { root = "${var.legacy}/meteorology" }
}

resource "pymigrate_connection" "operations" {
  environment   = pymigrate_environment.quickstart.name
  connection_id = "operations"
  files         = { root = "${var.legacy}/operations" }
}

resource "pymigrate_connection" "warehouse" {
  environment   = pymigrate_environment.quickstart.name
  connection_id = "warehouse"
  duckdb        = { path = var.warehouse }
}

resource "pymigrate_plan" "warehouse" {
  environment  = pymigrate_environment.quickstart.name
  plan_id      = "warehouse"
  display_name = "One warehouse for all departments"
}

resource "pymigrate_phase" "airlines" {
  plan       = pymigrate_plan.warehouse.name
  phase_id   = "airlines"
  department = pymigrate_department.all["commercial"].department_id

  datasets = {
    airlines = {
      source       = { connection = pymigrate_connection.commercial.connection_id, relation = "airlines" }
      target       = { connection = pymigrate_connection.warehouse.connection_id, relation = "airlines" }
      verification = "full"
    }
  }
}

resource "pymigrate_phase" "airports" {
  plan       = pymigrate_plan.warehouse.name
  phase_id   = "airports"
  department = pymigrate_department.all["facilities"].department_id

  datasets = {
    airports = {
      source       = { connection = pymigrate_connection.facilities.connection_id, relation = "airports.jsonl" }
      target       = { connection = pymigrate_connection.warehouse.connection_id, relation = "airports" }
      key          = ["faa"]
      verification = "full"
    }
  }
}

resource "pymigrate_phase" "planes" {
  plan       = pymigrate_plan.warehouse.name
  phase_id   = "planes"
  department = pymigrate_department.all["engineering"].department_id

  datasets = {
    planes = {
      source       = { connection = pymigrate_connection.engineering.connection_id, relation = "planes" }
      target       = { connection = pymigrate_connection.warehouse.connection_id, relation = "planes" }
      verification = "full"
    }
  }
}

resource "pymigrate_phase" "weather" {
  plan       = pymigrate_plan.warehouse.name
  phase_id   = "weather"
  department = pymigrate_department.all["meteorology"].department_id

  datasets = {
    weather = {
      source       = { connection = pymigrate_connection.meteorology.connection_id, relation = "weather.parquet" }
      target       = { connection = pymigrate_connection.warehouse.connection_id, relation = "weather" }
      verification = "full"
    }
  }
}

resource "pymigrate_phase" "flights" {
  plan       = pymigrate_plan.warehouse.name
  phase_id   = "flights"
  department = pymigrate_department.all["operations"].department_id
  dependencies = [
    pymigrate_phase.airlines.phase_id,
    pymigrate_phase.airports.phase_id,
    pymigrate_phase.planes.phase_id,
  ]

  datasets = {
    flights = {
      source = {
        connection = pymigrate_connection.operations.connection_id
        relation   = "flights.csv"
        csv        = { null_values = ["NA"] }
        columns = {
          year           = { type = "int32" }
          month          = { type = "int32" }
          day            = { type = "int32" }
          dep_time       = { type = "int32" }
          sched_dep_time = { type = "int32" }
          dep_delay      = { type = "int32" }
          arr_time       = { type = "int32" }
          sched_arr_time = { type = "int32" }
          arr_delay      = { type = "int32" }
          flight         = { type = "int32" }
          air_time       = { type = "int32" }
          distance       = { type = "int32" }
          hour           = { type = "int32" }
          minute         = { type = "int32" }
          time_hour      = { type = "timestamptz" }
        }
      }
      target = { connection = pymigrate_connection.warehouse.connection_id, relation = "flights" }

      # What refers to nothing is reported in the run's record; every flight arrives.
      references = {
        carrier = { columns = ["carrier"], relation = "airlines", relation_columns = ["carrier"] }
        origin  = { columns = ["origin"], relation = "airports", relation_columns = ["faa"] }
        dest    = { columns = ["dest"], relation = "airports", relation_columns = ["faa"] }
        plane   = { columns = ["tailnum"], relation = "planes", relation_columns = ["tailnum"] }
      }

      verification = "full"
      chunk_bytes  = 4000000
    }
  }
}

# Returns once the engine has accepted the run. A phase that moves something else makes it another run.
resource "pymigrate_run" "warehouse" {
  plan = pymigrate_plan.warehouse.name

  triggers = {
    airlines = pymigrate_phase.airlines.definition_hash
    airports = pymigrate_phase.airports.definition_hash
    planes   = pymigrate_phase.planes.definition_hash
    weather  = pymigrate_phase.weather.definition_hash
    flights  = pymigrate_phase.flights.definition_hash
  }
}

# Waits until the run has succeeded, and fails the apply when it has not.
resource "pymigrate_run_gate" "warehouse" {
  run             = pymigrate_run.warehouse.name
  wait_for        = "succeeded"
  timeout_seconds = 900
}

output "run" {
  value = pymigrate_run.warehouse.name
}
