# By its resource name.
terraform import pymigrate_secret_backend.vault environments/prod/secretBackends/vault
