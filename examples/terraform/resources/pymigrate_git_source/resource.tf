# What the branch says is what is stored. The token and the webhook's secret are references, read where they are used.
resource "pymigrate_git_source" "staging" {
  git_source_id = "staging"
  url           = "https://git.example.com/data/migrations.git"
  branch        = "main"
  path          = "definitions"
  environment   = "staging"
  prune_policy  = "delete"

  https = { token = "file:///run/secrets/git_token" }
  webhook = {
    provider = "github"
    secrets  = ["env://WEBHOOK_SECRET"]
  }
}

# Production has what `pin_file` says, and `pymigrate promote prod` writes there what succeeded in staging.
resource "pymigrate_git_source" "prod" {
  git_source_id = "prod"
  url           = "git@git.example.com:data/migrations.git"
  branch        = "main"
  path          = "definitions"
  environment   = "prod"

  ssh = {
    private_key = "file:///run/secrets/git_key"
    known_hosts = "git.example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHn0C1tCrbcjmTTWk9sXrwVqVs2mPxD0cVJqCs2VNbTx"
  }
  promotion = {
    promoted_from = pymigrate_git_source.staging.git_source_id
    pin_file      = "pins/prod"
    delivery      = "branch"
  }
}
