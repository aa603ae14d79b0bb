# By its resource name.
terraform import pymigrate_git_source.prod gitSources/prod
