# Names by which the dashboard may be asked: the proxy before it passes on what the browser asked for.
export APP_HSTRATUM_HOST_NAMES="$(printf '%s ' "${DEVICE_HOSTNAME}" $(hostname -I 2>/dev/null || true) | sed 's/ $//; s/ /,/g')"
