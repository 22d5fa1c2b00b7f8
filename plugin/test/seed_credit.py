#!/usr/bin/env python3
"""Gives accounts work in a ledger whose server is stopped: seed_credit.py LEDGER HEIGHT ADDRESS..."""

import random
import sqlite3
import sys


def main():
    path, height, *addresses = sys.argv[1:]
    random.seed(7)
    ledger = sqlite3.connect(path)
    for address in addresses:
        ledger.execute('INSERT INTO accounts (name) VALUES (?)', (address,))
        # Many different difficulties, none of which is a round number.
        ledger.execute(
            'INSERT INTO credit (height, account, difficulty, origin, count) '
            'SELECT ?, id, ?, 0, ? FROM accounts WHERE name = ?',
            (int(height), random.uniform(1e-4, 3e-4), random.randint(1, 5), address))
    ledger.execute('INSERT INTO heights VALUES (?, 1.0) ON CONFLICT DO NOTHING', (int(height),))
    ledger.commit()


main()
