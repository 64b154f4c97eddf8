"""Commands; what all of them need is set here, before any of them is imported."""

import os

# Data frames are kept in a heap that gives back at once what is free: polars reads this when it is
# loaded, and would keep a heap for each core for ten seconds, and what it gave back for one more.
os.environ.setdefault("_RJEM_MALLOC_CONF", "narenas:1,dirty_decay_ms:100,muzzy_decay_ms:0")
