resource "pymigrate_environment" "prod" {
  environment_id = "prod"
  display_name   = "Production"
  lanes_max      = 20
}
