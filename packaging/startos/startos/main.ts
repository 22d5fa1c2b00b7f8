import { settings } from './fileModels/settings'
import { HOST, UI } from './interfaces'
import { DASHBOARD, NODE, STRATUM } from './ports'
import { sdk } from './sdk'

/** Longer than hsd needs to close its databases. */
const STOP_MS = 60_000
const ANSWER_MS = 5_000

/** Starts hsd with hstratum in it, again whenever settings or the names of the dashboard change. */
export const main = sdk.setupMain(async ({ effects }) => {
  const { address, apiKey } = (await settings.read().const(effects)) ?? {}

  if (!apiKey) throw new Error('startos.json has no apiKey')

  const hosts = await sdk.host
    .getOwn(effects, HOST, (host) => {
      const addresses = host?.bindings[DASHBOARD]?.interfaces[UI]?.addressInfo?.nonLocal.hostnames ?? []

      return [...new Set(addresses.map(({ hostname }) => hostname))].sort()
    })
    .const()
  const container = sdk.SubContainer.of(
    effects,
    { imageId: 'hstratum' },
    sdk.Mounts.of().mountVolume({ volumeId: 'main', subpath: null, mountpoint: '/data', readonly: false }),
    'hsd',
  )

  return sdk.Daemons.of(effects)
    .addOneshot('owner', {
      subcontainer: container,
      exec: { command: ['chown', '-R', '1000:1000', '/data'], user: 'root' },
      requires: [],
    })
    .addDaemon('hsd', {
      subcontainer: container,
      exec: {
        command: sdk.useEntrypoint(),
        sigtermTimeout: STOP_MS,
        env: {
          HSD_API_KEY: apiKey,
          HSD_STRATUM_HTTP_LOGIN: 'off',
          ...(address ? { HSD_COINBASE_ADDRESS: address } : { HSD_STRATUM_PAYOUT: 'solo' }),
          // StartOS passes on by which name it was asked.
          ...(hosts && hosts.length > 0 ? { HSD_STRATUM_HTTP_HOST_NAMES: hosts.join(',') } : {}),
        },
      },
      ready: {
        display: 'Dashboard',
        gracePeriod: STOP_MS,
        fn: () =>
          sdk.healthCheck.checkPortListening(effects, DASHBOARD, {
            successMessage: 'The dashboard is there',
            errorMessage: 'The dashboard does not answer',
          }),
      },
      requires: ['owner'],
    })
    .addHealthCheck('chain', {
      ready: { display: 'Chain', fn: () => chain(apiKey) },
      requires: ['hsd'],
    })
    .addHealthCheck('stratum', {
      ready: {
        display: 'Stratum',
        fn: () =>
          sdk.healthCheck.checkPortListening(effects, STRATUM, {
            successMessage: 'Miners can connect',
            errorMessage: `Nothing listens at port ${STRATUM}`,
          }),
      },
      requires: ['hsd'],
    })
    .addHealthCheck('work', {
      ready: { display: 'Work for miners', fn: work },
      requires: ['hsd'],
    })
})

/** How much of the chain the node has. */
async function chain(apiKey: string) {
  const response = await fetch(`http://127.0.0.1:${NODE}/`, {
    headers: { Authorization: `Basic ${Buffer.from(`x:${apiKey}`).toString('base64')}` },
    signal: AbortSignal.timeout(ANSWER_MS),
  })
  const { chain } = (await response.json()) as { chain: { height: number; progress: number } }

  if (chain.progress < 1)
    return { result: 'loading' as const, message: `${(100 * chain.progress).toFixed(2)} %, height ${chain.height}` }

  return { result: 'success' as const, message: `Synchronized, height ${chain.height}` }
}

/** True if miners get jobs, or the server's own reason why not. */
async function work() {
  const response = await fetch(`http://localhost:${DASHBOARD}/healthz`, { signal: AbortSignal.timeout(ANSWER_MS) })

  const { status } = (await response.json()) as { status: string }

  return response.ok
    ? { result: 'success' as const, message: 'Miners get work' }
    : { result: 'loading' as const, message: status }
}
