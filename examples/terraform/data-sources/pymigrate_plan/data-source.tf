data "pymigrate_plan" "warehouse" {
  name       = pymigrate_plan.warehouse.name
  depends_on = [pymigrate_phase.customers]
}

output "hash" {
  value = data.pymigrate_plan.warehouse.plan_hash
}
