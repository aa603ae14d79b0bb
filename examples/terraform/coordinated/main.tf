# Infrastructure and migration in one apply: databases come to be, their rows move, and only then an application is switched.
# terraform_data stands in for a cloud's resources: what it gives out is not known before it is there, as the address of a
# database that is yet to be made.
terraform {
  required_version = ">= 1.4" # terraform_data

  required_providers {
    pymigrate = {
      source = "pymigrate/pymigrate"
    }
  }
}

variable "folder" {
  type        = string
  description = "Absolute path of a folder for everything that is made."
}

variable "python" {
  type        = string
  description = "The Python that stands in for the cloud."
  default     = "python3"
}

variable "relation" {
  type        = string
  description = "The table that moves."
  default     = "customers"
}

# The engine is found through PYMIGRATE_HOME, or the default home.
provider "pymigrate" {}

# With a cloud: the database instance that a snapshot is restored to.
resource "terraform_data" "crm" {
  input = { path = "${var.folder}/cloud/crm.db" }

  provisioner "local-exec" {
    command = "${var.python} ${path.module}/cloud.py provision ${self.input.path}"
  }
}

# With a cloud: the warehouse's cluster.
resource "terraform_data" "warehouse" {
  input = { path = "${var.folder}/warehouse.duckdb" }
}

resource "pymigrate_environment" "cutover" {
  environment_id = "cutover"
}

resource "pymigrate_department" "sales" {
  environment   = pymigrate_environment.cutover.name
  department_id = "sales"
  owner         = "Sales"
}

# Addresses are not known when planning; Terraform makes the databases first.
resource "pymigrate_connection" "crm" {
  environment   = pymigrate_environment.cutover.name
  connection_id = "crm"
  sqlite        = { path = terraform_data.crm.output.path }
}

resource "pymigrate_connection" "warehouse" {
  environment   = pymigrate_environment.cutover.name
  connection_id = "warehouse"
  duckdb        = { path = terraform_data.warehouse.output.path }
}

resource "pymigrate_plan" "cutover" {
  environment = pymigrate_environment.cutover.name
  plan_id     = "cutover"
}

resource "pymigrate_phase" "customers" {
  plan       = pymigrate_plan.cutover.name
  phase_id   = "customers"
  department = pymigrate_department.sales.department_id

  datasets = {
    customers = {
      source       = { connection = pymigrate_connection.crm.connection_id, relation = var.relation }
      target       = { connection = pymigrate_connection.warehouse.connection_id, relation = "customers" }
      key          = ["id"]
      verification = "full"
    }
  }
}

resource "pymigrate_run" "cutover" {
  plan     = pymigrate_plan.cutover.name
  triggers = { customers = pymigrate_phase.customers.definition_hash }
}

resource "pymigrate_run_gate" "cutover" {
  run             = pymigrate_run.cutover.name
  timeout_seconds = 900
}

# With a cloud: the parameter, the DNS record or the deployment that the application reads. A run that has not succeeded
# fails its gate, and whatever depends on the gate stays as it is.
resource "terraform_data" "application" {
  triggers_replace = [pymigrate_run.cutover.name]

  provisioner "local-exec" {
    command = "${var.python} ${path.module}/cloud.py switch ${var.folder}/application.json"
    environment = {
      WAREHOUSE = terraform_data.warehouse.output.path
      RUN       = pymigrate_run.cutover.name
    }
  }

  depends_on = [pymigrate_run_gate.cutover]
}
