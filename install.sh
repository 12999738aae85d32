#!/bin/sh
# Builds gitseal and installs it into a prefix.
#
#   ./install.sh [--prefix DIR] [--as-gitsign] [--quickstart]
#   ./install.sh --uninstall [--prefix DIR]
set -eu

usage() {
  cat <<'USAGE'
Builds gitseal and installs it into a prefix.

Usage: ./install.sh [--prefix DIR] [--as-gitsign] [--quickstart]
       ./install.sh --uninstall [--prefix DIR]

  --prefix DIR   where to install (default: ~/.local): programs in DIR/bin,
                 manual pages and shell completions in DIR/share
  --as-gitsign   also install a link named gitsign, for drop-in use
  --quickstart   afterwards start the reference servers in a temporary
                 directory, sign a commit and a tag, verify both, and clean up
  --uninstall    remove what an earlier run installed into the prefix; run
                 'gitseal setup --undo' first
  --help         print this help

Needs Rust 1.90 or newer with cargo, a C compiler (for the cryptography), and
git 2.34 or newer.
USAGE
}

fail() { # what, hint
  printf 'install.sh: %s\n' "$1" >&2
  [ -z "${2:-}" ] || printf 'hint: %s\n' "$2" >&2
  exit 1
}

prefix="${HOME:?HOME is not set}/.local"
action=install
as_gitsign=no
quickstart=no
while [ $# -gt 0 ]; do
  case "$1" in
    --prefix)
      [ $# -ge 2 ] || { usage >&2; exit 2; }
      prefix=$2
      shift
      ;;
    --prefix=*) prefix=${1#--prefix=} ;;
    --as-gitsign) as_gitsign=yes ;;
    --quickstart) quickstart=yes ;;
    --uninstall) action=uninstall ;;
    -h | --help) usage; exit 0 ;;
    *)
      printf 'install.sh: %s is not an option\n\n' "$1" >&2
      usage >&2
      exit 2
      ;;
  esac
  shift
done
case "$prefix" in
  '') fail 'the prefix is empty' ;;
  /*) ;;
  *) prefix=$PWD/$prefix ;;
esac

manifest=$prefix/share/gitseal/installed

uninstall() {
  [ -f "$manifest" ] || fail "gitseal is not installed in $prefix" \
    'set the prefix that it was installed into with --prefix DIR'
  program=$(git config --global --includes --get gpg.x509.program 2>/dev/null) || program=
  case "$program" in
    "$prefix"/*) printf "hint: Git still runs %s: reinstall gitseal and run 'gitseal setup --undo', or remove gitseal's include.path from Git's configuration\n" "$program" ;;
  esac
  # The manifest contains paths below the prefix, one per line.
  while IFS= read -r file; do
    case "$file" in
      '' | /* | *..*) continue ;;
    esac
    rm -f -- "$prefix/$file"
  done <"$manifest"
  rm -f -- "$manifest"
  rmdir "$prefix/share/gitseal" 2>/dev/null || :
  printf 'removed gitseal from %s\n' "$prefix"
}

# at_least FOUND MINIMUM: succeeds if version FOUND is MINIMUM (MAJOR.MINOR) or newer.
at_least() {
  found_major=${1%%.*}
  rest=${1#*.}
  found_minor=${rest%%.*}
  [ "$found_major" -gt "${2%%.*}" ] \
    || { [ "$found_major" -eq "${2%%.*}" ] && [ "$found_minor" -ge "${2#*.}" ]; }
}

check_tools() {
  rust_hint='install Rust with rustup, or from your system (rustc and cargo, 1.90 or newer)'
  command -v cargo >/dev/null 2>&1 || fail 'cargo is not installed' "$rust_hint"
  command -v rustc >/dev/null 2>&1 || fail 'rustc is not installed' "$rust_hint"
  rust=$(rustc --version | awk '{print $2}')
  at_least "$rust" 1.90 || fail "Rust $rust is too old" "rustup update, or $rust_hint"
  command -v cc >/dev/null 2>&1 || command -v gcc >/dev/null 2>&1 || command -v clang >/dev/null 2>&1 \
    || fail 'no C compiler is installed' 'install gcc or clang (Debian: build-essential; macOS: xcode-select --install)'
  git_hint='install git 2.34 or newer from your system'
  command -v git >/dev/null 2>&1 || fail 'git is not installed' "$git_hint"
  git=$(git --version | awk '{print $3}')
  at_least "$git" 2.34 || fail "git $git is too old" "$git_hint"
}

# put MODE FILE PATH: installs a file below the prefix and records it.
put() {
  mkdir -p "$prefix/$(dirname "$3")"
  # Copied beside it, then renamed: a running program is not overwritten.
  cp "$2" "$prefix/$3.new.$$"
  chmod "$1" "$prefix/$3.new.$$"
  mv -f "$prefix/$3.new.$$" "$prefix/$3"
  printf '%s\n' "$3" >>"$work/installed"
}

install_all() {
  cd "$(dirname "$0")"
  check_tools
  printf 'building gitseal (a few minutes the first time)\n'
  # AES-GCM for AVX-512 is a twentieth of the program's size and does not help a
  # client that sends a few kilobytes.
  CFLAGS="${CFLAGS:-} -DMY_ASSEMBLER_IS_TOO_OLD_FOR_512AVX" \
    cargo build --release --locked --workspace --bins
  target=${CARGO_TARGET_DIR:-target}/release
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  : >"$work/installed"
  for program in gitseal gitseal-credential-cache gitseal-reference; do
    put 755 "$target/$program" "bin/$program"
  done
  "$target/gitseal" man "$work/man" >/dev/null
  for page in "$work"/man/*.1; do
    [ -f "$page" ] && put 644 "$page" "share/man/man1/$(basename "$page")"
  done
  for pair in bash:share/bash-completion/completions/gitseal zsh:share/zsh/site-functions/_gitseal fish:share/fish/vendor_completions.d/gitseal.fish; do
    "$target/gitseal" completions "${pair%%:*}" >"$work/completion"
    put 644 "$work/completion" "${pair#*:}"
  done
  if [ "$as_gitsign" = yes ]; then
    if [ -e "$prefix/bin/gitsign" ] && [ ! -L "$prefix/bin/gitsign" ]; then
      fail "$prefix/bin/gitsign exists and is not a link" 'rename it, or choose another prefix'
    fi
    ln -sf gitseal "$prefix/bin/gitsign"
    printf 'bin/gitsign\n' >>"$work/installed"
  fi
  mkdir -p "$(dirname "$manifest")"
  # Files that only an earlier run installed stay in the manifest.
  if [ -f "$manifest" ]; then cat "$manifest" >>"$work/installed"; fi
  sort -u "$work/installed" >"$manifest"
  printf 'installed gitseal, gitseal-credential-cache and gitseal-reference into %s/bin\n' "$prefix"
  case ":$PATH:" in
    *":$prefix/bin:"*) ;;
    *) printf 'hint: %s/bin is not on your PATH; add it, or set gpg.x509.program to the full path of the program\n' "$prefix" ;;
  esac
}

if [ "$action" = uninstall ]; then
  uninstall
  exit 0
fi
install_all
if [ "$quickstart" = yes ]; then
  "$prefix/bin/gitseal-reference" quickstart
fi
printf 'next: gitseal setup\n'
