resource "pymigrate_on_call_schedule" "owners" {
  environment         = pymigrate_environment.prod.name
  on_call_schedule_id = "owners"
  time_zone           = "Europe/Zurich"

  rotations = {
    week = {
      stakeholders = [pymigrate_stakeholder.ada.stakeholder_id]
      start_time   = "2026-01-05T08:00:00+01:00"
      turn_days    = 7
    }
  }
}
