# Sourced. A private apt world: own lists, cache and status, for any architecture, taken from the mirrors that
# the machine is set up with. The system's package state is never touched.

# private_apt DIR "ARCH..." SUITE...
private_apt() {
    local root archs uris main security suite uri
    root=$(realpath -m "$1")
    archs=$2
    shift 2
    uris=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | sort -u)
    main=$(grep -E '/debian/?$' <<<"$uris" | head -1 || true)
    security=$(grep -E '/debian-security/?$' <<<"$uris" | head -1 || true)
    if [ -z "$main" ]; then
        echo "no Debian package source is configured on this machine (see /etc/apt/sources.list)" >&2
        return 1
    fi
    mkdir -p "$root"/{lists/partial,cache/archives/partial,state}
    : > "$root/state/status"
    : > "$root/sources.list"
    for suite in "$@"; do
        case $suite in
        *-security) uri=${security:-${main%/debian*}/debian-security} ;;
        *) uri=$main ;;
        esac
        echo "deb [arch=${archs// /,} signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $suite main" \
            >> "$root/sources.list"
    done
    cat > "$root/apt.conf" <<CONF
Dir::Etc::sourcelist "$root/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "$root/state";
Dir::State::lists "$root/lists";
Dir::State::status "$root/state/status";
Dir::Cache "$root/cache";
APT::Architecture "amd64";
APT::Architectures { $(printf '"%s"; ' $archs) };
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
CONF
    export CLIPMARK_APT="$root"
    apt-get -qq -c "$root/apt.conf" update
}

# apt_show PACKAGE FIELD
apt_show() {
    apt-cache -c "$CLIPMARK_APT/apt.conf" show --no-all-versions "$1" | sed -n "s/^$2: //p" | head -1
}

# apt_download DIR PACKAGE...
apt_download() {
    local into=$1
    shift
    (mkdir -p "$into" && cd "$into" && apt-get -qq -c "$CLIPMARK_APT/apt.conf" download "$@")
}
