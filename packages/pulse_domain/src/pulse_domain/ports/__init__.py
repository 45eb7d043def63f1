"""What the domain needs of the world, one protocol per file; each has a contract suite in
`pulse_domain.testing.contracts` that every adapter and the in-memory double pass."""
