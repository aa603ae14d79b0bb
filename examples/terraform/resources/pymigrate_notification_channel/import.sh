# By its resource name.
terraform import pymigrate_notification_channel.mail environments/prod/notificationChannels/mail
