# By its resource name.
terraform import pymigrate_department.sales environments/prod/departments/sales
