#!/usr/bin/env bash
# Installs what the suites against real components need: Python packages into the virtual
# environment named by the first argument, Chromium, its driver and ripgrep from Debian.
set -euo pipefail
venv=$1
if ! command -v chromium >/dev/null || ! command -v chromedriver >/dev/null || ! command -v rg >/dev/null; then
  sudo=""
  [ "$(id -u)" -eq 0 ] || sudo=sudo
  $sudo apt-get update -q >/dev/null
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -qy chromium chromium-driver fonts-noto-cjk ripgrep >/dev/null
fi
python3 -m venv "$venv"
"$venv/bin/pip" install -q --disable-pip-version-check -r tests/real/requirements.txt
