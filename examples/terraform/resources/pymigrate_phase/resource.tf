# Datasets are a map by name: a changed one is one changed line of the plan.
resource "pymigrate_phase" "customers" {
  plan            = pymigrate_plan.warehouse.name
  phase_id        = "customers"
  department      = pymigrate_department.sales.department_id
  downtime_policy = "read_only"

  datasets = {
    customers = {
      source       = { connection = pymigrate_connection.crm.connection_id, relation = "customers" }
      target       = { connection = pymigrate_connection.warehouse.connection_id, relation = "customers" }
      key          = ["id"]
      verification = "full"
    }
  }
}
