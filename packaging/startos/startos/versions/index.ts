import { VersionGraph, VersionInfo } from '@start9labs/start-sdk'

const current = VersionInfo.of({
  version: '0.1.0:0',
  releaseNotes: 'https://github.com/hstratum/hstratum/releases/tag/v0.1.0',
  migrations: {},
})

export const versionGraph = VersionGraph.of({ current, other: [] })
