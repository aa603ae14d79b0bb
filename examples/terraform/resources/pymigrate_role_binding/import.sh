# By its resource name.
terraform import pymigrate_role_binding.operators roleBindings/warehouse-operators
