# What the trials of packages and images share; sourced by packaging/try and packaging/try-image.

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

# Starts the stand-in tenant with its files in $tenant: sets $provider, $authority and $tenant_id.
start_tenant() {
    cargo build --quiet -p tenant
    target/debug/tenant serve --dir "$tenant" > "$tenant.log" 2>&1 & provider=$!
    for _ in $(seq 50); do [ -e "$tenant/ca.pem" ] && grep -q https "$tenant.log" && break; sleep 0.1; done
    authority=$(grep -o 'https://[^/ ]*' "$tenant.log" | head -1)
    tenant_id=$(sed -n 's/.*tenant_id[^0-9a-f]*\([0-9a-f-]\{36\}\).*/\1/p' "$tenant.log" | head -1)
}

token() { target/debug/tenant mint --dir "$tenant" --user alice@example.com "$@"; }
