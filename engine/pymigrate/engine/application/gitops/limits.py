"""How much of files of definitions is read at most, so that no file can hold up whoever reads it."""

FILE_BYTES_MAX = 4 * 1024 * 1024
FILES_MAX = 10_000
BYTES_MAX = 64 * 1024 * 1024
EVENTS_MAX = 400_000
"""Keys, values, beginnings and ends of maps and lists, in one file."""
EVENTS_IN_ALL_MAX = 2_000_000
DEPTH_MAX = 64
DIGITS_MAX = 64
PATH_CHARACTERS_MAX = 1_024
PROBLEMS_OF_FILE_MAX = 100
PROBLEMS_MAX = 1_000
"""Problems that are told at once; how many more there are is told by the last of them."""
