#!/bin/sh
# On the emulated board: plays the power monitor (INA3221 at 0x40) and the temperature sensor (LM75 at 0x48) whose
# registers i2c-stub holds. The chips' words are big-endian, SMBus words little-endian: bytes are swapped.
#
#   chip begin                   loads the stub; call it before anything else
#   chip drivers                 loads the kernel's drivers, after the registers have been set
#   chip rail CHANNEL MV MA      voltage and current of a rail, multiples of 8, over a shunt of 5 milliohms
#   chip celsius DEGREES         the junction
set -eu
bus() { i2cdetect -l | sed -n 's/^i2c-\([0-9]*\).*[Ss][Tt][Uu][Bb].*/\1/p' | head -1; }
word() { # CHIP REGISTER VALUE. Forced: the driver holds the chip by then.
    i2cset -f -y "$(bus)" "$1" "$2" $((($3 & 0xff) << 8 | ($3 >> 8))) w
}
case $1 in
begin)
    modprobe i2c-dev
    modprobe i2c-stub chip_addr=0x40,0x48
    word 0x40 0x00 0x7127
    word 0x40 0xfe 0x5449
    word 0x40 0xff 0x3220
    ;;
drivers)
    modprobe ina3221
    modprobe lm75
    modprobe cpufreq-dt
    ;;
rail)
    # 40 uV and 8 mV a step, three bits up: at 5 milliohms both come out as the number itself.
    word 0x40 $((2 * $2 + 1)) "$4"
    word 0x40 $((2 * $2 + 2)) "$3"
    ;;
celsius) word 0x48 0x00 $(($2 << 8)) ;;
*) echo "chip: unknown order $1" >&2; exit 2 ;;
esac
