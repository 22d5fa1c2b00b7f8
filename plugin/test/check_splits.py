#!/usr/bin/env python3
"""Computes what blocks that pay accounts must have paid, from the credit in a ledger and nothing of the project.

check_splits.py LEDGER OUTPUT_MIN OUTPUTS_MAX

Prints a JSON object: the hash of each such block, and its outputs (address and base units, sorted). Exits with 1
and says why where the ledger has recorded anything else. Accounts are named by their addresses.

The window must hold all credit, or end between two heights: the project cuts within spans of heights.

The credit of a block's job is that of a height at or a little below the block's, since later shares came after
the job: of these the one that has as many shares as the ledger has recorded.
"""

import json
import sqlite3
import sys
from fractions import Fraction


def window_of(ledger, height, size):
    """Work of each account in the window that ends at a height, and the number of shares."""
    work, shares, taken = {}, 0, Fraction(0)
    heights = ledger.execute(
        'SELECT DISTINCT height FROM credit WHERE height <= ? ORDER BY height DESC', (height,))
    for (at,) in heights.fetchall():
        if taken >= size:
            break
        rows = ledger.execute(
            'SELECT name, difficulty, sum(count) FROM credit JOIN accounts ON id = account '
            'WHERE height = ? GROUP BY name, difficulty', (at,)).fetchall()
        here = {}
        for name, difficulty, count in rows:
            here[name] = here.get(name, Fraction(0)) + Fraction(difficulty) * count
            shares += count
        total = sum(here.values())
        part = min(Fraction(1), (size - taken) / total)
        for name, amount in here.items():
            work[name] = work.get(name, Fraction(0)) + amount * part
        taken += total * part
    return work, shares


def divide(amount, work):
    """Largest remainder; of equals the first by name."""
    total = sum(work.values())
    exact = {name: amount * part / total for name, part in work.items()}
    parts = {name: int(value) for name, value in exact.items()}
    left = amount - sum(parts.values())
    order = sorted(parts, key=lambda name: (parts[name] - exact[name], name.encode()))
    for name in order[:left]:
        parts[name] += 1
    return parts


def main():
    path, output_min, outputs_max = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    ledger = sqlite3.connect(f'file:{path}?mode=ro', uri=True)
    found = {}
    blocks = ledger.execute(
        'SELECT b.hash, b.height, b.difficulty, s.id, s.window, s.fee_ppm, s.shares, s.reward, s.fee, s.remainder '
        'FROM settlements AS s JOIN blocks AS b ON b.hash = s.block WHERE s.is_frozen = 1 ORDER BY b.height')
    for block, height, difficulty, settlement, window, fee_ppm, shares, reward, fee, remainder in blocks.fetchall():
        if fee != reward * fee_ppm // 1_000_000 or remainder != 0:
            sys.exit(f'block {height} has fee {fee} and remainder {remainder}')
        recorded = dict(ledger.execute(
            'SELECT name, amount FROM settlement_credits JOIN accounts ON id = account WHERE settlement = ?',
            (settlement,)).fetchall())
        size = Fraction(window) * Fraction(difficulty)
        for end in range(height, height - 5, -1):
            work, count = window_of(ledger, end, size)
            if count == shares:
                break
        else:
            sys.exit(f'block {height} is divided over {shares} shares, which no window has')
        parts = divide(reward - fee, work)
        wrong = [name for name in parts.keys() | recorded.keys() if parts.get(name) != recorded.get(name)]
        if wrong:
            name = wrong[0]
            sys.exit(f'block {height} gives {len(wrong)} accounts another part: '
                     f'{name} {recorded.get(name)} instead of {parts.get(name)}')
        outputs = ledger.execute(
            'SELECT name, o.address, amount FROM payments AS p JOIN payment_outputs AS o ON o.payment = p.id '
            'JOIN accounts AS a ON a.id = o.account WHERE p.block = ?', (block,)).fetchall()
        if any(name != address for name, address, _ in outputs):
            sys.exit(f'block {height} pays another address than the account is')
        paid = {name: amount for name, _, amount in outputs}
        earned = sorted((name for name in recorded if recorded[name] >= output_min),
                        key=lambda name: -recorded[name])
        # Balances may add to an output, and never take from it.
        for name in earned[:outputs_max]:
            if paid.get(name, 0) < recorded[name] and len(paid) < outputs_max:
                sys.exit(f'block {height} pays {name} {paid.get(name)} of {recorded[name]}')
        found[block] = sorted([name, amount] for name, amount in paid.items())
    print(json.dumps(found))


main()
