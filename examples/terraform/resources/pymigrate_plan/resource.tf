resource "pymigrate_plan" "warehouse" {
  environment         = pymigrate_environment.prod.name
  plan_id             = "warehouse"
  display_name        = "One warehouse for all departments"
  deletion_protection = false

  schedule = {
    time_zone = "Europe/Berlin"
    windows   = { nights = { days = ["mon", "tue", "wed", "thu"], start = "22:00", end = "05:00" } }
  }
}
