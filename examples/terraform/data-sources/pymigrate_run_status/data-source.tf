data "pymigrate_run_status" "warehouse" {
  run        = pymigrate_run.warehouse.name
  depends_on = [pymigrate_run_gate.warehouse]
}

output "rows" {
  value = { for name, phase in data.pymigrate_run_status.warehouse.phases : name => phase.state }
}
