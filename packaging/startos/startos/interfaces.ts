import { DASHBOARD, STRATUM } from './ports'
import { sdk } from './sdk'

export const HOST = 'main'
export const UI = 'ui'

const COMMON = { masked: false, schemeOverride: null, username: null, path: '', query: {} }

/** The dashboard, and the port that miners connect to, in plain and by TLS, which StartOS ends. */
export const setInterfaces = sdk.setupInterfaces(async ({ effects }) => {
  const host = sdk.MultiHost.of(effects, HOST)
  const dashboard = await host.bindPort(DASHBOARD, { protocol: 'http' })
  const stratum = await host.bindPort(STRATUM, {
    protocol: null,
    preferredExternalPort: STRATUM,
    // Plain connections too, from the local network: few miners know TLS.
    secure: { ssl: false },
    addSsl: { preferredExternalPort: STRATUM + 1, alpn: null, addXForwardedHeaders: false, auth: null },
  })

  return [
    await dashboard.export([
      sdk.createInterface(effects, {
        ...COMMON,
        name: 'Dashboard',
        id: UI,
        description: 'Hashrates, workers, shares and blocks, and how to connect a miner',
        type: 'ui',
      }),
    ]),
    await stratum.export([
      sdk.createInterface(effects, {
        ...COMMON,
        name: 'Stratum',
        id: 'stratum',
        description: 'Where miners connect',
        type: 'api',
      }),
    ]),
  ]
})
