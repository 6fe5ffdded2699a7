#!/bin/sh
# Installs plugport: the archive for this platform, checked against SHA256SUMS of its release, which is checked with minisign
# where that is installed and the key is known.
#
#   sh install.sh [--version VERSION] [--dir FOLDER] [--releases URL] [--public-key KEY]
#
# Not changed: anything but the one program in FOLDER (/usr/local/bin for root, else ~/.local/bin).
set -eu

# The release writes these three into its copy.
releases=''
public_key=''
version=''

dir=''

die() {
    echo "install.sh: $1" >&2
    exit 1
}

while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || die "\`$1\` is not an argument with its value: --version, --dir, --releases, --public-key"
    case $1 in
        --version) version=$2 ;;
        --dir) dir=$2 ;;
        --releases) releases=$2 ;;
        --public-key) public_key=$2 ;;
        *) die "there is no argument \`$1\`: --version, --dir, --releases, --public-key" ;;
    esac
    shift 2
done
[ -n "$releases" ] || die "name the address of the releases with --releases URL"
[ -n "$version" ] || die "name the version with --version"
version=${version#v}
if [ -z "$dir" ]; then
    if [ "$(id -u)" -eq 0 ]; then dir=/usr/local/bin; else dir=$HOME/.local/bin; fi
fi

[ "$(uname -s)" = Linux ] || die "there are programs for Linux only, not for $(uname -s)"
case $(uname -m) in
    x86_64 | amd64) platform=linux-amd64 ;;
    aarch64 | arm64) platform=linux-arm64 ;;
    *) die "there is no program for $(uname -m)" ;;
esac
name=plugport-$version-$platform

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM HUP

fetch() {
    url=$releases/download/v$version/$1
    if command -v curl >/dev/null; then
        curl --fail --silent --show-error --location --output "$folder/$1" "$url"
    elif command -v wget >/dev/null; then
        wget --quiet --output-document="$folder/$1" "$url"
    else
        die "neither curl nor wget is installed"
    fi || die "$url cannot be fetched"
}

fetch SHA256SUMS
if [ -z "$public_key" ]; then
    echo "the signature is not checked: no key is known (--public-key)" >&2
elif ! command -v minisign >/dev/null; then
    echo "the signature is not checked: minisign is not installed" >&2
else
    fetch SHA256SUMS.minisig
    minisign -V -q -P "$public_key" -m "$folder/SHA256SUMS" || die "SHA256SUMS of $version is not signed by $public_key"
fi

fetch "$name.tar.gz"
line=$(grep " [ *]\{0,1\}$name\.tar\.gz\$" "$folder/SHA256SUMS") || die "SHA256SUMS does not name $name.tar.gz"
if command -v sha256sum >/dev/null; then
    found=$(sha256sum "$folder/$name.tar.gz")
elif command -v shasum >/dev/null; then
    found=$(shasum -a 256 "$folder/$name.tar.gz")
else
    die "neither sha256sum nor shasum is installed"
fi
[ "${found%% *}" = "${line%% *}" ] || die "$name.tar.gz is not what SHA256SUMS promises; nothing is installed"

tar -xzf "$folder/$name.tar.gz" -C "$folder" "$name/plugport"
mkdir -p "$dir"
# The old program or the new one, at every moment.
cp "$folder/$name/plugport" "$dir/.plugport.$$"
chmod 755 "$dir/.plugport.$$"
mv -f "$dir/.plugport.$$" "$dir/plugport"
"$dir/plugport" --version
echo "installed: $dir/plugport"
case :$PATH: in
    *:"$dir":*) ;;
    *) echo "$dir is not in PATH" ;;
esac
