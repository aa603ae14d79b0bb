terraform {
  required_providers {
    pymigrate = {
      source = "pymigrate/pymigrate"
    }
  }
}

# The engine is found through PYMIGRATE_HOME, or the default home.
provider "pymigrate" {
  # terraform plan warns of a changed phase whose downtime rises by more than a tenth.
  downtime_increase_share_max = 0.1
}
