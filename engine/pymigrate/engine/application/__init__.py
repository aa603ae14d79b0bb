"""Use cases over the ports; each commits one unit of work."""
