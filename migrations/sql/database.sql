-- Run by a superuser outside a transaction, once: the database, owned by the role that migrates.
CREATE DATABASE tokenledger OWNER tokenledger_owner TEMPLATE template0 ENCODING 'UTF8';
