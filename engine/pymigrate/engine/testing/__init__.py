"""Public fakes of every port, and fault injection, for tests of the engine and of its users."""
