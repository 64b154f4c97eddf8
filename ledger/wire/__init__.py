"""What crosses a process border: events, batches, times and units, on pydantic alone."""
