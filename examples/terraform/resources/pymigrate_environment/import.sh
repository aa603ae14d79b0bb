# By its resource name.
terraform import pymigrate_environment.prod environments/prod
