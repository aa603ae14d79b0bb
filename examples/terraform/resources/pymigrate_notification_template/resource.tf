# It is refused, at the text, where one does not render for every type of event that it is for.
resource "pymigrate_notification_template" "failures" {
  environment              = pymigrate_environment.prod.name
  notification_template_id = "failures"
  types                    = ["phase.failed", "run.failed"]

  texts = {
    english = {
      subject = "{{ event.plan }}: {{ event.type }}"
      body    = "{{ event.subject }} went from {{ event.from_state }} to {{ event.to_state }}."
    }
    german = {
      locale  = "de"
      subject = "{{ event.plan }}: {{ event.type }}"
      body    = "{{ event.subject }} ist jetzt {{ event.to_state }}."
    }
  }
}
