#!/usr/bin/env bash
# The emulated board: an aarch64 machine with real systemd, the real ina3221 driver and a network, on any
# x86_64 Debian. Its chip's registers are played by i2c-stub, so rails change when a register is written.
#
#   cross/board.sh build          builds the image (about 5 minutes; cached)
#   cross/board.sh boot           boots it, prints how to log in, runs until Ctrl-C
#   cross/board.sh test [DEB]     boots it, installs the aarch64 package, and asks it for a sweep and a soak
#                                 through a broker of this machine; DEB is cross/build.sh's by default
#
# Timings under emulation mean nothing and are never asserted. Building the image needs root; what is missing is named.
set -euo pipefail
cd "$(dirname "$0")/.."
cache="${CLIPMARK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/clipmark}"
image=$cache/board
run=
say() { printf 'board: %s\n' "$*" >&2; }

need() { # PROGRAM=PACKAGE...
    local pair packages=() missing=()
    for pair in "$@"; do
        packages+=("${pair#*=}")
        command -v "${pair%%=*}" >/dev/null || [ -x "/usr/sbin/${pair%%=*}" ] || missing+=("${pair#*=}")
    done
    [ ${#missing[@]} = 0 ] && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        # All of them: what is there in another version can be driven out by what is missing.
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${packages[@]}" >/dev/null
    else
        say "missing programs; please run:  sudo apt-get install ${missing[*]}"
        exit 1
    fi
}

build() {
    # The scripts that make the image are its version.
    local version
    version=$(cat cross/board/{image,modules}.sh cross/lib/apt.sh | sha256sum | cut -c1-16)
    if [ -e "$image/rootfs.img" ] && [ "$(cat "$image/version" 2>/dev/null)" = "$version" ]; then
        say "using the image in $image"
        return
    fi
    if [ "$(id -u)" != 0 ]; then
        say "there is no image of this version in $image, and building one needs root; run this script with sudo"
        exit 1
    fi
    need mmdebstrap=mmdebstrap qemu-aarch64-static=qemu-user-static aarch64-linux-gnu-gcc=gcc-aarch64-linux-gnu \
        make=make cpio=cpio bison=bison flex=flex depmod=kmod mkfs.ext4=e2fsprogs arch-test=arch-test bc=bc
    cross/board/image.sh "$image"
    echo "$version" > "$image/version"
}

python() {
    [ -x "$cache/venv/bin/python" ] || python3 -m venv "$cache/venv"
    "$cache/venv/bin/python" -c 'import cbor2' 2>/dev/null ||
        "$cache/venv/bin/pip" install -q --disable-pip-version-check -r .ci/requirements.txt
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

on_board() {
    ssh -q -i "$image/key" -p "$ssh_port" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
        -o ConnectTimeout=30 -o ServerAliveInterval=15 root@127.0.0.1 "$@"
}

machine=(-M virt,gic-version=3 -cpu cortex-a57 -smp 2 -m 1536)

# The machine's own tree, and board/board.dtsi on top.
device_tree() { # DIR
    qemu-system-aarch64 "${machine[@]/gic-version=3/gic-version=3,dumpdtb=$1/virt.dtb}" -display none 2>/dev/null
    { dtc -q -I dtb -O dts "$1/virt.dtb"; cat cross/board/board.dtsi; } | dtc -q -I dts -O dtb -o "$1/board.dtb"
}

boot() {
    need qemu-system-aarch64=qemu-system-arm qemu-img=qemu-utils ssh=openssh-client dtc=device-tree-compiler
    run=$(mktemp -d)
    ssh_port=$(free_port)
    qemu-img create -q -f qcow2 -b "$image/rootfs.img" -F raw "$run/overlay.qcow2"
    device_tree "$run"
    qemu-system-aarch64 "${machine[@]}" -accel tcg,thread=multi,tb-size=512 -dtb "$run/board.dtb" \
        -kernel "$image/vmlinuz" -initrd "$image/initrd" \
        -append "console=ttyAMA0 root=/dev/vda rw quiet mitigations=off audit=0" \
        -drive "if=none,id=disk,file=$run/overlay.qcow2,format=qcow2,cache=unsafe" \
        -device virtio-blk-pci,drive=disk,romfile= \
        -netdev "user,id=net,hostfwd=tcp:127.0.0.1:$ssh_port-:22" -device virtio-net-pci,netdev=net,romfile= \
        -device virtio-rng-pci,romfile= -display none -monitor none -serial "file:$run/console.log" -no-reboot &
    qemu=$!
    trap shut_down EXIT
    say "booting (console: $run/console.log)"
    local tries=0
    until on_board true 2>/dev/null; do
        tries=$((tries + 1))
        if ! kill -0 $qemu 2>/dev/null || [ $tries -gt 600 ]; then
            say "the board did not come up; its console ends with:"
            tail -20 "$run/console.log" >&2
            exit 1
        fi
        sleep 0.5
    done
    say "up after $SECONDS s"
}

shut_down() {
    on_board systemctl poweroff 2>/dev/null || true
    for _ in $(seq 40); do kill -0 $qemu 2>/dev/null || break; sleep 0.5; done
    kill $qemu 2>/dev/null || true
    rm -rf "$run"
}

case ${1:-} in
build) build ;;
boot)
    build
    boot
    say "log in:  ssh -i $image/key -p $ssh_port -o StrictHostKeyChecking=no root@127.0.0.1"
    wait $qemu
    ;;
test)
    deb=${2:-}
    if [ -z "$deb" ]; then
        artefacts=${CARGO_TARGET_DIR:-target}/dist-artefacts/aarch64
        compgen -G "$artefacts/*.deb" >/dev/null || cross/build.sh aarch64
        deb=$(compgen -G "$artefacts/*.deb")
    fi
    need mosquitto=mosquitto mosquitto_pub=mosquitto-clients
    python
    build
    boot
    say "testing $deb"
    PYTHONPATH=cross/lib "$cache/venv/bin/python" -u cross/board/test.py "$image/key" "$ssh_port" "$run" "$deb"
    ;;
*) sed -n '2,11s/^# \{0,1\}//p' "$0"; [ -z "${1:-}" ] || exit 2 ;;
esac
