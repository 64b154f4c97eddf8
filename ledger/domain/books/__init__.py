"""How it is booked: postings, entries and what stands behind them."""
