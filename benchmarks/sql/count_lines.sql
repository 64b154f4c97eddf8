SELECT count(*) FROM invoice_line;
