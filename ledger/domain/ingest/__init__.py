"""From bytes to the rows of a batch, as pure steps on columns."""
