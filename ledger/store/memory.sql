-- name: allow_memory
-- Room to sort and group in, for this transaction.
SET LOCAL work_mem = '64MB';
