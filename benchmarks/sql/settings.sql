-- The settings that decide how fast rows can be stored.
SELECT s.name, current_setting(s.name) AS value
  FROM unnest(ARRAY['server_version', 'fsync', 'synchronous_commit', 'full_page_writes', 'shared_buffers', 'wal_level',
                    'wal_compression', 'wal_buffers', 'max_wal_size', 'checkpoint_timeout', 'io_method', 'jit']) AS s(name)
