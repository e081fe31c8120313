"""Puts rows into a copy of a queue: python3 mirror.py queue.db < rows.json

Reads {"table": [{"column": value, ...}, ...] or null, ...}; what was in these tables goes.
"""
import json
import sqlite3
import sys

queue = sqlite3.connect(sys.argv[1], isolation_level=None)
for name, in queue.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
    queue.execute(f"DROP TRIGGER {name}")
queue.execute("BEGIN")
for table, rows in json.load(sys.stdin).items():
    queue.execute(f"DELETE FROM {table}")
    for row in rows or []:
        places = ", ".join("?" * len(row))
        queue.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})", list(row.values()))
queue.execute("COMMIT")
