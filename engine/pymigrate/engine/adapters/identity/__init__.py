"""Who others vouch for: an OIDC issuer, and a cluster of Kubernetes."""
