-- Of the month, who buys and sells, as if entered.
SET session_replication_role = replica;
INSERT INTO entity_detail (entity_id, name, valid, recorded)
  SELECT entity_id, 'Month', '[2000-01-01 00:00+00,)', '[1,)' FROM entity WHERE entity_id = 'month';
INSERT INTO customer_detail (customer_id, name, address, valid, recorded)
  SELECT customer_id, format('Customer %s', customer_id), '1 Quay Road', '[2000-01-01 00:00+00,)', '[1,)'
    FROM customer WHERE entity_id = 'month';
