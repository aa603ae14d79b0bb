data "pymigrate_environment" "prod" {
  name   = "environments/prod"
  object = "connections/legacy"
}

output "legacy_host" {
  value = data.pymigrate_environment.prod.objects["connections/legacy"].fields["postgres.host"].value
}
