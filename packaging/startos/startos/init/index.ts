import { utils } from '@start9labs/start-sdk'
import { actions } from '../actions'
import { restoreInit } from '../backups'
import { settings } from '../fileModels/settings'
import { setInterfaces } from '../interfaces'
import { sdk } from '../sdk'
import { versionGraph } from '../versions'

const makeApiKey = sdk.setupOnInit(async (effects) => {
  if (!(await settings.read().once())?.apiKey)
    await settings.merge(effects, { apiKey: utils.getDefaultString({ charset: 'a-f,0-9', len: 48 }) })
})

export const init = sdk.setupInit(restoreInit, versionGraph, makeApiKey, setInterfaces, actions)
export const uninit = sdk.setupUninit(versionGraph)
