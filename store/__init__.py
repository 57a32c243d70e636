"""What must outlive the process: the SQLite journal of each account, market.db, backups. Synchronous."""
