resource "pymigrate_stakeholder" "ada" {
  environment    = pymigrate_environment.prod.name
  stakeholder_id = "ada"
  display_name   = "Ada Meyer"
  roles          = ["owner"]
  departments    = [pymigrate_department.sales.department_id]
  locale         = "de-CH"
  time_zone      = "Europe/Zurich"

  addresses = {
    mail = {
      channel = pymigrate_notification_channel.mail.notification_channel_id
      to      = "ada@example.com"
    }
    pager = {
      channel      = pymigrate_notification_channel.incidents.notification_channel_id
      severity_min = "error"
    }
  }

  # What is critical is told all the same.
  quiet_hours = {
    nights = { start = "22:00", end = "07:00" }
  }
}
