"""What runs worker hosts."""
