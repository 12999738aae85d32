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
  --uninstall    remove what an earlier run installed into the prefix
  --help         this text

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
  [ -f "$manifest" ] || fail "nothing of gitseal is installed in $prefix" \
    'name the prefix it was installed into with --prefix DIR'
  # The manifest has paths below the prefix, one a line.
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

# at_least FOUND WANTED: whether version FOUND is WANTED (MAJOR.MINOR) or newer.
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

# put MODE FILE PATH: installs a file below the prefix and notes it.
put() {
  mkdir -p "$prefix/$(dirname "$3")"
  # Beside it and then in its place: a program that runs is not written over.
  cp "$2" "$prefix/$3.new.$$"
  chmod "$1" "$prefix/$3.new.$$"
  mv -f "$prefix/$3.new.$$" "$prefix/$3"
  printf '%s\n' "$3" >>"$work/installed"
}

install_all() {
  cd "$(dirname "$0")"
  check_tools
  printf 'building gitseal (a few minutes the first time)\n'
  # AES-GCM for AVX-512 is a twentieth of the program, and of no use to a client
  # that sends a few kilobytes.
  CFLAGS="${CFLAGS:-} -DMY_ASSEMBLER_IS_TOO_OLD_FOR_512AVX" \
    cargo build --release --locked --workspace --bins
  # Cargo says where its target folder is.
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
      fail "$prefix/bin/gitsign is there and is not a link of ours" 'move it away, or choose another prefix'
    fi
    ln -sf gitseal "$prefix/bin/gitsign"
    printf 'bin/gitsign\n' >>"$work/installed"
  fi
  mkdir -p "$(dirname "$manifest")"
  # What an earlier run installed and this one does not stays noted.
  if [ -f "$manifest" ]; then cat "$manifest" >>"$work/installed"; fi
  sort -u "$work/installed" >"$manifest"
  printf 'installed gitseal, gitseal-credential-cache and gitseal-reference into %s/bin\n' "$prefix"
  case ":$PATH:" in
    *":$prefix/bin:"*) ;;
    *) printf 'hint: %s/bin is not on your PATH; git needs the program there, or its whole path in gpg.x509.program\n' "$prefix" ;;
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
