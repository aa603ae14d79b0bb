#!/bin/sh
# Installs the Debian packages named as arguments that are missing, where that is possible without a question:
# as root on a machine with apt-get. Anywhere else it says what is missing and goes on, since each test decides
# for itself whether a missing server is a skip or a failure.
set -u

missing=""
for package in "$@"; do
    if command -v dpkg-query >/dev/null 2>&1; then
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
    fi
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "not installed and not installable from here:$missing" >&2
    exit 0
fi

export DEBIAN_FRONTEND=noninteractive
echo "installing:$missing" >&2
# Word splitting is wanted: $missing is a list of names. A policy of 101 keeps Debian from starting the servers.
policy=/usr/sbin/policy-rc.d
made_policy=""
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" && made_policy=yes
fi
# shellcheck disable=SC2086
{ apt-get install -y -q --no-install-recommends $missing </dev/null >&2 ||
    { apt-get update -q </dev/null >&2 && apt-get install -y -q --no-install-recommends $missing </dev/null >&2; }; } ||
    echo "could not install:$missing" >&2
[ -z "$made_policy" ] || rm -f "$policy"
exit 0
