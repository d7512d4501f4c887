//go:build !amd64 || purego

package kernel

func fasterBF16(string) bool { return false }

func bfTableOf(Tier) *bfTable { return &genericBF16 }

func packBlocks(kind packKind, _ bool, dst *uint16, step int, src *uint16, stride, blocks int) {
	packBlocksGo(kind, dst, step, src, stride, blocks)
}

func packBlocksF32(kind packKind, _ bool, dst *uint16, step int, src *float32, stride, blocks int) {
	packBlocksF32Go(kind, dst, step, src, stride, blocks)
}
