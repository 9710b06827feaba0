#!/usr/bin/env bash
# Builds and runs the image's steps without a container engine: a chroot of Debian by debootstrap, as root on Linux.
# The base is Debian's Python, not python:3.13-slim; the steps are those of the Dockerfile, read from it. The root is
# mounted read-only in a mount namespace, with the volumes and /tmp writable, as in compose.yaml.
#
#   sudo scripts/container/chroot.sh [DIRECTORY]
# shellcheck disable=SC2016 # the text in single quotes is for another shell
set -euo pipefail
cd "$(dirname "$0")/../.."
place=${1:-$(mktemp -d)}
mkdir -p "$place"
root=$place/root
password=of-this-run-alone
mirror=$(apt-get indextargets --format '$(REPO_URI)' | head -n 1)
# shellcheck disable=SC1091
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")

step() { printf '\n== %s\n' "$*"; }

# A chroot of an earlier call is used again.
step "base: debootstrap $suite"
[ -e "$root/bin/sh" ] || debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates \
  "$suite" "$root" "$mirror" >"$place/debootstrap.log"
ln -sf python3 "$root/usr/bin/python"
for file in /etc/resolv.conf /etc/pip.conf; do [ ! -e "$file" ] || cp -L "$file" "$root$file"; done
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"

step "build stage"
rm -rf "$root/src" "$root/opt/ringback"
mkdir -p "$root/src"
git archive HEAD proxy scripts/container addons pyproject.toml hatch_build.py README.md LICENSE | tar -x -C "$root/src"
run=$(sed -n '/^FROM .* AS build/,/^FROM/s/^RUN //p' Dockerfile)
mount --bind /proc "$root/proc"
trap 'umount "$root/proc" 2>/dev/null || true' EXIT
env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin ${PIP_INDEX_URL:+PIP_INDEX_URL=$PIP_INDEX_URL} \
  ${PIP_CERT:+PIP_CERT=/etc/ssl/certs/ca-certificates.crt} chroot "$root" sh -euc "cd /src && ${run//pip install/pip install --quiet}"

step "final stage"
cp scripts/container/health.py "$root/opt/ringback/health.py"
rm -rf "$root/src"
run=$(sed -n '/^FROM [^ ]*$/,$p' Dockerfile | sed -n '/^RUN /,/[^\\]$/p' | sed 's/^RUN //; s/\\$//' | tr '\n' ' ')
chroot "$root" id ringback >/dev/null 2>&1 || chroot "$root" sh -euc "$run"

step "no CA in the image"
[ -z "$(find "$root/var/lib/ringback" "$root/shared" "$root/opt" -name 'mitmproxy-ca*')" ]
du -sm "$root/opt/ringback"

step "run: read-only root, user 10001, volumes"
mkdir -p "$place/home" "$place/shared"
chown 10001 "$place/home" "$place/shared"
umount "$root/proc"
unshare --mount --pid --fork --kill-child sh -euc '
  root=$1 place=$2
  mount --bind "$root" "$root"
  mount -o remount,ro,bind "$root"
  mount --bind "$place/home" "$root/var/lib/ringback"
  mount --bind "$place/shared" "$root/shared"
  mount -t tmpfs tmpfs "$root/tmp"
  mount -t proc proc "$root/proc"
  exec chroot --userspec=10001:10001 "$root" env -i PATH=/opt/ringback/bin:/usr/bin:/bin RINGBACK_HOME=/var/lib/ringback \
    HOME=/var/lib/ringback PYTHONDONTWRITEBYTECODE=1 RINGBACK_PROXY_PASSWORD='"$password"' sh -euc "
      cd /var/lib/ringback
      test \$(id -u) = 10001
      ! touch /opt/written 2>/dev/null
      ringback ca --export pem --output /shared/ca.pem
      exec ringback serve --host 0.0.0.0 --port 4010"
' sh "$root" "$place" &
proxy=$!
trap 'kill "$proxy" 2>/dev/null || true' EXIT

step "health"
for _ in $(seq 300); do
  if chroot "$root" /opt/ringback/bin/python /opt/ringback/health.py 4010 2>/dev/null; then healthy=yes; break; fi
  sleep 0.2
done
[ "${healthy:-}" = yes ]

step "a client of the volume and of the password"
HTTPS_PROXY=http://default:$password@127.0.0.1:4010 SSL_CERT_FILE=$place/shared/ca.pem python3 examples/first_requests.py
curl -fsS -u "any:$password" http://127.0.0.1:4010/ringback/ca.pem | cmp - "$place/shared/ca.pem"
kill "$proxy"
printf '\nthe image'"'"'s steps work\n'
