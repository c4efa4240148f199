"""What must survive a crash: the store behind `riskschema.ports.Store`, its tables and their migrations."""
