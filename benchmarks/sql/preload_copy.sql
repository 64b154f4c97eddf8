-- One more copy of the warm-up.
SELECT preload($1)
