"""What the engine needs from outside, as small protocols in its own words."""
