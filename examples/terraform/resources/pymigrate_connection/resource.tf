resource "pymigrate_connection" "crm" {
  environment   = pymigrate_environment.prod.name
  connection_id = "crm"
  lanes_max     = 4

  postgres = {
    host     = "crm.internal"
    database = "crm"
    user     = "reader"
    password = "env://CRM_PASSWORD" # a reference: the secret itself is never in the state
    ssl_mode = "verify-full"
  }
}

resource "pymigrate_connection" "warehouse" {
  environment   = pymigrate_environment.prod.name
  connection_id = "warehouse"
  duckdb        = { path = "/srv/warehouse/warehouse.duckdb" }
}
