# By its resource name.
terraform import pymigrate_alert_rule.failures environments/prod/alertRules/failures
