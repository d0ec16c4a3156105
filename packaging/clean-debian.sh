# What the trials of packages and images share; sourced by packaging/try, try-image, try-neighbours and try-patroni.

step() { printf '\n== %s\n' "$*"; }

# A clean Debian 12 in target/deb/bookworm, kept for the next time. Needs root.
clean=target/deb/bookworm
make_clean_debian() {
    [ ! -e "$clean/.done" ] || return 0
    step 'making a clean Debian 12 (a minute or two)'
    command -v debootstrap >/dev/null || .ci/apt-get install -y -qq --no-install-recommends debootstrap
    local mirror
    mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -m1 '/debian/*$')
    rm -rf "$clean"
    debootstrap --variant=minbase bookworm "$clean" "$mirror" >/dev/null
    touch "$clean/.done"
}

# Runs a command in the system at $root; as_postgres by the server's account.
inside() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"; }
as_postgres() { inside runuser -u postgres -- "$@"; }

# Makes a copy of the clean Debian at $root, with a package DEB in it as /tmp/pgaad.deb.
copy_clean_debian() {
    rm -rf "$root" && cp -a "$clean" "$root"
    trap stop EXIT
    mount -t proc proc "$root/proc"
    mkdir -p "$root/dev/shm" && mount -t tmpfs tmpfs "$root/dev/shm"
    cp "$1" "$root/tmp/pgaad.deb"
    # No service is started while packages are installed.
    printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d" && chmod +x "$root/usr/sbin/policy-rc.d"
    inside apt-get update -qq
}

# Removes it, and the tenant.
remove_copy() {
    umount "$root/proc" "$root/dev/shm"
    rm -rf --one-file-system "$root" "$tenant" "$tenant.log" "$tenant.said"
}

# Starts the stand-in tenant with its files in $tenant: sets $provider, $authority and $tenant_id.
start_tenant() {
    cargo build --quiet -p tenant
    target/debug/tenant serve --dir "$tenant" > "$tenant.log" 2>&1 & provider=$!
    for _ in $(seq 50); do [ -e "$tenant/ca.pem" ] && grep -q https "$tenant.log" && break; sleep 0.1; done
    authority=$(grep -o 'https://[^/ ]*' "$tenant.log" | head -1)
    tenant_id=$(sed -n 's/.*tenant_id[^0-9a-f]*\([0-9a-f-]\{36\}\).*/\1/p' "$tenant.log" | head -1)
}

token() { target/debug/tenant mint --dir "$tenant" --user alice@example.com "$@"; }
