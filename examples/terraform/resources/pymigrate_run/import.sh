# By its resource name.
terraform import pymigrate_run.warehouse environments/prod/plans/warehouse/runs/20260131-2200-k3x9
