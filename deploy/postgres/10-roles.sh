#!/bin/sh
# First start of the database server: the roles and the database, from the SQL that embedded servers use as well.
# Passwords come from the environment and reach the server as values, never as text of a command line; nothing of
# this session is logged, whatever the server is told to log.
set -eu
: "${TOKENLEDGER_OWNER_PASSWORD:?}" "${TOKENLEDGER_WORKER_PASSWORD:?}" "${TOKENLEDGER_API_PASSWORD:?}"
sql="${TOKENLEDGER_SQL:-/tokenledger-sql}"

psql -X -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<EOF
SET log_statement = 'none';
SET log_min_duration_statement = -1;
SET log_min_error_statement = 'panic';
\getenv owner_password TOKENLEDGER_OWNER_PASSWORD
\getenv worker_password TOKENLEDGER_WORKER_PASSWORD
\getenv api_password TOKENLEDGER_API_PASSWORD
SELECT set_config('tokenledger.owner_password', :'owner_password', false),
       set_config('tokenledger.worker_password', :'worker_password', false),
       set_config('tokenledger.api_password', :'api_password', false) \g /dev/null
\i $sql/roles.sql
\i $sql/database.sql
\connect tokenledger
\i $sql/database_access.sql
EOF
