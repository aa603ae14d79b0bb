# What depends on the gate is applied once the run has succeeded.
resource "pymigrate_run_gate" "warehouse" {
  run             = pymigrate_run.warehouse.name
  wait_for        = "succeeded"
  timeout_seconds = 14400
}
