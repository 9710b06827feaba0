#!/usr/bin/env bash
# The clients that tests drive and that neither pip, npm, Maven nor Go brings, from Debian's or Ubuntu's packages.
# `clients.sh every` also brings those of tests/tried, which the ordinary tests do not need.
# Needs root. What the distribution does not have is named and left out; its tests skip with a reason.
set -euo pipefail
wanted=(
  python3-twilio
  ruby-faraday ruby-jwt ruby-multi-json ruby-builder ruby-nokogiri
  libwww-perl liblwp-protocol-https-perl libmojolicious-perl libio-socket-ssl-perl
  php-cli php-curl php-symfony-twilio-notifier
  mono-mcs mono-runtime libmono-system-net-http4.0-cil ca-certificates-mono
  ruby-rspec phpunit # pages of docs/testing
  fish
  iproute2 iptables # transparent mode, and hosts of their own
  redis-server      # shared state
  chromium          # reports as a person sees them
)
if [ "${1:-}" = every ]; then
  wanted+=(
    ruby-typhoeus ruby-curb ruby-http ruby-excon ruby-httparty ruby-rest-client ruby-httpclient ruby-webmock
    php-guzzlehttp-guzzle
    libwww-curl-perl
    elixir
    r-cran-httr
  )
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
found=()
for package in "${wanted[@]}"; do
  if apt-cache show "$package" >/dev/null 2>&1; then
    found+=("$package")
  else
    echo "not to be had here: $package"
  fi
done
apt-get install -y -qq --no-install-recommends "${found[@]}"
