resource "pymigrate_silence" "rehearsals" {
  environment = pymigrate_environment.prod.name
  silence_id  = "rehearsals"
  reason      = "Rehearsals fail on purpose."
  match       = { plans = ["rehearsal-*"] }
  start_time  = "2030-01-01T00:00:00Z"
  end_time    = "2030-01-31T00:00:00Z"
}
