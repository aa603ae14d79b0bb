# By its resource name.
terraform import pymigrate_connection.crm environments/prod/connections/crm
