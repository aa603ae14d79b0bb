# By its resource name.
terraform import pymigrate_phase.customers environments/prod/plans/warehouse/phases/customers
