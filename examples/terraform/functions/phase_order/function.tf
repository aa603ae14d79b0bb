locals {
  phases = {
    orders    = { department = "sales", dependencies = ["customers", "products"] }
    customers = { department = "sales", dependencies = [] }
    products  = { department = "catalogue", dependencies = [] }
  }
}

# ["customers", "products", "orders"]
output "order" {
  value = provider::pymigrate::phase_order(local.phases)
}
