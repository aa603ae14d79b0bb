# By its resource name.
terraform import pymigrate_on_call_schedule.owners environments/prod/onCallSchedules/owners
