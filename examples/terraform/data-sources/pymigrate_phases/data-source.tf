data "pymigrate_phases" "warehouse" {
  plan       = pymigrate_plan.warehouse.name
  depends_on = [pymigrate_phase.customers]
}

# Which phases a department has in it.
output "sales" {
  value = [for name, phase in data.pymigrate_phases.warehouse.phases : name if phase.department == "sales"]
}
