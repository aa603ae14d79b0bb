"""The audit trail: who a call is, written into its entries; seals over them; reading all of it again; and what may go."""
