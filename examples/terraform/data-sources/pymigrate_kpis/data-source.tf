data "pymigrate_kpis" "warehouse" {
  name       = pymigrate_run.warehouse.name
  depends_on = [pymigrate_run_gate.warehouse]
}

check "quarantine" {
  assert {
    condition     = data.pymigrate_kpis.warehouse.quarantined_rows == 0
    error_message = "${data.pymigrate_kpis.warehouse.quarantined_rows} rows lie in quarantine."
  }
}
