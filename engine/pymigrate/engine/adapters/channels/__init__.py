"""The ways out of the package itself: mail, HTTP, and what Apprise reaches."""
