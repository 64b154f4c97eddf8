-- What was allocated of an hour, {times} times more for the hours that follow it, as if each had been allocated.
SET session_replication_role = replica;
INSERT INTO cost_allocation
SELECT (jsonb_populate_record(c, jsonb_build_object('window_start', c.window_start + n * interval '1 hour'))).*
  FROM cost_allocation c CROSS JOIN generate_series(1, {times}) n;
INSERT INTO cost_pool
SELECT (jsonb_populate_record(p, jsonb_build_object('window_start', p.window_start + n * interval '1 hour'))).*
  FROM cost_pool p CROSS JOIN generate_series(1, {times}) n;
INSERT INTO meter_window
SELECT (jsonb_populate_record(m, jsonb_build_object('window_start', m.window_start + n * interval '1 hour'))).*
  FROM meter_window m CROSS JOIN generate_series(1, {times}) n;
