resource "pymigrate_role_binding" "operators" {
  role_binding_id = "warehouse-operators"
  description     = "Whoever runs the warehouse"
  role            = "operator"
  members         = ["group/dba", "service/pipeline"]
  environment     = pymigrate_environment.prod.name
  plans           = ["warehouse"]
}
