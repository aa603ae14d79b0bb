# By its resource name.
terraform import pymigrate_notification_template.failures environments/prod/notificationTemplates/failures
