"""What the engine does by itself, again and again."""
