# References name it: vault://kv/legacy#password. Who logs in shows a token that the worker host has, never one that is written here.
resource "pymigrate_secret_backend" "vault" {
  environment       = pymigrate_environment.prod.name
  secret_backend_id = "vault"

  vault = {
    address = "https://vault.example.com:8200"
    app_role = {
      role_id   = "pymigrate-prod"
      secret_id = "file:///run/secrets/vault_secret_id"
    }
  }
}

# aws-sm://prod/legacy#password
resource "pymigrate_secret_backend" "aws" {
  environment       = pymigrate_environment.prod.name
  secret_backend_id = "aws-sm"

  aws = {
    region   = "eu-central-1"
    role_arn = "arn:aws:iam::123456789012:role/pymigrate-prod"
  }
}

# k8s://legacy/database#password
resource "pymigrate_secret_backend" "cluster" {
  environment       = pymigrate_environment.prod.name
  secret_backend_id = "k8s"
  kubernetes        = { namespaces = ["legacy"] }
}
