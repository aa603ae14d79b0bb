# By its resource name.
terraform import pymigrate_plan.warehouse environments/prod/plans/warehouse
