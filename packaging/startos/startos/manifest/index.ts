import { setupManifest } from '@start9labs/start-sdk'

export const manifest = setupManifest({
  id: 'hstratum',
  title: 'hstratum',
  license: 'MIT',
  packageRepo: 'https://github.com/hstratum/hstratum/tree/main/packaging/startos',
  upstreamRepo: 'https://github.com/hstratum/hstratum',
  marketingUrl: 'https://hstratum.github.io/hstratum/',
  donationUrl: null,
  description: {
    short: 'Mine Handshake on your own node',
    long:
      'Point a miner at your server with your Handshake address as its user name: a block that it finds pays that '
      + 'address, all of it. hstratum is a stratum server inside hsd, a full node of Handshake, with a dashboard of '
      + 'hashrates, workers, shares and blocks.',
  },
  volumes: ['main'],
  images: {
    hstratum: {
      source: { dockerTag: 'ghcr.io/hstratum/hstratum:0.1.0' },
      arch: ['x86_64', 'aarch64'],
    },
  },
  dependencies: {},
})
