'use strict';

/*
 * Proofs for coins that are not mined yet, on a network whose roots are the
 * test's own: DNSSEC proofs that a reserved name is owned, below a root zone
 * with a key of the test, and proofs that keys and addresses are leaves of
 * the airdrop's and the faucet's trees.
 */

const blake2b = require('bcrypto/lib/blake2b');
const ed25519 = require('bcrypto/lib/ed25519');
const merkle = require('bcrypto/lib/mrkl');
const random = require('bcrypto/lib/random');
const dnssec = require('bns/lib/dnssec');
const {Zone} = require('bns/lib/ownership');
const {Record, TXTRecord, types} = require('bns/lib/wire');
const Address = require('hsd/lib/primitives/address');
const AirdropKey = require('hsd/lib/primitives/airdropkey');
const AirdropProof = require('hsd/lib/primitives/airdropproof');
const Claim = require('hsd/lib/primitives/claim');
const Network = require('hsd/lib/protocol/network');
const Ownership = require('hsd/lib/covenants/ownership');
const reserved = require('hsd/lib/covenants/reserved');

const ECDSAP256SHA256 = 13;
const KSK = 257;

/** What the faucet gives to each address, and an address pays as its fee. */
const FAUCET_VALUE = 3000e6;
const FAUCET_FEE = 100e6;
const AIRDROP_FEE = 10e6;

/** A zone whose only key signs everything. */

class SignedZone {
  constructor(name) {
    this.name = name;
    this.secret = dnssec.createPrivate(ECDSAP256SHA256, 256);
    this.key = dnssec.makeKey(name, ECDSAP256SHA256, this.secret, KSK);
    this.ds = dnssec.createDS(this.key);
  }

  sign(records) {
    return [...records, dnssec.sign(this.key, this.secret, records)];
  }

  /** The part of a proof that leads to a child, or that has the claim. */

  part(child, text) {
    const zone = new Zone();

    zone.keys = this.sign([this.key]);

    if (child)
      zone.referral = this.sign([child.ds]);
    else
      zone.claim = this.sign([txt(this.name, text)]);

    return zone;
  }
}

function txt(name, text) {
  const record = new Record();

  Object.assign(record, {name, type: types.TXT, class: 1, ttl: 3600,
    data: Object.assign(new TXTRecord(), {txt: [text]})});
  return record;
}

/** The root zone of a network, and claims of names below it. */

class Claims {
  constructor() {
    this.root = new SignedZone('.');
  }

  /** The root's key as a node trusts it: a DS record. */

  get anchor() {
    return this.root.ds.toString();
  }

  /**
   * Claim so many reserved names for addresses that nobody has the key of.
   * @param {Number} count
   * @param {Buffer} first - hash of the block at height 1.
   * @param {Number} fee
   * @returns {String[]} base64
   */

  make(count, first, fee) {
    const claims = [];
    const com = new SignedZone('com.');
    const network = Network.get('main');

    for (const {target} of reserved.values()) {
      if (claims.length === count)
        break;

      if (!/^[a-z]+\.com\.$/.test(target))
        continue;

      const zone = new SignedZone(target);
      const text = Ownership.ownership.createData(anybody(), fee, first, 1,
        network);
      const proof = new Ownership.Proof();

      proof.zones = [this.root.part(com), com.part(zone),
        zone.part(null, text)];
      proof.canonical();
      claims.push(Claim.fromProof(proof).blob.toString('base64'));
    }

    return claims;
  }
}

/** Keys and addresses that a network gives coins to. */

class Airdrop {
  constructor(addresses, keys) {
    this.faucet = Array.from({length: addresses}, () => {
      return AirdropKey.fromAddress(anybody().toString('main'), FAUCET_VALUE);
    });
    this.keys = Array.from({length: keys}, () => {
      const secret = ed25519.privateKeyGenerate();
      const key = new AirdropKey();

      key.type = AirdropKey.keyTypes.ED25519;
      key.point = ed25519.publicKeyCreate(secret);
      key.nonce = random.randomBytes(32);
      return {key, secret};
    });
    this.faucetLeaves = this.faucet.map(leaf);

    // Each key is the only one of its owner, whose keys are a tree as well.
    this.keyLeaves = this.keys.map(({key}) => {
      return merkle.deriveRoot(blake2b, leaf(key), [], 0);
    });
  }

  get roots() {
    return [this.faucetLeaves, this.keyLeaves].map((leaves) => {
      return merkle.createRoot(blake2b, leaves).toString('hex');
    });
  }

  /** @returns {String[]} base64 */

  make() {
    return [
      ...this.faucet.map((key, index) => {
        const proof = this.proof(key, index, this.faucetLeaves);

        return Object.assign(proof, {address: key.address, fee: FAUCET_FEE});
      }),
      ...this.keys.map(({key, secret}, index) => {
        const proof = this.proof(key, index, this.keyLeaves);

        Object.assign(proof, {address: anybody().hash, fee: AIRDROP_FEE});
        proof.signature = ed25519.sign(proof.signatureHash(), secret);
        return proof;
      })
    ].map(proof => proof.encode().toString('base64'));
  }

  proof(key, index, leaves) {
    return Object.assign(new AirdropProof(), {index, key: key.encode(),
      proof: merkle.createBranch(blake2b, index, leaves)});
  }
}

function leaf(key) {
  return blake2b.digest(key.encode());
}

function anybody() {
  return new Address({version: 0, hash: random.randomBytes(20)});
}

module.exports = {Airdrop, Claims};
