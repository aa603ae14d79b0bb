"""Composition roots: one module for each process, the only place that builds adapters."""
