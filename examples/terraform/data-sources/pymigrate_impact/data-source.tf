data "pymigrate_impact" "warehouse" {
  plan       = pymigrate_plan.warehouse.name
  seed       = 1
  depends_on = [pymigrate_phase.customers]
}

check "downtime" {
  assert {
    condition     = data.pymigrate_impact.warehouse.summary.rating != "critical"
    error_message = join(" ", data.pymigrate_impact.warehouse.summary.reasons)
  }
}
