"""Checks blocks that pay their finder, from their bytes.

Shares no code with hstratum or hsd: written from the consensus rules, with
Python's standard library alone. Reads JSON from standard input:

    hrp        human-readable part of the network's addresses
    halving    blocks between two halvings of the reward
    fee        the operator's part, a decimal number of percent, as text
    operator   address of the fee
    blocks     in the order of the chain, each with
        height
        hash       as the miner computed it, hex
        raw        the whole block, hex
        finder     address of the miner
        fees       what its transactions pay to the network, in base units

Prints a line for each fault and exits with 1, or what it has checked.
"""

import hashlib
import json
import sys

REWARD = 2000 * 10 ** 6
AIRDROP_VALUE = 4246994314
HEADER_BYTES = 236
KEY_IS_ADDRESS = 4

BECH32 = 'qpzry9x8gf2tvdw0s3jn54khce6mua7l'


class Reader:
    def __init__(self, raw):
        self.raw = raw
        self.at = 0

    def take(self, size):
        part = self.raw[self.at:self.at + size]
        if len(part) != size:
            raise ValueError('ends early')
        self.at += size
        return part

    def number(self, size):
        return int.from_bytes(self.take(size), 'little')

    def varint(self):
        first = self.number(1)
        return self.number({0xfd: 2, 0xfe: 4, 0xff: 8}[first]) \
            if first >= 0xfd else first

    def varbytes(self):
        return self.take(self.varint())

    def items(self):
        return [self.varbytes() for _ in range(self.varint())]

    def end(self):
        if self.at != len(self.raw):
            raise ValueError('goes on after its end')


def blake2b(*parts, size=32):
    return hashlib.blake2b(b''.join(parts), digest_size=size).digest()


def bech32_address(text, hrp):
    """Version and hash of an address (BIP 173)."""
    human, _, data = text.rpartition('1')
    values = [BECH32.index(char) for char in data]
    check = 1
    for value in [ord(char) >> 5 for char in human] + [0] \
            + [ord(char) & 31 for char in human] + values:
        top = check >> 25
        check = (check & 0x1ffffff) << 5 ^ value
        for bit, generator in enumerate(
                [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3]):
            if top >> bit & 1:
                check ^= generator
    if human != hrp or check != 1:
        raise ValueError(f'{text} is no address with {hrp}')
    bits = ''.join(f'{value:05b}' for value in values[1:-6])
    size = len(bits) // 8
    return values[0], int(bits[:size * 8], 2).to_bytes(size, 'big')


class Transaction:
    def __init__(self, reader):
        start = reader.at
        reader.number(4)
        self.inputs = [(reader.take(32), reader.number(4), reader.number(4))
                       for _ in range(reader.varint())]
        self.outputs = [self.output(reader) for _ in range(reader.varint())]
        self.locktime = reader.number(4)
        middle = reader.at
        self.witnesses = [reader.items() for _ in self.inputs]
        raw = reader.raw
        self.id = blake2b(raw[start:middle])
        self.witness_hash = blake2b(self.id, blake2b(raw[middle:reader.at]))

    @staticmethod
    def output(reader):
        """Value, address, and whether it only pays."""
        value = reader.number(8)
        address = reader.number(1), reader.take(reader.number(1))
        covenant = reader.number(1), reader.items()
        return value, address, covenant == (0, [])


def merkle_root(leaves):
    level = [blake2b(b'\x00', leaf) for leaf in leaves]
    while len(level) > 1:
        if len(level) % 2:
            level.append(blake2b())
        level = [blake2b(b'\x01', level[i], level[i + 1])
                 for i in range(0, len(level), 2)]
    return level[0]


class Block:
    def __init__(self, raw):
        reader = Reader(raw)
        nonce, time = reader.take(4), reader.take(8)
        self.previous, tree_root = reader.take(32), reader.take(32)
        sub = reader.take(24 + 32)
        self.witness_root, self.merkle_root = reader.take(32), reader.take(32)
        sub += self.witness_root + self.merkle_root + reader.take(8)
        self.bits = int.from_bytes(sub[-4:], 'little')
        mask = reader.take(32)
        assert reader.at == HEADER_BYTES

        pad = bytes(a ^ b for a, b in zip(self.previous, tree_root))
        commitment = blake2b(blake2b(sub), blake2b(self.previous, mask))
        head = nonce + time + pad[:20] + self.previous + tree_root + commitment
        share = blake2b(blake2b(head, size=64), pad,
                        hashlib.sha3_256(head + pad[:8]).digest())
        self.hash = bytes(a ^ b for a, b in zip(share, mask))
        self.transactions = [Transaction(reader)
                             for _ in range(reader.varint())]
        reader.end()

    def is_worked_for(self):
        target = (self.bits & 0x7fffff) << 8 * ((self.bits >> 24) - 3)
        return int.from_bytes(self.hash, 'big') <= target


def airdrop(witness):
    """The output that an airdrop's proof demands, and its fee."""
    [raw] = witness
    reader = Reader(raw)
    reader.number(4)
    reader.take(32 * reader.number(1))
    reader.number(1)
    reader.take(32 * reader.number(1))
    key = Reader(reader.varbytes())
    address = reader.number(1), reader.take(reader.number(1))
    fee = reader.varint()
    reader.varbytes()
    reader.end()
    value = AIRDROP_VALUE
    if key.number(1) == KEY_IS_ADDRESS:
        key.take(1)
        key.take(key.number(1))
        value = key.number(8)
    return (value - fee, address, True), fee


def faults_of(given, block, previous, rules):
    """What is wrong with a block; the block before it may be unknown."""
    coinbase = block.transactions[0]
    airdrops = [airdrop(witness) for witness in coinbase.witnesses[1:]]
    whole = (REWARD >> given['height'] // rules['halving']) + given['fees'] \
        + sum(fee for _, fee in airdrops)
    # Whole numbers alone: the part is so many hundredths of a percent.
    units, _, digits = rules['fee'].partition('.')
    part = int(units) * 100 + int(digits.ljust(2, '0') or 0)
    fee = whole * part // 10000
    finder = bech32_address(given['finder'], rules['hrp'])
    operator = bech32_address(rules['operator'], rules['hrp'])
    expected = [(whole - fee, finder, True)] \
        + [output for output, _ in airdrops] \
        + ([(fee, operator, True)] if fee else [])
    null = bytes(32), 0xffffffff

    return [text for is_fault, text in [
        (block.hash.hex() != given['hash'], 'another hash'),
        (not block.is_worked_for(), 'not worked for'),
        (previous and block.previous != previous.hash, 'another parent'),
        (coinbase.inputs[0][:2] != null, 'no coinbase'),
        (coinbase.locktime != given['height'], 'another height'),
        (merkle_root([tx.id for tx in block.transactions])
            != block.merkle_root, 'another merkle root'),
        (merkle_root([tx.witness_hash for tx in block.transactions])
            != block.witness_root, 'another witness root'),
        (coinbase.outputs != expected,
            f'outputs {coinbase.outputs}, expected {expected}'),
    ] if is_fault]


def main():
    rules = json.load(sys.stdin)
    previous = None
    faults = []
    airdrops = transactions = rounded = 0
    for given in rules['blocks']:
        block = Block(bytes.fromhex(given['raw']))
        faults += [f'height {given["height"]}: {text}' for text
                   in faults_of(given, block, previous, rules)]
        previous = block
        outputs = block.transactions[0].outputs
        airdrops += len(block.transactions[0].inputs) - 1
        transactions += len(block.transactions) - 1
        rounded += (outputs[0][0] + outputs[-1][0]) % 100 != 0
    print('\n'.join(faults) or json.dumps({
        'blocks': len(rules['blocks']),
        'finders': len({given['finder'] for given in rules['blocks']}),
        'airdrops': airdrops, 'transactions': transactions,
        'rounded': rounded}))
    sys.exit(1 if faults else 0)


main()
