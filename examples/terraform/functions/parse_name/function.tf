# { environment = "prod", plan = "warehouse", phase = "customers" }
output "segments" {
  value = provider::pymigrate::parse_name("environments/prod/plans/warehouse/phases/customers").segments
}
