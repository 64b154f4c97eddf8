"""The compiled reader of lines; only its neighbours in metering import from it."""
