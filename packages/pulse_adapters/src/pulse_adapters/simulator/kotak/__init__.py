"""The face of Kotak's Neo Trade API, third generation."""
