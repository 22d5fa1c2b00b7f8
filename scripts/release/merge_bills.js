#!/usr/bin/env node

'use strict';

/*
 * Writes the release's software bill of materials, CycloneDX as JSON: the
 * crates of the command and the addon, and what npm brings with hsd.
 *
 *   node scripts/release/merge_bills.js FILE PART...
 *
 * PART are the bills of cargo-cyclonedx and npm. What differs from run to run
 * is left out: their serial numbers and times.
 */

const fs = require('fs');
const path = require('path');

const [file, ...parts] = process.argv.slice(2);
const bills = parts.map(name => JSON.parse(fs.readFileSync(name, 'utf8')));
const {version} = require('../../plugin/package.json');

function merged(list, key) {
  const byKey = new Map(list.map(item => [item[key], item]));

  return [...byKey.keys()].sort().map(name => byKey.get(name));
}

const own = bills.map(({metadata}) => metadata.component);
const bill = {
  bomFormat: 'CycloneDX',
  specVersion: '1.5',
  version: 1,
  metadata: {
    component: {type: 'application', name: 'hstratum', version,
      'bom-ref': 'hstratum'}
  },
  components: merged([...own, ...bills.flatMap(bill => bill.components)],
    'bom-ref'),
  dependencies: merged([
    {ref: 'hstratum', dependsOn: own.map(component => component['bom-ref'])},
    ...bills.flatMap(bill => bill.dependencies)
  ], 'ref')
};

// cargo-cyclonedx names packages of this tree by their directory.
const root = path.join(__dirname, '..', '..');

fs.writeFileSync(file,
  `${JSON.stringify(bill, null, 1).replaceAll(root, '')}\n`);
console.log(`${file}  ${bill.components.length} components`);
