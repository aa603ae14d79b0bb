"""The dispatcher: claims messages from the engine, sends them by their channels, and reports."""
