# A template with a plan, and two environments that inherit from it: each says what is different. `$${…}` is a parameter of PyMigrate's,
# since Terraform has `${…}` for itself.
terraform {
  required_providers {
    pymigrate = {
      source = "pymigrate/pymigrate"
    }
  }
}

variable "data" {
  description = "Folder on the worker host with a folder for each stage, and orders.db in each."
  type        = string
}

variable "stages" {
  description = "The environments by name, with the lanes that may read their sources at once."
  type        = map(number)
  default     = { staging = 1, prod = 4 }
}

resource "pymigrate_environment" "base" {
  environment_id = "base"
  is_template    = true
  parameters = {
    data  = { default_value = var.data }
    stage = { description = "Which copy of the systems.", pattern = "[a-z]+" }
    lanes = { type = "integer", default_value = "1", minimum = 1, maximum = 16 }
  }
}

resource "pymigrate_department" "sales" {
  environment   = pymigrate_environment.base.name
  department_id = "sales"
}

resource "pymigrate_connection" "legacy" {
  environment   = pymigrate_environment.base.name
  connection_id = "legacy"
  sqlite        = { path = "$${data}/$${stage}/orders.db" }
}

resource "pymigrate_connection" "warehouse" {
  environment   = pymigrate_environment.base.name
  connection_id = "warehouse"
  duckdb        = { path = "$${data}/$${stage}/warehouse.duckdb" }
}

resource "pymigrate_plan" "warehouse" {
  environment = pymigrate_environment.base.name
  plan_id     = "warehouse"
}

resource "pymigrate_phase" "orders" {
  plan       = pymigrate_plan.warehouse.name
  phase_id   = "orders"
  department = pymigrate_department.sales.department_id
  datasets = {
    orders = {
      source = { connection = pymigrate_connection.legacy.connection_id, relation = "orders" }
      target = { connection = pymigrate_connection.warehouse.connection_id, relation = "orders", load_mode = "replace" }
    }
  }
}

# An override names what a base has: this comes after it, and goes before it.
resource "pymigrate_environment" "stage" {
  for_each       = var.stages
  environment_id = each.key
  bases          = [pymigrate_environment.base.environment_id]
  values         = { stage = each.key, lanes = tostring(each.value) }
  overrides = {
    "connections/${pymigrate_connection.legacy.connection_id}" = { fields = { lanes_max = "$${lanes}" } }
  }
  depends_on = [pymigrate_phase.orders]
}

# What holds is read once everything that it comes from is as planned.
data "pymigrate_environment" "stage" {
  for_each   = pymigrate_environment.stage
  name       = each.value.name
  object     = "connections/legacy"
  depends_on = [pymigrate_environment.base, pymigrate_connection.legacy, pymigrate_environment.stage]
}

output "sources" {
  value = { for name, found in data.pymigrate_environment.stage : name => found.objects["connections/legacy"].fields["sqlite.path"].value }
}
