data "pymigrate_environment" "prod" {
  name       = pymigrate_environment.prod.name
  object     = "connections/crm"
  depends_on = [pymigrate_connection.crm]
}

output "crm_layer" {
  value = data.pymigrate_environment.prod.objects["connections/crm"].layer
}
