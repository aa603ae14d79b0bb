# Another run begins only when what moves data changes.
resource "pymigrate_run" "warehouse" {
  plan     = pymigrate_plan.warehouse.name
  triggers = { customers = pymigrate_phase.customers.definition_hash }
}
