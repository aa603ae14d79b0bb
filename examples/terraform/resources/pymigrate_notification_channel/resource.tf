# What is secret is a reference: the engine reads it when it sends.
resource "pymigrate_notification_channel" "mail" {
  environment             = pymigrate_environment.prod.name
  notification_channel_id = "mail"

  smtp = {
    host     = "mail.example.com"
    username = "pymigrate"
    password = "env://SMTP_PASSWORD"
    sender   = "PyMigrate <migrations@example.com>"
  }
}

resource "pymigrate_notification_channel" "incidents" {
  environment             = pymigrate_environment.prod.name
  notification_channel_id = "incidents"

  webhook = {
    url         = "https://incidents.example.com/hooks/pymigrate"
    signing_key = "env://INCIDENTS_KEY"
  }
}

resource "pymigrate_notification_channel" "chat" {
  environment             = pymigrate_environment.prod.name
  notification_channel_id = "chat"
  apprise                 = { url = "file:///run/secrets/chat.json#url" }
}
