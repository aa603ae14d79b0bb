"""The store on a database: tables, units of work over them, and the embedded SQLite file with its one writer."""
