#!/usr/bin/env node

'use strict';

/*
 * Signs a release's SHA256SUMS with cosign, keylessly, once every file has the
 * sum that stands there:
 *
 *   node scripts/release/sign.js DIR IDENTITY
 *
 *   SHA256SUMS.sigstore.json  cosign's bundle, for `cosign verify-blob`
 *   SHA256SUMS.sig            the signature in it, DER
 *   SHA256SUMS.pem            the certificate in it
 *
 * The last two are for openssl, which the installer checks with. IDENTITY is
 * the URI in the certificate that it expects: of the workflow and its tag.
 */

const {execFileSync} = require('child_process');
const {X509Certificate, createHash, verify} = require('crypto');
const fs = require('fs');
const path = require('path');

const SUMS = 'SHA256SUMS';

function main(dir, identity) {
  if (!identity)
    throw new Error('sign.js DIR IDENTITY');

  const sums = path.join(dir, SUMS);
  const bundle = `${sums}.sigstore.json`;

  checkSums(dir);
  execFileSync('cosign', ['sign-blob', '--yes', '--bundle', bundle, sums],
    {stdio: ['ignore', 'ignore', 'inherit']});

  const {signature, certificate} = parts(bundle);

  if (certificate.subjectAltName !== `URI:${identity}`)
    throw new Error(`the certificate is of "${certificate.subjectAltName}", `
      + `not of "URI:${identity}"`);

  if (!verify('sha256', fs.readFileSync(sums), certificate.publicKey, signature))
    throw new Error(`the signature in ${bundle} is not of ${sums}`);

  fs.writeFileSync(`${sums}.sig`, signature);
  fs.writeFileSync(`${sums}.pem`, certificate.toString());
}

/** Each file has a line, and each line its file. */

function checkSums(dir) {
  const lines = fs.readFileSync(path.join(dir, SUMS), 'utf8').trimEnd().split('\n');
  const sums = new Map(lines.map(line => line.split('  ').reverse()));
  const files = fs.readdirSync(dir).filter(name => !name.startsWith(SUMS));

  for (const name of files) {
    if (!sums.has(name))
      throw new Error(`${SUMS} has no line for ${name}`);
  }

  for (const [name, sum] of sums) {
    if (!files.includes(name))
      throw new Error(`${SUMS} names ${name}, which is not there`);

    const bytes = fs.readFileSync(path.join(dir, name));

    if (createHash('sha256').update(bytes).digest('hex') !== sum)
      throw new Error(`${name} has another sum than ${SUMS} says`);
  }
}

/** Parts of a bundle of version 0.3: of older ones there is no certificate. */

function parts(bundle) {
  const {messageSignature, verificationMaterial}
    = JSON.parse(fs.readFileSync(bundle, 'utf8'));
  const signature = messageSignature?.signature;
  const certificate = verificationMaterial?.certificate?.rawBytes;

  if (!signature || !certificate)
    throw new Error(`${bundle} has no messageSignature with a signature, or no `
      + 'verificationMaterial with a certificate: cosign 3 or newer makes them');

  return {
    signature: Buffer.from(signature, 'base64'),
    certificate: new X509Certificate(Buffer.from(certificate, 'base64'))
  };
}

try {
  main(...process.argv.slice(2));
} catch (e) {
  console.error(e.message);
  process.exitCode = 1;
}
