"""What is made of rows between source and target: the transforms that PyMigrate brings, and what applies them in order."""
