"""The container's entry point: one module for each kind of work, and what all of them need to be part of a cluster."""
