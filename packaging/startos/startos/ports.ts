/** Where hstratum and hsd listen in the container. */
export const STRATUM = 3008
export const DASHBOARD = 3080
export const NODE = 12037
