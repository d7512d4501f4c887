//go:build !purego

package cpu

// vendor returns the registers that spell the maker's name, in its order.
func vendor() (b, d, c uint32)

func vendorName() string {
	b, d, c := vendor()
	var name []byte
	for _, r := range []uint32{b, d, c} {
		name = append(name, byte(r), byte(r>>8), byte(r>>16), byte(r>>24))
	}
	return string(name)
}
