"""Usage computed again from the facts, in other arithmetic than what it is compared with."""
