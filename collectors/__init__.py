"""The collector daemon: reads devices and servers, spools what it read, and publishes it."""
