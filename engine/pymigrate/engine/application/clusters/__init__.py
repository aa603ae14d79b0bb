"""What every client of a cluster needs: a mirror of its objects, a queue of keys to work on, and the election of a leader."""
