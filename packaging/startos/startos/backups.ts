import { sdk } from './sdk'

/** All but the chain, which hsd downloads again. StartOS stops the service meanwhile, so that databases are whole. */
export const { createBackup, restoreInit } = sdk.setupBackups(async () =>
  sdk.Backups.withOptions({ exclude: ['/blocks', '/chain', '/tree'] }).addVolume('main'),
)
