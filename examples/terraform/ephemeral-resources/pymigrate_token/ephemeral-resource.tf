# Made with the engine's own token, by the configuration of the provider that has it.
ephemeral "pymigrate_token" "apply" {
  lifetime_seconds = 1800
  purpose          = "terraform apply of sandbox"
}

# What this configuration declares, it declares with a token that ends half an hour later.
provider "pymigrate" {
  alias    = "short"
  endpoint = ephemeral.pymigrate_token.apply.endpoint
  token    = ephemeral.pymigrate_token.apply.token
}

resource "pymigrate_environment" "sandbox" {
  provider       = pymigrate.short
  environment_id = "sandbox"
}
