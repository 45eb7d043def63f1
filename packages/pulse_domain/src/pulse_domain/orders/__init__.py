"""Orders, their slices and executions: values, state tables, and what clients are told."""
