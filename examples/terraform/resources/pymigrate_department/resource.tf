resource "pymigrate_department" "sales" {
  environment          = pymigrate_environment.prod.name
  department_id        = "sales"
  owner                = "Sales"
  users                = 120
  read_only_cost_share = 0.25

  downtime_cost_per_hour = {
    currency_code = "EUR"
    amount        = 4000
  }

  systems = {
    crm = {
      description = "Who buys, and who asked"
      connection  = pymigrate_connection.crm.connection_id
      criticality = "high"
      rto_seconds = 14400
    }
  }
}
