"""What the package `tf` lacks for a provider that people can rely on: by subclassing, without a fork. No resource is in here."""
