import { sdk } from '../sdk'
import { payoutAddress } from './payoutAddress'

export const actions = sdk.Actions.of().addAction(payoutAddress)
