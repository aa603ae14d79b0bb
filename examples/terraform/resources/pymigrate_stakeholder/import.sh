# By its resource name.
terraform import pymigrate_stakeholder.ada environments/prod/stakeholders/ada
