#!/usr/bin/env bash
# Builds the emulated board: a bootable arm64 Debian with systemd, from Debian packages alone.
#
#   image.sh DEST        leaves DEST/{vmlinuz,initrd,rootfs.img,key}
#
# Needs root. The kernel is unpacked and not configured: making its initrd under user-mode emulation would
# take longer than all the rest, so a small one is written here.
set -euo pipefail
dest=$(realpath -m "${1:?usage: image.sh DEST}")
here=$(cd "$(dirname "$0")" && pwd)
export PATH="$PATH:/usr/sbin:/sbin"
suite=bookworm
. "$here/../lib/apt.sh"
say() { printf 'board: [%3ds] %s\n' $SECONDS "$*" >&2; }

binfmt() {
    local fs=/proc/sys/fs/binfmt_misc
    [ -e $fs/register ] || mount -t binfmt_misc binfmt_misc $fs
    [ -e $fs/qemu-aarch64 ] || printf '%s' \
        ':qemu-aarch64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:/usr/bin/qemu-aarch64-static:OCF' \
        > $fs/register
}

root_tree() {
    local sources
    mapfile -t sources < <(sed 's/^deb \[[^]]*\]/deb [signed-by=\/usr\/share\/keyrings\/debian-archive-keyring.gpg]/' "$dest/apt/sources.list")
    rm -rf "$dest/root"
    mmdebstrap --quiet --variant=essential --architectures=arm64 --mode=root --format=directory \
        --include=systemd,systemd-sysv,dbus,udev,kmod,iproute2,i2c-tools,openssh-server,adduser \
        --aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"' \
        --dpkgopt=force-unsafe-io --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/lib/udev/hwdb.d/*' \
        "$suite" "$dest/root" "${sources[@]}"
}

configure() {
    local root=$dest/root
    echo emulated-board > "$root/etc/hostname"
    echo '127.0.0.1 localhost emulated-board' > "$root/etc/hosts"
    echo '/dev/vda / ext4 defaults,noatime 0 1' > "$root/etc/fstab"
    echo uninitialized > "$root/etc/machine-id"
    mkdir -p "$root/etc/systemd/network"
    printf '[Match]\nName=en* eth*\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n' \
        > "$root/etc/systemd/network/10-qemu.network"
    [ -e "$dest/key" ] || ssh-keygen -q -t ed25519 -N '' -f "$dest/key"
    install -d -m 700 "$root/root/.ssh"
    cp "$dest/key.pub" "$root/root/.ssh/authorized_keys"
    echo 'UseDNS no' > "$root/etc/ssh/sshd_config.d/emulated.conf"
    # Registers are set before the driver looks at them.
    printf 'blacklist ina3221\nblacklist lm75\n' > "$root/etc/modprobe.d/emulated.conf"
    systemctl --root="$root" -q enable systemd-networkd
    systemctl --root="$root" -q mask systemd-firstboot.service e2scrub_reap.service \
        systemd-timesyncd.service systemd-pstore.service
    rm -rf "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/* "$root"/var/cache/apt/archives/*.deb
}

kernel_tree() {
    local release modules
    release=$(sed 's/^linux-image-//' "$dest/kernel-package")
    rm -rf "$dest/kernel"
    apt_download "$dest/debs" "$(cat "$dest/kernel-package"):arm64" busybox-static:arm64
    for deb in "$dest"/debs/*.deb; do dpkg-deb -x "$deb" "$dest/kernel"; done
    cp "$dest"/kernel/boot/vmlinuz-* "$dest/vmlinuz"
    modules=$dest/kernel/lib/modules/$release
    mkdir -p "$modules/updates"
    cp "$dest"/modules-extra/*.ko "$modules/updates/"
    (cd "$modules/kernel" && rm -rf sound drivers/{gpu,media,infiniband,scsi,usb,staging,iio} \
        drivers/net/{wireless,ethernet})
    depmod -b "$dest/kernel" "$release"
    mkdir -p "$dest/root/lib/modules"
    cp -a "$modules" "$dest/root/lib/modules/"
}

initrd() {
    local tree=$dest/initrd-tree release index=0 module
    release=$(sed 's/^linux-image-//' "$dest/kernel-package")
    rm -rf "$tree"
    mkdir -p "$tree"/{bin,dev,proc,sys,mnt,modules}
    cp "$dest/kernel/bin/busybox" "$tree/bin/"
    for module in virtio_pci virtio_blk ext4 crc32c_generic; do
        modprobe -d "$dest/kernel" -S "$release" --show-depends "$module"
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r module; do
        index=$((index + 1))
        cp "$module" "$tree/modules/$(printf %02d $index)-$(basename "$module")"
    done
    cat > "$tree/init" <<'INIT'
#!/bin/busybox sh
busybox mount -t proc proc /proc
busybox mount -t sysfs sysfs /sys
busybox mount -t devtmpfs dev /dev
for module in /modules/*; do busybox insmod $module; done
tries=0
until busybox mount -t ext4 -o noatime /dev/vda /mnt 2>/dev/null; do
    tries=$((tries + 1))
    [ $tries -gt 50 ] && exec busybox sh
    busybox usleep 100000
done
busybox mount --move /dev /mnt/dev
busybox umount /sys /proc
exec busybox switch_root /mnt /sbin/init
INIT
    chmod +x "$tree/init"
    (cd "$tree" && find . | cpio -o -H newc --quiet | gzip -1) > "$dest/initrd"
}

mkdir -p "$dest"
binfmt
say "package lists"
private_apt "$dest/apt" "amd64 arm64" $suite $suite-security
apt-cache -c "$dest/apt/apt.conf" show --no-all-versions linux-image-arm64:arm64 |
    grep -o 'linux-image-[0-9][^ ]*' | head -1 > "$dest/kernel-package"
say "kernel modules"
"$here/modules.sh" "$dest"
say "root file system"
root_tree
configure
say "kernel and initrd"
kernel_tree
initrd
say "image"
rm -f "$dest/rootfs.img"
truncate -s 1G "$dest/rootfs.img"
mkfs.ext4 -q -F -O ^has_journal -E lazy_itable_init=1,lazy_journal_init=1 -d "$dest/root" "$dest/rootfs.img"
rm -rf "$dest"/{root,kernel,initrd-tree,debs,apt}
say "done: $(cat "$dest/kernel-package"), image $(du -h "$dest/rootfs.img" | cut -f1)"
