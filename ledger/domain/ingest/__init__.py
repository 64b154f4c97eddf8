"""The pure steps between bytes and facts: decode, identify, resolve, spread."""
