# Sourced by ./run and ./test: checks what the machine must have, then makes the Python environment from the hashed locks.

say() { printf '%s\n' "$*" >&2; }

find_python() {
  local name
  for name in python3.13 python3.12 python3.11 python3; do
    if command -v "$name" >/dev/null 2>&1 &&
      "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
      command -v "$name"
      return
    fi
  done
  return 1
}

python_found() {
  command -v python3 >/dev/null 2>&1 && python3 --version 2>&1 | sed 's/^/python3 is /' || echo "there is no python3"
}

check_requirements() {
  local missing=()
  PYTHON=$(find_python) || missing+=("Python 3.11, 3.12 or 3.13 with venv ($(python_found))")
  if ! command -v node >/dev/null 2>&1; then
    missing+=("Node.js 20 or newer (node)")
  elif ! node -e 'process.exit(+(process.versions.node.split(".")[0] < 20))'; then
    missing+=("Node.js 20 or newer (node is $(node --version))")
  fi
  command -v npm >/dev/null 2>&1 || missing+=("npm")
  if ((${#missing[@]})); then
    say "Plimsoll needs, and this machine lacks:"
    printf '  - %s\n' "${missing[@]}" >&2
    say "Install it and run the same command again."
    exit 1
  fi
}

# is_made LOCK: .venv holds what LOCK names. Asked at every start, so it starts no program but cksum.
is_made() {
  local made
  [[ -x .venv/bin/python && -f .venv/lock-stamp ]] || return 1
  made=$(<.venv/lock-stamp)
  [[ $made == *" $(cksum <"$1") $1" ]]
}

# prepare LOCK: make .venv hold exactly what LOCK names; nothing happens when it already does.
prepare() {
  local lock=$1
  # The development lock is a superset: ./run works in the environment that ./test made.
  if is_made "$lock" || { [[ $lock == requirements.lock ]] && is_made requirements-dev.lock; }; then
    return
  fi
  check_requirements
  if [[ ! -w . ]]; then
    say "$PWD cannot be written, and .venv and .cache belong there: use a copy in a folder of your own."
    exit 1
  fi
  say "Making the Python environment in .venv from $lock ..."
  local uv
  if command -v uv >/dev/null 2>&1; then
    uv=uv
  else
    [[ -x .cache/uv/bin/uv ]] || {
      "$PYTHON" -m venv .cache/uv
      .cache/uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock
    }
    uv=.cache/uv/bin/uv
  fi
  export UV_PYTHON_DOWNLOADS=never
  [[ -x .venv/bin/python ]] || "$uv" venv --quiet --clear --python "$PYTHON" .venv
  rm -f .venv/lock-stamp
  "$uv" pip sync --quiet --python .venv/bin/python --require-hashes "$lock"
  "$uv" pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable .
  printf '%s' "$("$PYTHON" --version) $(cksum <"$lock") $lock" >.venv/lock-stamp
}
