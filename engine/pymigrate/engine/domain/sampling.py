"""How much a verification at level `sampled` reads back: all of a dataset up to SAMPLED_BYTES_MAX of source data; of more, the first of
SAMPLED_SHARE rows, at most SAMPLED_ROWS_MAX. What a run does, what it is reckoned to take and what it needs follow the same figures."""

SAMPLED_BYTES_MAX = 256_000_000
SAMPLED_SHARE = 7
SAMPLED_ROWS_MAX = 4_000_000
