#!/usr/bin/env bash
# Builds the real ina3221 driver and i2c-stub for Debian's arm64 kernel, which ships neither.
#
#   modules.sh DEST      DEST must hold a private apt world (see image.sh); leaves DEST/modules-extra/*.ko
set -euo pipefail
dest=$(realpath "${1:?usage: modules.sh DEST}")
. "$(dirname "$0")/../lib/apt.sh"
export CLIPMARK_APT="$dest/apt"
kernel=$(cat "$dest/kernel-package")
release=${kernel#linux-image-}
version=$(apt_show "$kernel:arm64" Version)
work=$dest/modules-work
rm -rf "$work"
mkdir -p "$work/debs" "$work/src" "$dest/modules-extra"

headers=linux-headers-$release
depends=$(apt_show "$headers:arm64" Depends)
common=$(grep -o 'linux-headers-[^ ,]*-common' <<<"$depends" | head -1)
kbuild=$(grep -o 'linux-kbuild-[^ ,]*' <<<"$depends" | head -1)
series=$(cut -d. -f1,2 <<<"$release")
apt_download "$work/debs" "$headers:arm64=$version" "$common:all=$version" "$kbuild:amd64=$version" \
    "linux-source-$series:all=$version"
for deb in "$work"/debs/linux-{headers,kbuild}-*.deb; do dpkg-deb -x "$deb" "$work/root"; done
dpkg-deb --fsys-tarfile "$work"/debs/linux-source-*.deb |
    tar -xO --wildcards './usr/src/linux-source-*.tar.xz' |
    tar -xJ -C "$work" --strip-components=1 --wildcards '*/drivers/hwmon/ina3221.c' '*/drivers/i2c/i2c-stub.c'
cp "$work/drivers/hwmon/ina3221.c" "$work/drivers/i2c/i2c-stub.c" "$work/src/"
# The stub's bus gets its node of the device tree, so that the kernel makes the chips on it as on a board.
sed -i -e 's|^#include <linux/module.h>|&\n#include <linux/of.h>|' \
    -e 's|^\tret = i2c_add_adapter(&stub_adapter);|\tstub_adapter.dev.of_node = of_find_compatible_node(NULL, NULL, "clipmark,i2c-stub");\n&|' \
    "$work/src/i2c-stub.c"
grep -q 'clipmark,i2c-stub' "$work/src/i2c-stub.c" && grep -q 'linux/of.h' "$work/src/i2c-stub.c" ||
    { echo "board: i2c-stub.c has changed; adapt the two lines that $0 adds" >&2; exit 1; }
echo 'obj-m := ina3221.o i2c-stub.o' > "$work/src/Makefile"

# The packaged Makefile names the common tree by absolute path, and both trees reach kbuild by links.
tree=$work/root/usr/src/$headers
sed -i "s#/usr/src/#$work/root/usr/src/#g" "$tree/Makefile"
for link in scripts tools; do
    ln -sfn "$work/root/usr/lib/$kbuild/$link" "$work/root/usr/src/$common/$link"
    ln -sfn "$work/root/usr/lib/$kbuild/$link" "$tree/$link"
done
make -s -C "$tree" M="$work/src" ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu- modules
for module in "$work"/src/*.ko; do
    aarch64-linux-gnu-strip -g -o "$dest/modules-extra/$(basename "$module")" "$module"
done
rm -rf "$work"
echo "board: built $(ls "$dest/modules-extra" | tr '\n' ' ')for $release" >&2
