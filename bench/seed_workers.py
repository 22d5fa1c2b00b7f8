#!/usr/bin/env python3
"""Gives a ledger accounts with workers and their last day: seed_workers.py LEDGER ACCOUNTS WORKERS BIG."""

import sqlite3
import sys
import time

SPAN_S = 600
SPANS = 144


def main():
    path, accounts, workers, big = sys.argv[1], *map(int, sys.argv[2:])
    ledger = sqlite3.connect(path)
    ledger.executemany('INSERT INTO accounts (id, name) VALUES (?, ?)',
                       [(1, 'big')] + [(i, f'account{i}') for i in range(2, accounts + 1)])
    ledger.executemany('INSERT INTO workers (id, account, name) VALUES (?, ?, ?)',
                       ((i, 1 if i <= big else 2 + i % (accounts - 1), f'rig{i}') for i in range(1, workers + 1)))
    now = int(time.time()) // SPAN_S * SPAN_S
    # Each worker has a span of each two hours.
    rows = ((SPAN_S, now - SPAN_S * span, worker, 80, float(worker % 97 + 1), now)
            for worker in range(1, workers + 1)
            for span in range(1 + worker % 12, SPANS, 12))
    ledger.executemany('INSERT INTO statistics (origin, span, start, worker, accepted, accepted_work, stale, stale_work, low, '
                       'low_work, duplicate, duplicate_work, last_share) '
                       'VALUES (0, ?, ?, ?, ?, ?, 1, 0.1, 0, 0, 0, 0, ?)', rows)
    ledger.executemany('INSERT INTO credit (height, account, difficulty, origin, count) VALUES (1, ?, 1.0, 0, 5)',
                       ((i,) for i in range(1, accounts + 1)))
    ledger.execute('INSERT INTO heights VALUES (1, 1.0) ON CONFLICT DO NOTHING')
    ledger.commit()


main()
