-- How customers are taxed, as people said it: which country's tax, at which rate, under which number of ours.

CREATE DOMAIN country AS text CHECK (VALUE ~ '^[A-Z]{2}$');
COMMENT ON DOMAIN country IS 'ISO 3166-1, two letters; Greece is GR here and EL in its tax numbers.';

CREATE TABLE tax_rate (
  tax_rate_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  country     country NOT NULL,
  kind        text NOT NULL CHECK (kind IN ('standard', 'reduced')),
  percent     amount NOT NULL CHECK (percent > 0 AND percent <= 100),
  valid       tstzrange NOT NULL CHECK (valid_on_grid(valid)),
  recorded    int8range NOT NULL,
  EXCLUDE USING gist ((country::text) WITH =, kind WITH =, valid WITH &&, recorded WITH &&)
);

CREATE TABLE tax_registration (
  tax_registration_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  entity_id           text NOT NULL REFERENCES entity,
  country             country NOT NULL,
  tax_number          text NOT NULL CHECK (tax_number <> ''),
  valid               tstzrange NOT NULL CHECK (valid_on_grid(valid)),
  recorded            int8range NOT NULL,
  EXCLUDE USING gist (entity_id WITH =, (country::text) WITH =, valid WITH &&, recorded WITH &&)
);
COMMENT ON TABLE tax_registration IS 'Where an entity pays tax, and the number that its invoices there name.';

CREATE TABLE tax_treatment (
  tax_treatment_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  customer_id      text NOT NULL REFERENCES customer,
  country          country NOT NULL,
  treatment        text NOT NULL CHECK (treatment IN ('standard', 'reduced', 'zero', 'exempt', 'reverse_charge',
                                                      'export', 'outside')),
  included         boolean NOT NULL,
  reason           text NOT NULL,
  valid            tstzrange NOT NULL CHECK (valid_on_grid(valid)),
  recorded         int8range NOT NULL,
  CHECK (treatment <> 'exempt' OR reason <> ''),
  EXCLUDE USING gist (customer_id WITH =, valid WITH &&, recorded WITH &&)
);
COMMENT ON COLUMN tax_treatment.included IS 'Whether prices of the card hold the tax already.';
