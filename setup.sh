# shellcheck shell=bash
# What quickstart.sh and run-tests.sh share: the packages, how they are installed, and how we build.
# To be sourced, not run.
# shellcheck disable=SC2034  # the lists are used by whoever sources this

# Debian packages to build the server.
PACKAGES_BUILD=(
    gcc libc6-dev make autoconf automake pkg-config
    libev-dev libconfig-dev libjansson-dev libjemalloc-dev libxxhash-dev libssl-dev libsasl2-dev
)

# To try it by hand.
PACKAGES_TRY=(netcat-openbsd python3 python3-pymemcache)

# To run every test: without one of these, run-tests.sh does not start.
PACKAGES_TEST=(
    clang llvm libclang-rt-dev libcmocka-dev libmemcached-dev
    python3 perl openssl xz-utils libsasl2-modules sasl2-bin
)

# Clients and checkers that some tests use; such a test is skipped where its package is not to be had.
PACKAGES_TEST_CLIENTS=(
    libmemcached-tools python3-pymemcache python3-pylibmc libcache-memcached-perl
    libcache-memcached-fast-perl php-cli php-memcached php-memcache nodejs npm shellcheck man-db
    util-linux spin iproute2 nftables iptables
)

say() {
    printf '\n== %s\n' "$*"
}

give_up() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

is_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

is_available() {
    local candidate
    candidate=$(LC_ALL=C apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: //p')
    [ -n "$candidate" ] && [ "$candidate" != '(none)' ]
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        give_up "installing packages needs root: become root, or install sudo. The command is: $*"
    fi
}

list_missing() {
    local package
    for package in "$@"; do
        is_installed "$package" || printf '%s\n' "$package"
    done
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" \
        </dev/null
}

update_package_lists() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q </dev/null ||
        printf 'The package lists could not be updated; going on with the old ones.\n'
}

# Installs those of the packages that are missing.
install_packages() {
    local missing
    { command -v dpkg-query && command -v apt-get; } >/dev/null ||
        give_up "this is no Debian: install what stands for these packages, then run configure: $*"
    mapfile -t missing < <(list_missing "$@")
    if [ ${#missing[@]} = 0 ]; then
        printf 'All %d packages are installed.\n' $#
        return
    fi
    printf 'Installing: %s\n' "${missing[*]}"
    update_package_lists
    apt_install "${missing[@]}" || give_up "apt-get could not install: ${missing[*]}"
}

# The same for packages that we can do without: those that cannot be had are named.  A program of
# that name does too (npm comes with some other packages of nodejs).
install_optional_packages() {
    local package missing=() absent=()
    for package in "$@"; do
        if is_installed "$package" || command -v "$package" >/dev/null; then
            continue
        elif is_available "$package"; then
            missing+=("$package")
        else
            absent+=("$package")
        fi
    done
    if [ ${#missing[@]} -gt 0 ]; then
        printf 'Installing: %s\n' "${missing[*]}"
        # One that conflicts with what is here must not keep the others away.
        apt_install "${missing[@]}" || for package in "${missing[@]}"; do
            apt_install "$package" || absent+=("$package")
        done
    fi
    [ ${#absent[@]} = 0 ] || printf 'Not to be had here, and done without: %s\n' "${absent[*]}"
}

# build_in DIR [configure's options]: builds in that folder, below the sources, with as many jobs as
# there are processors.  What is built already is not built again.
build_in() {
    local folder=$1
    shift
    [ -x configure ] || ./autogen.sh || return
    mkdir -p "$folder"
    if ! [ -f "$folder/Makefile" ]; then
        (cd "$folder" && "$OLDPWD/configure" "$@") || return
    fi
    make -C "$folder" -j"$(nproc)"
}
