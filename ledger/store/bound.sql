-- name: find_entities_named
-- Whose everything is that goes by one of these names, now or ever; by index, one of each.
SELECT entity_id FROM customer WHERE customer_id = :customer_id
 UNION SELECT c.entity_id FROM customer_alias a JOIN customer c USING (customer_id) WHERE a.alias = :alias
 UNION SELECT entity_id FROM facility WHERE facility_id = :facility_id
 UNION SELECT entity_id FROM asset WHERE asset_id = :asset_id
 UNION SELECT f.entity_id FROM tariff t JOIN facility f USING (facility_id) WHERE t.tariff_id = :tariff_id
 UNION SELECT entity_id FROM deployment WHERE deployment_id = :deployment_id
 UNION SELECT entity_id FROM rate_card WHERE rate_card_id = :rate_card_id
 UNION SELECT c.entity_id FROM subscription s JOIN customer c USING (customer_id)
        WHERE s.subscription_id = :subscription_id
 UNION SELECT c.entity_id FROM budget b JOIN customer c USING (customer_id) WHERE b.budget_id = :budget_id
 UNION SELECT entity_id FROM webhook WHERE webhook_id = :webhook_id
 UNION SELECT entity_id FROM notice WHERE notice_id = :notice_id
 UNION SELECT entity_id FROM bank_entry WHERE entry_id = :bank_entry_id;
