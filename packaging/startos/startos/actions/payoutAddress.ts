import { settings } from '../fileModels/settings'
import { sdk } from '../sdk'

const { InputSpec, Value } = sdk

const inputSpec = InputSpec.of({
  address: Value.text({
    name: 'Payout address',
    description: 'The Handshake address that all blocks pay, whatever user name miners give. Without one a block pays the '
      + 'address that is the user name of the miner that finds it.',
    required: false,
    default: null,
    placeholder: 'hs1q…',
    patterns: [{ regex: '^hs1q[02-9ac-hj-np-z]{38,58}$', description: 'an address that begins with hs1q' }],
  }),
})

/** Sets whom blocks pay; hsd checks the address at its start, which follows. */
export const payoutAddress = sdk.Action.withInput(
  'payout-address',
  {
    name: 'Set payout address',
    description: 'Whom blocks pay: one address, or each miner at its own',
    warning: null,
    allowedStatuses: 'any',
    group: null,
    visibility: 'enabled',
  },
  inputSpec,
  async () => ({ address: (await settings.read().once())?.address }),
  async ({ effects, input }) => {
    await settings.merge(effects, { address: input.address })
  },
)
