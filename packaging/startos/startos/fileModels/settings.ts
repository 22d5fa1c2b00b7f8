import { FileHelper, z } from '@start9labs/start-sdk'
import { sdk } from '../sdk'

/** What the owner has set, and what is made at the installation. */
export const settings = FileHelper.json(
  { base: sdk.volumes.main, subpath: '/startos.json' },
  z.object({
    /** Whom all blocks pay; null: each pays the address that is its finder's user name. */
    address: z.string().nullable().catch(null),
    /** What callers of the node's RPC must know. */
    apiKey: z.string().nullable().catch(null),
  }),
)
