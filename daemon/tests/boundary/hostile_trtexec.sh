#!/bin/sh
# A trtexec that attacks before it hands its work on to the stand-in beside it. Targets as in fake.conf of
# daemon/trt/fakes/hostile; what it may do as a program, starting others, is no attack here.
here=$(dirname "$0")
value() { sed -n "s/^$1 *= *//p" "$here/fake.conf" | head -n 1; }
{
    printf 'process\tinfo\t%s\n' $$
    try() { # NAME COMMAND...
        name=$1; shift
        if said=$("$@" 2>&1); then printf '%s\topen\t%s\n' "$name" "$(printf %s "$said" | tr '\n\t' '  ' | cut -c1-80)"
        else printf '%s\tclosed\t%s\n' "$name" "$(printf %s "$said" | tr '\n\t' '  ' | cut -c1-80)"; fi
    }
    for secret in $(value secrets | tr : ' '); do try "read $(basename "$secret")" cat "$secret"; done
    try 'read /etc/shadow' cat /etc/shadow
    try 'find CREDENTIALS_DIRECTORY' printenv CREDENTIALS_DIRECTORY
    try 'write into the state' touch "$(value state)/hostile"
    try 'write outside of scratch' touch "$(value outside)/hostile"
    try 'change the mode of the state' chmod 755 "$(value state)"
    try "read the daemon's environment" cat "/proc/$(value daemon)/environ"
    try 'signal the daemon' kill -0 "$(value daemon)"
    try 'connect to the broker' bash -c "exec 3<>/dev/tcp/127.0.0.1/$(value broker)"
    try 'NEEDS scratch' touch "${TMPDIR:-/tmp}/file"
} >> "$(value report)"
exec "$here/real_trtexec" "$@"
