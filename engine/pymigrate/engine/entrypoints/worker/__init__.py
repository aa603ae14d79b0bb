"""The worker host: a process that asks the engine for tasks and runs each as a thread."""
